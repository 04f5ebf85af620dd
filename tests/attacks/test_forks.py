"""A busy parent forks children, which throw away what they inherit and do the same by themselves."""

import os
from pathlib import Path

import pytest

from ..forking import outcomes
from ..redis_server import running


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_many_children_of_a_busy_parent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running() as server:
        found = outcomes("tests.attacks.forked", str(tmp_path), server.url)
    with capsys.disabled():
        told = {name: found[name] for name in ("children", "answers", "seconds", "wrong")}
        print("\n", told)
    assert found["wrong"] == []
    assert found["stderr"] == ""
