"""The recorder: what an account's service answers about its devices, as a fleet for the emulator."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec

from ..accounts.account import Account
from ..cache.entry import Fetch
from ..emulator.devices.invalid import NoSuchBackend, known_backend
from ..emulator.devices.recording import RecordingWriter
from ..emulator.devices.sources import NO_NAME
from ..errors import NotFound, QRBackendsError
from ..protocol.requests import Request, Resource
from ..service.instances import ServiceInstance
from ..service.scrubbing import Scrubber
from ..tasks.fanout import answers
from ..transport.recording import RecordingPool
from .snapshot import Progress

_RESOURCES: Final[tuple[Resource, ...]] = ("configuration", "properties", "status", "defaults")
_LIST: Final = Request("backends")
_AT_ONCE = 32  # devices that are asked about at a time


class _List(msgspec.Struct):
    devices: list[msgspec.Raw]


class _Named(msgspec.Struct):
    name: str


class _Entry(NamedTuple):
    """A device's entry in the list of an instance."""

    crn: str
    body: bytes
    named: bool


class _Answer(NamedTuple):
    """HTTP status and body of an answer."""

    status: int
    body: bytes


_Question: TypeAlias = tuple[str, Resource, str | None]
"""The name of a device, a resource, and the CRN of the instance to ask; None for all."""


class RecordingSummary(NamedTuple):
    """What a recording has, and what it lacks.

    Attributes:
        backends: the names of the devices, sorted.
        answers: the number of answers about them.
        size: the bytes of all answers.
        failures: a line for each answer that is missing, or is an error.
    """

    backends: tuple[str, ...]
    answers: int
    size: int
    failures: tuple[str, ...]


class Recorder:
    """Writes the list's entries, and configuration, properties, status and defaults of each device.

    Bodies are written as they came, but for what identifies the account, which is replaced. An answer other
    than 200 is written, too; 404 for defaults, which most devices do not have, is no failure.

    Args:
        fetch: answers requests over `pool`, as `Client.fetch` does.
        pool: the pool that keeps the bodies.
        account: the account that asks.
        instances: its instances with their names.
        addresses: the base address of each instance's API, by its CRN.
        directory: where to write.
    """

    def __init__(
        self,
        fetch: Fetch,
        pool: RecordingPool,
        account: Account,
        instances: Sequence[ServiceInstance],
        addresses: Mapping[str, str],
        directory: Path,
    ) -> None:
        self._fetch = fetch
        self._pool = pool
        self._account = account
        self._instances = instances
        self._addresses = addresses
        self._directory = directory
        self._scrubber = Scrubber(account, instances)
        self._failures: list[str] = []
        self._broken_lists: list[bytes] = []
        self._asked = 0

    async def record(
        self, backends: Collection[str] | None = None, progress: Progress | None = None
    ) -> RecordingSummary:
        """Ask for everything, and write it.

        Args:
            backends: the names of the devices; None for all that the instances list. A device that no list
                has, such as a retired one, is recorded if the service answers about it.
            progress: called after each answer with the number of answers, and the number of all.

        Raises:
            QRBackendsError: no instance could be listed.
            NoSuchBackend: nothing is known about one of `backends`, or they name none.
            OSError: the directory cannot be written to.
        """
        if backends is not None and not backends:
            raise NoSuchBackend(NO_NAME)
        entries = await self._entries(optional=backends is not None)
        names = sorted(entries if backends is None else set(backends))
        self._scrubber = Scrubber(self._account, self._instances, entries)  # it spares their names
        questions = [
            (name, resource, entries[name].crn if name in entries else None)
            for name in names
            if name not in entries or entries[name].named
            for resource in _RESOURCES
        ]

        async def ask(question: _Question) -> _Answer | None:
            answer = await self._ask(*question)
            self._asked += 1
            if progress is not None:
                progress(self._asked, len(questions))
            return answer

        found = list(zip(questions, await answers(questions, ask, _AT_ONCE), strict=True))
        known = {name for (name, _, _), answer in found if answer is not None and answer.status != 404}
        for name in names:
            known_backend(name, known | entries.keys())
        return self._write(names, entries, found)

    def _write(
        self,
        names: Sequence[str],
        entries: Mapping[str, _Entry],
        found: Iterable[tuple[_Question, _Answer | None]],
    ) -> RecordingSummary:
        """Write everything; until now nothing was, and if it fails, nothing is."""
        writer = RecordingWriter(self._directory)
        try:
            self._write_all(writer, names, entries, found)
        except BaseException:
            writer.discard()
            raise
        return RecordingSummary(
            tuple(names), writer.answers, writer.size, tuple(dict.fromkeys(self._failures))
        )

    def _write_all(
        self,
        writer: RecordingWriter,
        names: Sequence[str],
        entries: Mapping[str, _Entry],
        found: Iterable[tuple[_Question, _Answer | None]],
    ) -> None:
        for number, body in enumerate(self._broken_lists, 1):
            writer.add_broken_list(number, self._scrubbed(body))
        shown = {name: self._scrubbed(name.encode()).decode() for name in names}  # as in its bodies
        for name in names:
            if name in entries:
                writer.add_entry(shown[name], self._scrubbed(entries[name].body))
        for (name, resource, _), answer in found:
            if answer is not None:
                writer.add_answer(shown[name], resource, answer.status, answer.body)
        writer.close()

    async def _entries(self, *, optional: bool) -> dict[str, _Entry]:
        """Return the entries of all lists by the device's name; of equal names, that of the first instance.

        Raises:
            QRBackendsError: no instance could be listed, and the lists are not optional.
        """
        try:
            self._failures += map(str, (await self._fetch(_LIST)).value.errors)
        except QRBackendsError as error:
            if not optional:
                raise
            self._failures.append(str(error))
        entries: dict[str, _Entry] = {}
        for crn, base in self._addresses.items():
            answer = self._pool.take(crn, base + _LIST.target)
            if answer is None or answer.status != 200:
                continue
            try:
                listed = msgspec.json.decode(answer.body, type=_List).devices
            except (msgspec.MsgspecError, ValueError, RecursionError):
                self._broken_lists.append(answer.body)
                continue
            for raw in listed:
                name = _name(raw)
                key = f"entry_{len(entries) + 1}" if name is None else name
                entries.setdefault(key, _Entry(crn, bytes(raw), name is not None))
        return entries

    async def _ask(self, name: str, resource: Resource, crn: str | None) -> _Answer | None:
        """Return the answer about one resource of a device; None if no complete answer arrived."""
        target = ""
        try:
            request = Request(resource, name)
            target = request.target
            await self._fetch(request, instance=crn)
        except QRBackendsError as error:
            if resource != "defaults" or not isinstance(error, NotFound):
                self._failures.append(str(error.about(backend=name)))
        taken = [self._pool.take(one, base + target) for one, base in self._addresses.items()]
        found = sorted((one for one in taken if one is not None), key=lambda one: one.status != 200)
        if not found:
            return None
        status, good = found[0].status, found[0].status == 200
        is_calibration = good and resource != "status"
        body = self._scrubbed(found[0].body, calibration=is_calibration, error=not good)
        return _Answer(status, body)

    def _scrubbed(self, body: bytes, **kind: bool) -> bytes:
        for secret in self._pool.credentials:
            self._scrubber.add_secret(secret)
        return self._scrubber.scrubbed(body, **kind)


def _name(entry: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(entry, type=_Named).name
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
