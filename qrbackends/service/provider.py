"""Token providers: code of the caller's, whose failures become errors of ours that show none of its texts."""

import inspect
from traceback import walk_tb
from typing import Any, SupportsFloat

from ..accounts.secret import BearerProvider, Secret
from ..errors import AccountError, QRBackendsError, TransportError
from ..protocol.answers import printable
from ..tasks.loops import raise_own_cancellation

# A provider that raises one of these has a bug or a wrong setting; any other error may be an outage.
_MISTAKES = (AccountError, ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
_SHOWN = 80  # the most characters of a name that an error shows


async def provided(provider: BearerProvider) -> tuple[Secret, float]:
    """Return a provider's token, and when it expires in Unix seconds: 0 or more, or infinity.

    Whatever the provider raises is an error of ours. Only the cancellation of this very task is none.

    Raises:
        AccountError: the provider has a bug or a wrong setting, or returns no token with its expiry.
        TransportError: the provider failed in another way, which may be an outage of its source.
    """
    failure: QRBackendsError = AccountError(
        "the token provider has to return (token, expiry in Unix seconds)"
    )
    try:
        asked: Any = provider()
        if inspect.isawaitable(asked):
            bearer = _bearer(await asked)
            if bearer is not None:
                return bearer
        else:
            del asked
            failure = AccountError("the token provider has to be an async function")
    except BaseException as error:  # SystemExit and the like, too: it is one call that fails
        raise_own_cancellation()
        failure = _failure(error)
    failure.final = False  # the provider may do better at the next call
    raise failure  # outside `except`, so that its context does not hold the provider's error


def _bearer(answer: Any) -> tuple[Secret, float] | None:
    """Return what a provider has returned, or None if it is no token with its expiry."""
    try:
        text, expires = answer
        bearer = text if isinstance(text, Secret) else Secret(text)
        until = float(expires) if isinstance(expires, SupportsFloat) else -1.0  # a text is no number
    except BaseException:  # an object of the provider's may raise anything; nothing is awaited here
        return None
    return (bearer, until) if until >= 0 else None  # not if it is NaN


def _failure(error: BaseException) -> QRBackendsError:
    """Return the error for a provider that raised; its own text is left out, as it may hold the token."""
    trace = error.__traceback__
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:  # as task groups raise it
        error = error.exceptions[0]
        trace = error.__traceback__ or trace
    kind = AccountError if isinstance(error, _MISTAKES) else TransportError
    *_, (frame, line) = walk_tb(trace)
    place = frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    name = printable(type(error).__name__)[:_SHOWN]
    return kind(
        f"the token provider failed with {name} "
        f"({printable(place)[:_SHOWN]}, line {line}, in {printable(frame.f_code.co_name)[:_SHOWN]})"
    )
