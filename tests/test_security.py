"""`docs/security.md` is right about which tests hold its promises."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROMISED = PAGE.partition("## What is promised")[2].partition("## What is not promised")[0]
PROMISES = [" ".join(one.split()) for one in re.split(r"^- ", PROMISED, flags=re.MULTILINE)[1:]]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize("promise", PROMISES, ids=range(len(PROMISES)))
def test_each_promise_names_tests_that_there_are(promise: str) -> None:
    named = TEST.findall(promise.partition("###")[0])
    assert named, promise
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        there = {one.name for one in tree.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
        assert name in there, f"{path} has no {name}"


def test_each_rule_of_what_has_not_changed_names_a_test_that_there_is() -> None:
    named = TEST.findall((ROOT / "docs" / "unchanged.md").read_text(encoding="utf-8"))
    assert len(named) >= 10
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {name}"


def test_the_page_is_one_page_and_the_readme_leads_to_it() -> None:
    assert len(PROMISES) >= 20
    assert len(PAGE.splitlines()) <= 155
    assert "(docs/security.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
