"""The lists of several instances as one list."""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import is_
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from ..cache.entry import Fetched
from ..errors import InstanceUnavailable, QRBackendsError
from ..models import BackendList, BackendsResponse
from ..protocol.requests import Request

_Key: TypeAlias = tuple[Request, tuple[str, ...]]


class MergedLists:
    """Merges lists; of lists that have not changed, callers get the result that one of them still holds."""

    def __init__(self) -> None:
        self._merged: WeakValueDictionary[_Key, BackendList] = WeakValueDictionary()
        self._parts: WeakKeyDictionary[BackendList, list[BackendsResponse]] = WeakKeyDictionary()

    def merged(
        self,
        request: Request,
        crns: Iterable[str],
        listings: Sequence[Fetched[BackendsResponse] | QRBackendsError],
    ) -> Fetched[BackendList]:
        """Return the backends of all lists; age, source and freshness are those of the oldest list.

        Args:
            request: the request; mocks are left out unless it asks for them.
            crns: the instances that were asked.
            listings: the list of each of them, or the error instead.

        Raises:
            QRBackendsError: no instance could be listed.
        """
        errors = [one for one in listings if isinstance(one, QRBackendsError)]
        listed = [one for one in listings if not isinstance(one, QRBackendsError)]
        if not listed:
            raise _common(errors)
        parts = [one.value for one in listed]
        oldest = max(listed, key=lambda one: one.age)
        if errors:
            backends, unchanged = _joined(request, parts, errors), False
        else:
            backends = self._known((request, tuple(crns)), parts)
            unchanged = all(one.unchanged for one in listed)
        return Fetched(backends, oldest.age, oldest.source, oldest.fresh_for, unchanged)

    def _known(self, key: _Key, parts: list[BackendsResponse]) -> BackendList:
        known = self._merged.get(key)
        if known is None or not all(map(is_, self._parts[known], parts)):
            known = self._merged[key] = _joined(key[0], parts)
            self._parts[known] = parts
        return known


def _joined(
    request: Request, parts: Iterable[BackendsResponse], errors: Iterable[QRBackendsError] = ()
) -> BackendList:
    devices = chain.from_iterable(one.devices for one in parts)
    backends = (one for one in devices if request.include_mocks or not one.is_mock)
    odd = (error.again() for one in parts for error in one.errors)
    return BackendList(backends, (*errors, *odd))


def _common(errors: Sequence[QRBackendsError]) -> QRBackendsError:
    """Return the error when every instance failed: the first if all have one type, or one that names all."""
    if len({type(error) for error in errors}) == 1:
        return errors[0]
    return InstanceUnavailable(
        "no instance could be listed: " + "; ".join(str(error) for error in errors), errors
    )
