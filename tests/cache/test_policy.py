"""How long answers may be used."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qrbackends import CachePolicy, Request

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("resource", "seconds"), [("configuration", 3600), ("properties", 300), ("defaults", 3600), ("status", 0)]
)
def test_each_resource_has_a_freshness_of_its_own(resource: Any, seconds: float) -> None:
    assert CachePolicy().freshness(Request(resource, "b"), NOW) == seconds
    policy = CachePolicy(**{resource: 7})
    assert policy.freshness(Request(resource, "b"), NOW) == 7


def test_lists_are_fresh_for_half_a_minute() -> None:
    assert CachePolicy().freshness(Request("backends"), NOW) == 30
    assert CachePolicy(backends=1).freshness(Request("backends", fields=["wait_time_seconds"]), NOW) == 1


@pytest.mark.parametrize(("ago", "seconds"), [(3601, 30 * 86400), (3600, 300), (0, 300), (-3600, 300)])
def test_the_past_is_fresh_for_long_once_it_is_settled(ago: int, seconds: float) -> None:
    request = Request("properties", "b", None, NOW - timedelta(seconds=ago))
    assert CachePolicy().freshness(request, NOW) == seconds


@pytest.mark.parametrize(
    "wrong",
    [
        {"properties": -1},
        {"status": float("nan")},
        {"backends": float("inf")},
        {"jitter": 1.1},
        {"max_bytes": 1.5},
        {"negative": "5"},
        {"history": True},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="has to be"):
        CachePolicy(**wrong)


def test_answers_are_kept_for_the_longer_grace() -> None:
    assert CachePolicy(stale_while_revalidate=5, stale_if_error=3).grace == 5
    assert CachePolicy(stale_while_revalidate=5, stale_if_error=9).grace == 9
