"""Stores after a fork: a file is used on both sides, Redis by a store of each side's own."""

import os
from typing import Any

import pytest

from ...forking import outcomes
from ...redis_server import running

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with running() as server:
        return outcomes("tests.cache.stores.forked", str(tmp_path_factory.mktemp("files")), server.url)


@pytest.mark.long
def test_a_file_that_was_used_before_is_used_and_closed_in_a_child(found: dict[str, Any]) -> None:
    assert found["file"]["used"] == "b'parent', b'closing'"


def test_a_file_that_was_not_used_before_is_used_in_a_child(found: dict[str, Any]) -> None:
    assert found["file"]["unused"] == "None, b'closing'"


def test_a_closed_file_stays_closed_in_a_child(found: dict[str, Any]) -> None:
    assert "the store is closed" in found["file"]["closed"]


def test_a_fork_disturbs_neither_side_of_a_file_that_is_in_use(found: dict[str, Any]) -> None:
    assert found["file"]["busy"] == "b'parent', b'closing', 20"
    assert found["file"]["parent"] == "b'parent', b'closing'"


def test_a_store_in_redis_that_was_used_before_says_so_in_a_child(found: dict[str, Any]) -> None:
    assert found["redis"]["used"].startswith("WrongEventLoop: this process was forked")
    assert found["redis"]["unused"] == "b'value'"


def test_a_child_that_throws_a_store_away_ends_no_connection_of_its_parent(found: dict[str, Any]) -> None:
    """Neither an idle one nor one that listens: the parent is woken, and connects to Redis no more."""
    assert found["redis"]["thrown away"] == "thrown away"
    assert (found["redis"]["parent"], found["redis"]["connections"]) == ("b'value'", 0)
