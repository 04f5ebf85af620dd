"""The status of each of 68 backends at once, and one after another: small answers, which nobody keeps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from qrbackends import BackendStatus, Client

from .connected import Backend, Get, client_of, concurrently, opened, with_hishel, with_official
from .fleet import FLOOR, session_of
from .measure import Cost, Table, by_cost, in_turn
from .observed import Decode, observed
from .service import service

HISHEL = "hishel, our structs"
DECODERS: dict[str, Decode] = {"status": msgspec.json.Decoder(BackendStatus).decode}
Ask = Callable[[str, str], Awaitable[BackendStatus]]


def of_client(client: Client) -> Ask:
    """Return what asks with our client."""

    async def ask(region: str, name: str) -> BackendStatus:
        return await client.status(name)

    return ask


def decoding(get: Get) -> Ask:
    """Return what asks for a status, and decodes it."""

    async def ask(region: str, name: str) -> BackendStatus:
        status: BackendStatus = DECODERS["status"](await get(region, f"/backends/{name}/status"))
        return status

    return ask


async def at_once(client: Client, asked: list[Backend]) -> list[BackendStatus]:
    """Ask with our client, whose pool bounds how many requests are in flight."""
    return await asyncio.gather(*(client.status(name) for _, name in asked))


async def in_a_row(ask: Ask, asked: list[Backend]) -> list[BackendStatus]:
    """Ask for one after another."""
    return [await ask(*backend) for backend in asked]


def counts(contestants: Mapping[str, Callable[[], Any]]) -> str:
    """Return what each receives in one more turn."""
    lines = []
    for name, contestant in contestants.items():
        with observed(DECODERS) as seen:
            contestant()
        lines.append(f"{name}: {seen}")
    return "\n  ".join(lines)


def each(costs: dict[str, list[Cost]], calls: int) -> dict[str, list[Cost]]:
    """Return the costs of a single call."""
    single = {}
    for name, found in costs.items():
        single[name] = [Cost(cost.wall / calls, cost.cpu / calls) for cost in found]
    return single


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    short = rounds < 10
    with service("snapshots") as there, opened() as loop:
        every = there.names
        client = loop.enter(client_of(there))
        ours = of_client(client)
        floor, hishel = (decoding(loop.enter(peer(there))) for peer in (session_of, with_hishel))
        contestants: dict[str, Callable[[], Any]] = {
            "qrbackends": lambda: loop.run(at_once(client, every)),
            FLOOR: lambda: loop.run(concurrently(there, every, floor)),
        }
        costs = in_turn(contestants, 5 if short else 51)
        if not short:
            contestants[HISHEL] = lambda: loop.run(concurrently(there, every, hishel))
            costs |= in_turn({HISHEL: contestants[HISHEL]}, 5)
        tables = by_cost("status: 68 backends at once", costs, FLOOR, counts(contestants))

        row = every  # in short turns, so that a machine that changes its speed does so for both
        contestants = {
            "qrbackends": lambda: loop.run(in_a_row(ours, row)),
            FLOOR: lambda: loop.run(in_a_row(floor, row)),
        }
        costs = each(in_turn(contestants, 11 if short else 101), len(row))
        few = every[: 4 if short else 68]
        backends = with_official(there, few)
        slow: dict[str, Callable[[], Any]] = {
            HISHEL: lambda: loop.run(in_a_row(hishel, few)),
            "official client": lambda: [backend.status() for backend in backends],
        }
        costs |= each(in_turn(slow, 1 if short else 5), len(few))
        tables += by_cost("status: one after another, each", costs, FLOOR)
    return tables
