"""Decisions about a cache entry: pure functions of entry, time, policy, question and error.

The rules follow RFC 9111, sections 4.2 (freshness) and 4.2.4 (serving stale), and RFC 5861
(stale-while-revalidate, stale-if-error); for validators, RFC 9110, section 13.
"""

from enum import Enum
from math import inf
from typing import Final

from ..errors import (
    AccountError,
    AuthenticationFailed,
    DecodeError,
    Forbidden,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    ResponseError,
    Unauthorized,
)
from ..protocol.requests import Request
from ..protocol.validators import NONE, Validators
from ..service.origin import OriginAnswer, may_be_due_to_condition
from .entry import Entry, Found
from .policy import CachePolicy

_LAPSE: Final = 60.0
"""Seconds after `retry_at` in which a failed renewal is taken for an outage that lasts.

While callers come, each failed renewal begins them anew. A caller who comes later has to ask, as the service
may have recovered long ago.
"""


_MOST_CONFIRMED: Final = 24
"""How many answers in a row may be a 304. The next one is asked for in full: a server that answers 304 for
ever hides new calibrations for two hours, as they are renewed every five minutes, and no longer; a new
configuration, renewed every hour, for a day."""


class Action(Enum):
    """What to do for a caller."""

    SERVE = "return the entry: it is fresh, or young enough for the caller"
    SERVE_STALE = "return the entry although it is stale"
    SERVE_AND_RENEW = "return the entry although it is stale, and fetch a new one in the background"
    FAIL = "raise an error: that of a negative entry, or that of the fetch"
    ASK = "ask the shared tier or the service, and wait for the answer"


class Loss(Enum):
    """Which entries an error makes invalid, in memory and in the shared tier."""

    NOTHING = "no entry"
    ANSWER = "the entry of the question: the service now answers with an error"
    MEMORY = "the entry of the question in memory: other processes may have a better way to the service"
    BACKEND = "all entries of the backend in the instance: the credential must not read them any more"
    SCOPE = "all entries of the instance: the credential must not read them any more"
    ACCOUNT = "all entries of the account: its key was refused"


# Module-level names, as `Action.SERVE` costs as much as the whole decision on CPython 3.11.
SERVE, SERVE_STALE, SERVE_AND_RENEW, FAIL, ASK = Action


def on_question(
    entry: Entry | None,
    now: float,
    policy: CachePolicy,
    refresh: bool = False,
    oldest: float | None = None,
) -> Action:
    """Return what to do when a caller asks.

    Args:
        entry: the entry in memory, or None.
        now: the time by the memory's clock.
        policy: how long answers may be used.
        refresh: whether to ask the service in any case.
        oldest: the time before which the answer is too old; it replaces the policy. None: the policy holds.
    """
    if entry is None or refresh or now < entry.stored_at:  # the clock was set back: its age is not known
        return ASK
    if oldest is not None:
        return SERVE if entry.stored_at >= oldest and not entry.negative else ASK
    if now < entry.fresh_until:
        return FAIL if entry.negative else SERVE
    if entry.negative:
        return ASK
    if entry.retry_at is None or now >= entry.retry_at + _LAPSE:
        return SERVE_AND_RENEW if now < entry.fresh_until + policy.stale_while_revalidate else ASK
    # The last renewal failed: no caller waits for the next one, which begins in the background.
    if now >= entry.fresh_until + policy.grace:
        return ASK
    return SERVE_STALE if now < entry.retry_at else SERVE_AND_RENEW


def is_enough(found: Found, now: float, policy: CachePolicy, *, oldest: float | None = None) -> bool:
    """Return whether the answer that another caller's fetch brought is enough for this caller, too.

    An answer of the service is the newest that there is, unless it had arrived before the caller asked for a
    younger one. One of the shared tier was good enough for the caller who began the fetch, and has to be good
    enough for this one.

    Args:
        found: what the fetch brought.
        now: the memory's clock.
        policy: how long answers may be used.
        oldest: as for `on_question`.
    """
    if found.source == "origin":
        return oldest is None or found.entry.stored_at >= oldest
    return on_question(found.entry, now, policy, False, oldest) is SERVE


def on_failure(
    entry: Entry | None, now: float, policy: CachePolicy, error: QRBackendsError, *, insists: bool = False
) -> Action:
    """Return what to do for a caller after the fetch for it failed.

    Args:
        entry: the entry in memory now, or None.
        now: the time by the memory's clock.
        policy: how long answers may be used.
        error: the error of the fetch.
        insists: whether the caller takes no old answer, because of `refresh` or `max_age`.
    """
    if insists or not error.outage or entry is None or entry.negative:
        return FAIL
    if entry.stored_at <= now < entry.fresh_until:  # another fetch has brought an answer meanwhile
        return SERVE
    return SERVE_STALE if now < entry.fresh_until + policy.stale_if_error else FAIL


def loss(error: QRBackendsError, request: Request) -> Loss:
    """Return which entries the error of a request makes invalid.

    A 403 for a document is about its backend, one for the list is about the instance. A 401, which comes
    after a new token did not help, is about the instance, too. A 404 makes none invalid, as its entry
    replaces the old one.
    """
    if isinstance(error, AuthenticationFailed):
        return Loss.ACCOUNT
    if error.outage or error.final or isinstance(error, (AccountError, InvalidRequest, NotFound)):
        return Loss.NOTHING
    if isinstance(error, Forbidden) and request.backend is not None:
        return Loss.BACKEND
    if isinstance(error, (Unauthorized, Forbidden)):
        return Loss.SCOPE
    return Loss.ANSWER if isinstance(error, (DecodeError, ResponseError)) else Loss.MEMORY


def validators_to_send(known: Entry | None) -> Validators:
    """Return the validators that the service is asked about; none if the answer is wanted in full.

    Args:
        known: the entry in memory, or None.
    """
    return NONE if known is None or known.confirmed >= _MOST_CONFIRMED else known.validators


def after_outage(confirmed: float, error: QRBackendsError) -> float:
    """Return `confirmed` of an entry whose renewal failed.

    The next answer is asked for in full if the condition may be why the request failed.
    """
    return max(confirmed, _MOST_CONFIRMED) if may_be_due_to_condition(error) else confirmed


def confirmations(known: Entry | None, answer: OriginAnswer) -> float:
    """Return how many answers in a row, this one included, were a 304: `confirmed` of the new entry.

    It is infinite from an answer on that came in full under the validators that were known before: the
    service does not compare them, or gives one tag to two answers. Then only bodies are compared.

    Args:
        known: the entry that was known before the request, or None.
        answer: the service's answer.
    """
    if known is None:
        return 0
    if answer.not_modified:
        return known.confirmed + 1
    named_alike = answer.validators.confirm(known.validators)
    deceived = named_alike and (any(answer.asked) or not answer.unchanged)
    return inf if deceived or known.confirmed == inf else 0
