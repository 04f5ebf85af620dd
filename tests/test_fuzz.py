"""Whatever a service answers, at whichever endpoint: the contract's type, or one of our errors."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from qrbackends.emulator import SyntheticFleet
from qrbackends.errors import QRBackendsError
from qrbackends.protocol.answers import parse

from .protocol.test_requests import REQUESTS, TYPES, VALID

NOW = 1_800_000_000.0
NAME = "ibm_x"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
SPLICES = st.sampled_from(
    [
        b"",
        b"null",
        b"true",
        b"-1",
        b"1e999",
        b"9" * 400,
        b'""',
        b"[]",
        b"{}",
        b",",
        b"\x00",
        b"\xff",
        b"\\",
        b'"',
        b"}",
    ]
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return where each value of a document is, without the document itself."""
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    return [place for step, inner in members for place in [(*at, step), *places(inner, (*at, step))]]


@cache
def documents(resource: str) -> tuple[Any, ...]:
    """Return whole documents: a minimal one, and those of the emulated backends in both of their shapes."""
    found = [VALID[resource]]
    for shape in ("live", "contract"):
        fleet = SyntheticFleet({NAME: 5}, shape=shape)
        if resource in ("configuration", "properties", "defaults"):
            key = fleet.find(resource, NAME, None, None, NOW)  # type: ignore[arg-type]
            assert key is not None
            found.append(json.loads(fleet.build(key)))
    return tuple(found)


@cache
def places_in(resource: str, number: int) -> tuple[tuple[str | int, ...], ...]:
    return ((), *places(documents(resource)[number]))


@cache
def text_of(resource: str, number: int) -> bytes:
    return json.dumps(documents(resource)[number]).encode()


def with_value(document: Any, steps: tuple[str | int, ...], value: Any) -> Any:
    """Return a document with one value replaced; what is not on the way to it is shared."""
    if not steps:
        return value
    copied: Any = dict(document) if isinstance(document, dict) else list(document)
    copied[steps[0]] = with_value(copied[steps[0]], steps[1:], value)
    return copied


@st.composite
def mutated(draw: st.DrawFn, resource: str) -> bytes:
    """Return a whole document with a value replaced or taken from elsewhere, or with some bytes replaced."""
    number = draw(st.integers(0, len(documents(resource)) - 1))
    document, known = documents(resource)[number], places_in(resource, number)
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 3))):
            steps: tuple[str | int, ...] = draw(st.sampled_from(known))
            try:
                document = with_value(document, steps, draw(JSON | st.just(document)))
            except (LookupError, TypeError, ValueError):
                continue  # the place went with an earlier change
        return json.dumps(document).encode()
    body = text_of(resource, number)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 64)))
        body = body[:start] + draw(SPLICES | st.binary(max_size=4)) + body[end:]
    return body


STATUSES = st.sampled_from([200] * 6 + [204, 302, 400, 401, 403, 404, 423, 429, 500, 503]) | st.integers(
    0, 999
)
SAID = st.text(max_size=20) | JSON
ERRORS = st.fixed_dictionaries(
    {},
    optional={
        "errors": JSON
        | st.lists(
            st.dictionaries(st.sampled_from(["code", "message", "solution", "more_info"]), SAID, max_size=4),
            max_size=2,
        ),
        "title": SAID,
        "trace": SAID,
        "correlation_id": SAID,
        "status_code": SAID,
    },
)
VALUES = (
    st.text(max_size=40)
    | st.text("0123456789 :+-.,GMTWedOct", max_size=40)
    | st.integers().map(str)
    | st.sampled_from(
        ["", "1e9", "\u0661", "9" * 400, "\ud800", "Wed, 21 Oct 2015 07:28:00 GMT", "0, 1", "nan"]
    )
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after", "Date", "Content-Type", "Location", "X-Other"]),
    VALUES,
    max_size=4,
).map(CIMultiDict)


def use(answer: Any) -> None:
    """Look at all that an answer has to show, which may raise DecodeError only."""
    for name in dir(type(answer)):
        if not name.startswith("_") and isinstance(getattr(type(answer), name), property):
            try:
                getattr(answer, name)
            except QRBackendsError:
                continue
    assert repr(answer)


def judge(resource: str, status: int, headers: Any, body: bytes) -> bool:
    """Return whether it is an answer; assert that it is one of our errors if it is none."""
    try:
        answer = parse(REQUESTS[resource], status, headers, body)
    except QRBackendsError as error:
        assert str(error).isprintable()  # noqa: PT017
        assert error.__cause__ is error.__context__ is None  # noqa: PT017
        assert error.backend == REQUESTS[resource].backend  # noqa: PT017
        return False
    assert status == 200
    assert isinstance(answer, TYPES[resource])
    use(answer)
    return True


@pytest.mark.parametrize("resource", TYPES)
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(100, id="100"),
        pytest.param(40_000, id="40000", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_any_answer_is_a_value_or_one_of_our_errors(resource: str, count: int) -> None:
    """Five times 40,000 are the 200,000 of the long run."""
    bodies = st.one_of(
        mutated(resource),
        mutated(resource),
        st.binary(max_size=200),
        JSON.map(lambda value: json.dumps(value).encode()),
        ERRORS.map(lambda value: json.dumps(value).encode()),
    )
    answered = 0

    @settings(max_examples=count)
    @given(bodies, STATUSES, HEADERS)
    def check(body: bytes, status: int, headers: Any) -> None:
        nonlocal answered
        answered += judge(resource, status, headers, body)

    check()
    assert answered, "not all of them were refused"


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_inputs_that_are_led_by_coverage_are_a_value_or_one_of_our_errors(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed: the extra `fuzz`, on Linux")
    command = [
        sys.executable,
        "-m",
        "tests.guided_fuzz",
        "-runs=200000",
        "-max_total_time=900",
        str(tmp_path),
    ]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert "Done 2000" in outcome.stderr, outcome.stderr[-2000:]
