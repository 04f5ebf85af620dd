"""What is done with an entry: every combination of entry, question and failure, without a loop."""

from collections.abc import Iterator
from itertools import product
from math import inf

import pytest

from qrbackends import errors
from qrbackends.cache.decision import (
    Action,
    Loss,
    confirmations,
    is_enough,
    loss,
    on_failure,
    on_question,
    validators_to_send,
)
from qrbackends.cache.entry import Entry, Found
from qrbackends.cache.policy import CachePolicy
from qrbackends.protocol.answers import error_for
from qrbackends.protocol.requests import Request
from qrbackends.protocol.validators import NONE, Validators
from qrbackends.service.origin import OriginAnswer
from qrbackends.transport.body import Wire

FRESH, REVALIDATE, ERROR = 10.0, 4.0, 20.0
POLICY = CachePolicy(properties=FRESH, stale_while_revalidate=REVALIDATE, stale_if_error=ERROR, jitter=0.0)
STORED = 100.0
UNTIL = STORED + FRESH
BOUNDARIES = (0.0, FRESH, FRESH + REVALIDATE, FRESH + ERROR)
AGES = sorted({age + step for age in BOUNDARIES for step in (-0.5, 0.0, 0.5) if age + step >= 0})


def entry(*, negative: bool = False, retry_at: float | None = None) -> Entry:
    return Entry("value", STORED, UNTIL, UNTIL + ERROR, 10, negative, retry_at)


def kinds() -> Iterator[type[errors.QRBackendsError]]:
    """Yield every class of the tree."""
    waiting = [errors.QRBackendsError]
    while waiting:
        kind = waiting.pop()
        yield kind
        waiting += kind.__subclasses__()


def failures() -> list[errors.QRBackendsError]:
    made = [kind("x", 500) if issubclass(kind, errors.ResponseError) else kind("x") for kind in kinds()]
    return [*made, errors.DecodeError("x", malformed=True)]


FAILURES = failures()


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("refresh", [False, True])
def test_without_an_entry_it_is_asked(age: float, refresh: bool) -> None:
    assert on_question(None, STORED + age, POLICY, refresh) is Action.ASK


@pytest.mark.parametrize("age", AGES)
def test_a_refresh_asks_whatever_there_is(age: float) -> None:
    for negative, retry_at in product((False, True), (None, STORED, 1e9)):
        held = entry(negative=negative, retry_at=retry_at)
        assert on_question(held, STORED + age, POLICY, True) is Action.ASK


@pytest.mark.parametrize("age", AGES)
def test_an_answer_is_served_while_it_is_fresh_and_renewed_for_a_while_after(age: float) -> None:
    expected = (
        Action.SERVE if age < FRESH else Action.SERVE_AND_RENEW if age < FRESH + REVALIDATE else Action.ASK
    )
    assert on_question(entry(), STORED + age, POLICY) is expected


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("due", [False, True])
def test_while_the_service_fails_an_answer_is_served_longer_and_renewed_when_due(
    age: float, due: bool
) -> None:
    now = STORED + age
    held = entry(retry_at=now if due else now + 0.5)
    stale = Action.SERVE_AND_RENEW if due else Action.SERVE_STALE
    expected = Action.SERVE if age < FRESH else stale if age < FRESH + ERROR else Action.ASK
    assert on_question(held, now, POLICY) is expected


def test_one_failure_is_no_outage_for_the_rest_of_the_day() -> None:
    policy = CachePolicy(jitter=0)
    fresh_until = STORED + policy.properties
    retry_at = fresh_until + 100.0  # beyond `stale_while_revalidate`
    held = Entry("value", STORED, fresh_until, fresh_until + policy.grace, 10, retry_at=retry_at)
    for passed in (0.0, 59.9):
        assert on_question(held, retry_at + passed, policy) is Action.SERVE_AND_RENEW
    for passed in (60.0, 3600.0, 80_000.0):
        assert on_question(held, retry_at + passed, policy) is Action.ASK
        assert on_failure(held, retry_at + passed, policy, errors.ConnectError("x")) is Action.SERVE_STALE
    held.retry_at = fresh_until - 60.0
    assert on_question(held, fresh_until, policy) is Action.SERVE_AND_RENEW, "as without a failure"


@pytest.mark.parametrize("age", AGES)
def test_a_negative_answer_fails_while_it_is_fresh_and_is_never_stale(age: float) -> None:
    for retry_at in (None, 0.0, 1e9):
        held = entry(negative=True, retry_at=retry_at)
        expected = Action.FAIL if age < FRESH else Action.ASK
        assert on_question(held, STORED + age, POLICY) is expected


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("max_age", [0.0, 1.0, FRESH, FRESH + ERROR, float("inf")])
def test_max_age_decides_instead_of_the_policy(age: float, max_age: float) -> None:
    now = STORED + age
    for retry_at in (None, 0.0, 1e9):
        expected = Action.SERVE if age <= max_age else Action.ASK
        assert on_question(entry(retry_at=retry_at), now, POLICY, oldest=now - max_age) is expected
        negative = entry(negative=True, retry_at=retry_at)
        assert on_question(negative, now, POLICY, oldest=now - max_age) is Action.ASK


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_only_an_outage_is_masked_and_only_for_those_who_do_not_insist(error: errors.QRBackendsError) -> None:
    for age, negative, insists in product(AGES, (False, True), (False, True)):
        expected = Action.FAIL
        if error.outage and not negative and not insists and age < FRESH + ERROR:
            expected = Action.SERVE if age < FRESH else Action.SERVE_STALE
        held = entry(negative=negative)
        assert on_failure(held, STORED + age, POLICY, error, insists=insists) is expected
    assert on_failure(None, STORED, POLICY, error) is Action.FAIL


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("max_age", [None, 0.0, FRESH, FRESH + ERROR])
def test_what_another_caller_fetched_is_enough_if_it_is_new_or_would_be_served(
    age: float, max_age: float | None
) -> None:
    now = STORED + age
    oldest = None if max_age is None else now - max_age
    young = oldest is None or oldest <= STORED
    assert is_enough(Found(entry(), "origin"), now, POLICY, oldest=oldest) == young
    served = on_question(entry(), now, POLICY, oldest=oldest) is Action.SERVE
    assert is_enough(Found(entry(), "shared"), now, POLICY, oldest=oldest) == served


MASKED = (
    *("ConnectError", "ConnectionLost", "Timeout", "ConnectTimeout", "ReadTimeout", "BodyDamaged"),
    *(
        "WrongBackend",
        "TransportError",
        "CircuitOpen",
        "RateLimited",
        "HeldBack",
        "ServerError",
        "ServiceUnavailable",
    ),
)
"""What the design names: connect errors, timeouts, damaged bodies, 429, 5xx and open circuits."""


def test_what_is_masked_is_what_was_promised() -> None:
    assert {type(error).__name__ for error in FAILURES if error.outage} == {*MASKED, "DecodeError"}
    assert not errors.DecodeError("of the wrong shape").outage


LOSSES = {
    Loss.SCOPE: {"Unauthorized", "Forbidden"},  # a 403 for a document is a matter of its backend
    Loss.ACCOUNT: {"AuthenticationFailed"},
    Loss.NOTHING: {
        *MASKED,
        *("InvalidRequest", "AccountError", "ClientClosed", "WrongEventLoop", "NotFound", "UnknownBackend"),
    },
}


REQUESTS = (Request("backends"), Request("properties", "a"), Request("configuration", "a", "variant"))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.target)
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_what_a_failure_makes_worthless(error: errors.QRBackendsError, request_: Request) -> None:
    name = type(error).__name__
    said = isinstance(error, (errors.ResponseError, errors.DecodeError))  # by the service, to every worker
    otherwise = Loss.ANSWER if said else Loss.MEMORY
    expected = next((one for one, names in LOSSES.items() if name in names), otherwise)
    if isinstance(error, errors.DecodeError) and error.malformed:
        expected = Loss.NOTHING
    if isinstance(error, errors.Forbidden) and request_.backend is not None:
        expected = Loss.BACKEND
    assert loss(error, request_) is expected


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.target)
def test_a_provider_that_fails_once_says_nothing_about_answers(request_: Request) -> None:
    failure = errors.AccountError("the token provider failed with KeyError")
    failure.final = False
    assert loss(failure, request_) is Loss.NOTHING


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.target)
def test_a_firewall_says_nothing_about_rights(request_: Request) -> None:
    refusal = error_for(403, "blocked", {}, own=False)
    assert loss(refusal, request_) is Loss.NOTHING
    assert on_failure(entry(), STORED + FRESH, POLICY, refusal) is Action.SERVE_STALE


@pytest.mark.parametrize("max_age", [None, 0.0, ERROR])
def test_an_entry_from_the_future_is_no_longer_fresh(max_age: float | None) -> None:
    """The clock was set back: nobody can tell how old the entry is."""
    for back in (0.5, FRESH, 1e6):
        now = STORED - back
        oldest = None if max_age is None else now - max_age
        assert on_question(entry(), now, POLICY, False, oldest) is Action.ASK
        assert on_question(entry(negative=True), now, POLICY, False, oldest) is Action.ASK
        error = errors.ConnectError("x")
        assert on_failure(entry(), now, POLICY, error) is Action.SERVE_STALE
        assert on_failure(entry(), now, POLICY, error, insists=True) is Action.FAIL


TAG, WEAK, OTHER = Validators('"a"'), Validators('W/"a"'), Validators('"b"')
DATED = Validators(last_modified="Thu, 26 Nov 2026 12:00:00 GMT")


def tagged(validators: Validators = TAG, confirmed: float = 0) -> Entry:
    entry = Entry("value", STORED, UNTIL, UNTIL + ERROR, 10)
    entry.validators, entry.confirmed = validators, confirmed
    return entry


@pytest.mark.parametrize("validators", [TAG, WEAK, DATED, NONE])
def test_24_answers_in_a_row_may_be_a_304_and_the_next_is_asked_for_in_full(validators: Validators) -> None:
    assert validators_to_send(None) == NONE
    for confirmed in (0.0, 1.0, 23.0):
        assert validators_to_send(tagged(validators, confirmed)) == validators
    for confirmed in (24.0, 25.0, inf):
        assert validators_to_send(tagged(validators, confirmed)) == NONE


def answer(
    told: Validators, *, unchanged: bool, not_modified: bool = False, asked: Validators = NONE
) -> OriginAnswer:
    return OriginAnswer("value", b"{}", "", Wire(b""), told, unchanged, not_modified, asked)


@pytest.mark.parametrize(
    ("known", "asked", "told", "unchanged", "trusted"),
    [
        (TAG, TAG, TAG, True, False),  # the server does not compare
        (TAG, TAG, TAG, False, False),  # one tag for two documents
        (TAG, NONE, TAG, True, True),  # nothing was asked, and nothing is wrong
        (TAG, NONE, TAG, False, False),
        (TAG, TAG, OTHER, False, True),  # a new document with a tag of its own
        (TAG, TAG, OTHER, True, True),  # the tag of a server that was started anew
        (TAG, NONE, OTHER, False, True),
        (TAG, TAG, NONE, False, True),
        (TAG, TAG, NONE, True, True),
        (TAG, TAG, WEAK, True, False),
        (WEAK, WEAK, TAG, False, False),
        (DATED, DATED, DATED, True, False),
        (DATED, DATED, DATED, False, False),
        (DATED, NONE, DATED, True, True),
        (NONE, NONE, NONE, True, True),
        (NONE, NONE, NONE, False, True),
        (NONE, NONE, TAG, False, True),
    ],
)
def test_whether_validators_tell_the_truth_is_learnt_from_full_answers(
    known: Validators, asked: Validators, told: Validators, unchanged: bool, trusted: bool
) -> None:
    full = answer(told, unchanged=unchanged, asked=asked)
    for confirmed in (0.0, 1.0, 24.0):
        assert confirmations(tagged(known, confirmed), full) == (0 if trusted else inf)
    assert confirmations(tagged(known, inf), full) == inf, "distrust stays"


@pytest.mark.parametrize("told", [TAG, WEAK])
@pytest.mark.parametrize("confirmed", [0, 1, 23, inf])
def test_304s_are_counted_and_say_nothing_about_their_own_truth(told: Validators, confirmed: float) -> None:
    not_modified = answer(told, unchanged=True, not_modified=True, asked=TAG)
    assert confirmations(tagged(confirmed=confirmed), not_modified) == confirmed + 1


@pytest.mark.parametrize("told", [TAG, DATED, NONE])
def test_a_first_answer_is_trusted(told: Validators) -> None:
    assert confirmations(None, answer(told, unchanged=False)) == 0
