"""The exception tree: its drawing, its texts, and what its errors carry."""

import asyncio
import inspect
import pickle
import re
import traceback
from collections.abc import Iterator

import pytest
from aiohttp import ClientConnectorError

import qrbackends
from qrbackends import errors
from qrbackends.errors import (
    AccountError,
    AuthenticationFailed,
    DecodeError,
    InstanceUnavailable,
    NotFound,
    QRBackendsError,
    RateLimited,
    ResponseError,
    Timeout,
    UnknownQubit,
)
from qrbackends.protocol.answers import error_for
from qrbackends.service.provider import provided
from qrbackends.transport.failures import translated

LINE = re.compile(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: +(?P<note>.*))?")
CLASSES: list[type[QRBackendsError]] = [getattr(errors, name) for name in errors.__all__]
STATUSES = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "Locked": 423,
    "RateLimited": 429,
    "ServiceUnavailable": 503,
}


def drawn() -> Iterator[tuple[str, str | None, str]]:
    """Yield each class of the drawing with its parent and the note beside it."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if line and (match := LINE.fullmatch(line)) and not {".", "*"} & set(line):
            depth = len(match["branch"]) // 4
            path[depth:] = [match["name"]]
            yield match["name"], path[-2] if depth else None, match["note"] or ""


def filled(kind: type[QRBackendsError]) -> QRBackendsError:
    """Return an error of a class with something in each of its attributes."""
    error = kind("what happened")
    error.about(region="eu-de", instance="crn:v1:x", backend="ibm_x", attempts=3)
    if isinstance(error, ResponseError):
        error.status, error.retry_after = 418, 1.5
        error.title = error.code = error.solution = error.more_info = "text"
        error.trace = error.correlation_id = "id"
    if isinstance(error, DecodeError):
        error.path, error.text, error.malformed = "$.a", "text", True
    if isinstance(error, InstanceUnavailable):
        error.errors = (Timeout("one"),)
    if isinstance(error, AuthenticationFailed):
        error.code = "BXNIM0415E"
    return error


def carried(error: BaseException) -> dict[str, object]:
    """Return an error's attributes, errors among them as their texts."""
    return {name: str(value) if name == "errors" else value for name, value in vars(error).items()}


def test_the_drawing_is_the_tree() -> None:
    parents = {name: parent for name, parent, _ in drawn()}
    assert {
        kind.__name__: kind.__bases__[0].__name__ if kind is not QRBackendsError else None for kind in CLASSES
    } == parents


def cut_handshake() -> QRBackendsError:
    error = ClientConnectorError(None, ConnectionResetError())  # type: ignore[arg-type]
    return translated(error, tls=True, proxy=None, connect=1, read=1)


def failed_provider() -> QRBackendsError:
    with pytest.raises(AccountError) as caught:
        asyncio.run(provided(lambda: None))  # type: ignore[arg-type, return-value]
    return caught.value


COLUMNS = re.compile(r" +(-|x|\(x\)) +(-|x|\(x\)) +(-|x|\(x\))(?: |$)")
OWN, FOREIGN = (error_for(403, "x", {}, own=own) for own in (True, False))
BY_INSTANCE = {  # "(x)" in the drawing: what decides it, and an error for which it holds, and does not hold
    "AccountError": (AccountError("x"), failed_provider()),
    "DecodeError": (DecodeError("x", malformed=True), DecodeError("x")),
    "TLSError": (cut_handshake(), errors.TLSError("x")),
    "ServerError": (errors.ServerError("x", 520), errors.ServerError("x", 501)),
    "Forbidden": (FOREIGN, OWN),
}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_columns_of_the_drawing_are_the_attributes(kind: type[QRBackendsError]) -> None:
    notes = {name: note for name, _, note in drawn()}
    found = COLUMNS.search(" " + notes[kind.__name__])
    assert (found is None) == (kind is QRBackendsError)
    signs = found.groups() if found else ("-", "-", "-")
    for attribute, sign in zip(("outage", "retryable", "final"), signs, strict=True):
        if sign == "(x)":
            holds, not_so = BY_INSTANCE[kind.__name__]
            assert (getattr(holds, attribute), getattr(not_so, attribute)) == (True, False)
        else:
            status = STATUSES.get(kind.__name__, 500)
            error = kind("x", status) if issubclass(kind, ResponseError) else kind("x")
            assert getattr(error, attribute) == (sign == "x"), attribute


@pytest.mark.parametrize("status", range(500, 600))
def test_only_passing_failures_of_servers_are_tried_again(status: int) -> None:
    passing = status in {500, 502, 503, 504, 520, 521, 522, 523, 524}
    assert errors.ServerError("x", status).retryable == passing


def test_the_drawing_names_the_builtin_classes_that_errors_also_are() -> None:
    also = {name: set(re.findall(r"also (\w+)", note)) for name, _, note in drawn()}
    assert {kind.__name__: {base.__name__ for base in kind.__bases__[1:]} for kind in CLASSES} == also


def test_the_drawing_and_the_docstrings_agree_on_statuses() -> None:
    notes = {name: note for name, _, note in drawn()}
    assert {name: int(note[:3]) for name, note in notes.items() if note[:3].isdecimal()} == STATUSES
    for name, status in STATUSES.items():
        assert (getattr(errors, name).__doc__ or "").startswith(str(status))


def test_all_names_every_class_and_nothing_else() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert set(errors.__all__) == defined
    assert list(errors.__all__) == sorted(set(errors.__all__))


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_at_the_package_root(name: str) -> None:
    assert getattr(qrbackends, name) is getattr(errors, name)
    assert name in qrbackends.__all__


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_needs_a_message_only_and_knows_nothing_else(kind: type[QRBackendsError]) -> None:
    error = kind("what happened")
    assert (str(error), error.message, error.args) == ("what happened", "what happened", ("what happened",))
    assert (error.region, error.instance, error.backend, error.attempts) == (None, None, None, 0)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_error_keeps_everything(kind: type[QRBackendsError], protocol: int) -> None:
    error = filled(kind)
    again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
    assert type(again) is kind
    assert carried(again) == carried(error)
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_again_is_an_equal_error_with_a_traceback_of_its_own(kind: type[QRBackendsError]) -> None:
    cause = OSError("the reason")
    with pytest.raises(kind) as caught:
        raise filled(kind) from cause
    error = caught.value
    twin = error.again()
    assert twin is not error
    assert type(twin) is kind
    assert carried(twin) == carried(error)
    assert str(twin) == str(error)
    assert twin.__cause__ is cause
    assert twin.__traceback__ is None
    before = traceback.format_tb(error.__traceback__)
    with pytest.raises(kind):
        raise twin
    assert traceback.format_tb(error.__traceback__) == before


def test_what_one_caller_does_to_their_twin_does_not_reach_the_others() -> None:
    error = NotFound("gone", 404)
    error.add_note("for all")
    twin = error.again().about(backend="ibm_x")
    twin.add_note("for one")
    assert error.backend is None
    assert error.__notes__ == ["for all"]
    assert twin.__notes__ == ["for all", "for one"]


def test_about_fills_in_what_was_not_known_before() -> None:
    error = Timeout("late")
    assert error.about(region="eu-de", backend="ibm_x", attempts=2) is error
    error.about(region="us-east", backend="other", instance="crn:v1:x")
    assert (error.region, error.backend, error.instance) == ("eu-de", "ibm_x", "crn:v1:x")
    assert error.attempts == 2, "not given is not known"


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({}, "late"),
        ({"backend": "ibm_x"}, "ibm_x: late"),
        ({"region": "eu-de"}, "[eu-de]: late"),
        ({"backend": "ibm_x", "region": "eu-de"}, "ibm_x [eu-de]: late"),
        ({"instance": "crn:v1:x"}, "late"),
    ],
)
def test_the_text_says_where(known: dict[str, str], text: str) -> None:
    assert str(Timeout("late").about(**known)) == text  # type: ignore[arg-type]


def test_the_text_of_an_answer_says_all_that_helps() -> None:
    error = RateLimited("HTTP 429: slow down", 429)
    assert str(error) == "HTTP 429: slow down"
    error.code, error.solution, error.retry_after, error.trace = "1305", "Wait.", 0.0, "abc"
    error.title, error.more_info, error.correlation_id = "left out", "left out", "left out"
    assert str(error) == "HTTP 429: slow down (code 1305; Wait.; retry after 0 s; trace abc)"
    error.code = error.solution = error.trace = None
    error.retry_after = 12.5
    error.about(backend="ibm_x")
    assert str(error) == "ibm_x: HTTP 429: slow down (retry after 12.5 s)"


def test_errors_are_what_other_code_catches() -> None:
    with pytest.raises(TimeoutError, match="late"):
        raise Timeout("late")
    with pytest.raises(LookupError, match="no qubit"):
        raise UnknownQubit("no qubit 7")
    with pytest.raises(ValueError, match="not JSON"):
        raise DecodeError("not JSON")
