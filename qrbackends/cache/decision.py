"""What to do with a cache entry: pure functions of entry, instant, policy, question and failure.

The rules follow RFC 9111, sections 4.2 (freshness) and 4.2.4 (serving stale), and RFC 5861
(stale-while-revalidate, stale-if-error).
"""

from enum import Enum

from ..errors import (
    AuthenticationFailed,
    Forbidden,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    Unauthorized,
)
from .entry import Entry
from .policy import CachePolicy


class Action(Enum):
    """What to do for a caller."""

    SERVE = "give the entry: it is fresh, or as young as the caller wants it"
    SERVE_STALE = "give the entry although it is not fresh any more"
    SERVE_AND_RENEW = "give the entry although it is not fresh any more, and ask in the background"
    FAIL = "raise the error: the entry's own, or the one that just happened"
    ASK = "ask the shared tier or the service, and wait"


class Loss(Enum):
    """What a failure makes worthless, in memory and in the shared tier."""

    NOTHING = "entries stay"
    ANSWER = "the entry of the question: it would hide what the service says now"
    SCOPE = "all entries of the instance: the credential may not read them any more"
    ACCOUNT = "all entries of the account: its key was refused"


# A member by its class costs as much as the whole decision on CPython 3.11.
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
        entry: what memory has, or None.
        now: the memory's clock.
        policy: how long answers may be used.
        refresh: whether the service has to be asked in any case.
        oldest: when the service has to have given the answer at the earliest; decides instead of the policy.
    """
    if entry is None or refresh:
        return ASK
    if oldest is not None:
        return SERVE if entry.stored_at >= oldest and not entry.negative else ASK
    if now < entry.fresh_until:
        return FAIL if entry.negative else SERVE
    if entry.negative:
        return ASK
    if entry.retry_at is None:
        return SERVE_AND_RENEW if now < entry.fresh_until + policy.stale_while_revalidate else ASK
    # While the service fails, only the first caller waits to learn that it still does.
    if now >= entry.fresh_until + policy.grace:
        return ASK
    return SERVE_STALE if now < entry.retry_at else SERVE_AND_RENEW


def on_failure(
    entry: Entry | None, now: float, policy: CachePolicy, error: QRBackendsError, *, insists: bool = False
) -> Action:
    """Return what to do for a caller for whom the service was asked in vain.

    Args:
        entry: what memory has now, or None.
        now: the memory's clock.
        policy: how long answers may be used.
        error: what happened.
        insists: whether the caller wants no old answer: a refresh, or `max_age`.
    """
    if insists or not error.outage or entry is None or entry.negative:
        return FAIL
    if now < entry.fresh_until:  # another answer came meanwhile
        return SERVE
    return SERVE_STALE if now < entry.fresh_until + policy.stale_if_error else FAIL


def loss(error: QRBackendsError) -> Loss:
    """Return what a failure makes worthless. After a 404 the negative entry has taken the old one's place."""
    if isinstance(error, (Unauthorized, Forbidden)):
        return Loss.SCOPE
    if isinstance(error, AuthenticationFailed):
        return Loss.ACCOUNT
    if error.outage or error.final or isinstance(error, (InvalidRequest, NotFound)):
        return Loss.NOTHING
    return Loss.ANSWER
