"""Many callers ask for the same, of which nothing is known yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiocache import cached_stampede

from qrbackends import Client, SessionPool
from qrbackends.emulator import Emulator
from qrbackends.emulator.devices.fleets import SnapshotFleet

from .connected import Loop, opened
from .measure import Cost, Table, by_cost, in_turn, summarized

DEVICE = "ibm_boston"
OURS, FLOOR = "qrbackends", "a shared task"
Ask = Callable[[], Awaitable[object]]


def by_hand(ask: Ask) -> Ask:
    """Return what one writes by hand: the first caller begins a task, and all wait for it."""
    flights: dict[str, asyncio.Future[object]] = {}

    async def asked() -> object:
        flight = flights.get(DEVICE)
        if flight is None:
            flight = flights[DEVICE] = asyncio.ensure_future(ask())
            flight.add_done_callback(lambda _: flights.pop(DEVICE))
        return await asyncio.shield(flight)

    return asked


class Herds:
    """Herds of callers that ask in different ways, each time anew."""

    def __init__(self, loop: Loop) -> None:
        self.requests: dict[str, int] = {}
        self._loop = loop
        self._emulator = loop.enter(Emulator(SnapshotFleet()))
        self._client = loop.enter(Client(self._emulator.account()))
        self._stampede = cached_stampede(lease=5, ttl=300)(self._uncached)

    async def _ours(self) -> object:
        return await self._client.properties(DEVICE)

    async def _uncached(self) -> object:
        return await self._client.properties(DEVICE, refresh=True)

    async def _unprotected(self) -> object:  # each with a client of its own: nobody knows of the others
        async with Client(self._emulator.account(), pool=pool_of(self._client)) as own:
            return await own.properties(DEVICE)

    def forget(self, _: str) -> None:
        """Forget the document, and know the lists."""

        async def forget() -> None:
            await self._client.invalidate()
            await self._stampede.cache.clear()
            await self._client.backends()

        self._loop.run(forget())
        self._emulator.reset_log()

    def note(self, name: str, _: object) -> None:
        """Note how many requests there were."""
        self.requests[name] = self._emulator.count("properties")

    def turns(self, few: int, many: int) -> dict[str, Callable[[], Any]]:
        """Return each herd's turn; it ends when all have the document."""

        async def together(ask: Ask, callers: int) -> None:
            await asyncio.gather(*(ask() for _ in range(callers)))

        def herd(ask: Ask, callers: int) -> Callable[[], Any]:
            return lambda: self._loop.run(together(ask, callers))

        by_itself = by_hand(self._uncached)
        return {
            f"{OURS}, {few:,} callers": herd(self._ours, few),
            f"{OURS}, {many:,} callers": herd(self._ours, many),
            f"{OURS}, a single call": herd(self._ours, 1),
            f"{FLOOR}, {few:,} callers": herd(by_itself, few),
            f"{FLOOR}, {many:,} callers": herd(by_itself, many),
            f"aiocache's stampede lock, {few:,}": herd(self._stampede, few),
            "no protection, 100 callers": herd(self._unprotected, min(few, 100)),
        }


def pool_of(client: Client) -> SessionPool:
    """Return the client's sessions, so that connections are not what is measured."""
    return client._parts.pool


def per_caller(costs: dict[str, list[Cost]], few: int, many: int) -> str:
    """Return what each caller of a herd costs beyond a single call, and how that grows."""
    lines = []
    for what, place in (("CPU", 1), ("wall", 0)):
        median = {name: summarized([cost[place] for cost in found]).median for name, found in costs.items()}
        alone = median[f"{OURS}, a single call"]
        for name in (OURS, FLOOR):
            each = [(median[f"{name}, {count:,} callers"] - alone) / count * 1e6 for count in (few, many)]
            lines.append(
                f"{name}: {each[0]:.1f} µs of {what} per caller of {few:,}, {each[1]:.1f} of {many:,}: "
                f"{each[1] / each[0]:.2f} times as much"
            )
    return "\n  ".join(lines)


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    few, many = (100, 1_000) if rounds < 10 else (1_000, 10_000)
    with opened() as loop:
        herds = Herds(loop)
        costs = in_turn(herds.turns(few, many), min(rounds, 9), before=herds.forget, after=herds.note)
    counts = ", ".join(f"{name}: {asked}" for name, asked in herds.requests.items())
    note = f"{per_caller(costs, few, many)}\n  requests: {counts}"
    return by_cost("herd: one cold key", costs, f"{FLOOR}, {few:,} callers", note)
