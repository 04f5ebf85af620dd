"""Backends that no list has, such as retired ones: which instance has an answer about one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from cachetools import LRUCache

from ..accounts.scope import Scope
from ..cache.entry import Fetched
from ..errors import InstanceUnavailable, NotFound, QRBackendsError
from ..protocol.requests import Request
from ..tasks.deadlines import halfway
from ..tasks.fanout import answers

Ask: TypeAlias = Callable[..., Awaitable[Fetched[Any]]]
"""Asks one instance: takes a request, a scope and a deadline, and the options of `Cache.fetch`."""

_AT_ONCE = 256  # instances that are asked at a time
_MOST = 1024  # backends whose instance is kept


class UnlistedBackends:
    """Asks each instance for a backend itself, and keeps which one answered.

    Args:
        fetch: asks one instance.
    """

    def __init__(self, fetch: Ask) -> None:
        self._fetch = fetch
        self._answered: LRUCache[str, Scope] = LRUCache(_MOST)  # by the backend's name

    def last(self, request: Request) -> Scope | None:
        """Return the instance that answered last about the backend, or None."""
        return self._answered.get(request.backend or "")

    async def first_answer(
        self,
        request: Request,
        scopes: Sequence[Scope],
        until: float,
        tried: dict[Scope, QRBackendsError],
        how: Mapping[str, Any],
    ) -> Fetched[Any] | None:
        """Return the answer of the first instance that has one; add the errors of the others to `tried`.

        The first instance is asked alone, as most often it has the answer; then 2, 4, 8, … at a time, each
        with at most half of the time that is left unless they are the last ones: one that hangs does not hide
        another's answer.
        """
        width = 1
        while scopes:
            asked, scopes = scopes[:width], scopes[width:]
            width = min(2 * width, _AT_ONCE)
            deadline = halfway(until) if scopes else until

            async def ask(scope: Scope, deadline: float = deadline) -> Fetched[Any] | QRBackendsError:
                try:
                    return await self._fetch(request, scope, deadline, **how)
                except QRBackendsError as error:
                    if error.final:
                        raise
                    return error

            for scope, answer in zip(asked, await answers(asked, ask, _AT_ONCE), strict=True):
                if not isinstance(answer, QRBackendsError):
                    self._answered[request.backend or ""] = scope
                    return answer
                tried[scope] = answer
        return None


def unanswered(absence: QRBackendsError, tried: Mapping[Scope, QRBackendsError]) -> QRBackendsError:
    """Return the error for a backend that no list has, and about which no instance has an answer."""
    odd = [error for error in tried.values() if not isinstance(error, NotFound)]
    if not odd or not isinstance(absence, NotFound):
        return absence
    if len(odd) == len(tried) and len({type(error) for error in odd}) == 1:
        return odd[0]
    return InstanceUnavailable(
        "no list has this backend, and whether an instance has an answer about it is not known: "
        + "; ".join(map(str, odd)),
        odd,
    ).about(backend=absence.backend)
