"""The properties of 68 backends, all known, are asked for again."""

import asyncio
import gc
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import msgspec

from qrbackends import BackendProperties, Client, Request
from qrbackends.emulator.surface.validators import Validation
from qrbackends.transport import body

from .connected import Backend, Get, Loop, client_of, concurrently, opened, with_hishel, with_official
from .fleet import FLOOR, session_of
from .measure import Cost, Table, by_cost, in_turn
from .observed import Decode, observed
from .service import Service, recalibrated

DECODERS: dict[str, Decode] = {"properties": msgspec.json.Decoder(BackendProperties).decode}
Documents = Mapping[str, Any]
"""By backend."""
Turn = Callable[[], Documents]
Costs = dict[str, list[Cost]]
OURS = "qrbackends"
VALIDATORS: tuple[tuple[Validation | None, str], ...]
VALIDATORS = (None, "without validators"), ("etag", "with validators")


async def ours(client: Client, asked: list[Backend]) -> dict[str, BackendProperties]:
    """Ask with our client, whose pool bounds how many requests are in flight."""
    names = [name for _, name in asked]
    found = await asyncio.gather(*(client.fetch(Request("properties", one), refresh=True) for one in names))
    return {name: answer.value for name, answer in zip(names, found, strict=True)}


def decoding(loop: Loop, there: Service, get: Get, asked: list[Backend], keeps: bool = False) -> Turn:
    """Return what asks and decodes.

    Args:
        loop: runs it.
        there: the service.
        get: asks.
        asked: the backends.
        keeps: whether each document is kept until there is a new one, and then freed, which takes time.
    """
    known: dict[str, BackendProperties] = {}

    def turn() -> Documents:
        found = known if keeps else {}

        async def ask(region: str, name: str) -> None:
            found[name] = DECODERS["properties"](await get(region, f"/backends/{name}/properties"))

        loop.run(concurrently(there, asked, ask))
        return dict(found)

    return turn


def official(there: Service, asked: list[Backend]) -> Turn:
    """Return what asks with the official client."""
    backends = with_official(there, asked)
    return lambda: {backend.name: backend.properties(refresh=True) for backend in backends}


def turns(loop: Loop, there: Service, asked: list[Backend]) -> dict[str, Turn]:
    """Return our turn and the floor's, which has it easier: what it had the last time is freed in between."""
    client = loop.enter(client_of(there))
    get = loop.enter(session_of(there))
    return {
        OURS: lambda: loop.run(ours(client, asked)),
        FLOOR: decoding(loop, there, get, asked),
        "the same, replaces the old": decoding(loop, there, get, asked, keeps=True),
    }


def counts(contestants: Mapping[str, Turn], before: Callable[[], object] = lambda: None) -> str:
    """Return what each receives in one more turn, and how many objects are the same ones after it."""
    lines = []
    for name, contestant in contestants.items():
        earlier = contestant()
        before()
        with observed(DECODERS) as seen:
            later = contestant()
        same = sum(later[one] is document for one, document in earlier.items())
        lines.append(f"{name}: {seen}, {same} of {len(later)} the same objects")
    return "\n  ".join(lines)


def memory(loop: Loop, there: Service, asked: list[Backend]) -> str:
    """Return the bytes that our client keeps of these documents, and those that the structs take alone."""
    client, get = loop.enter(client_of(there)), loop.enter(session_of(there))

    async def connect() -> None:  # connections are not what is counted
        await asyncio.gather(*(client.status(name) for _, name in asked))

    loop.run(connect())
    decoding(loop, there, get, asked)()
    kept = traced(lambda: loop.run(ours(client, asked)))
    plain = traced(decoding(loop, there, get, asked))
    accounted = client.stats().bytes
    return (
        f"memory: {len(asked)} documents with all that is kept of them take {kept:,} bytes, "
        f"{kept / plain:.3f} times the {plain:,} of the structs alone; {accounted:,} are accounted for"
    )


def traced(work: Callable[[], object]) -> int:
    """Return the bytes that are still allocated after some work."""
    gc.collect()
    tracemalloc.start()
    result = work()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return size


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    with patch.object(body, "decompressor", zlib.decompressobj):  # without the extra `speed`
        return measured(rounds < 10)


def measured(short: bool) -> list[Table]:
    """Measure while nothing changes, without and with validators, and while everything does."""
    rounds = 2 if short else 25
    tables = []
    for kind, title in VALIDATORS:
        with recalibrated(kind) as (there, recalibrate), opened() as loop:
            asked, few = (there.names[::4], there.names[:2]) if short else (there.names, there.names)
            fast = turns(loop, there, asked)
            hishel = decoding(loop, there, loop.enter(with_hishel(there)), few)
            slow = {f"hishel, {len(few)} backends": hishel}
            if kind is None:
                slow[f"official client, {len(few)} backends"] = official(there, few)
            costs = in_turn(fast, rounds) | in_turn(slow, 1 if short else 2)
            tables += by_cost(f"renew: unchanged, {title}", costs, FLOOR, counts(fast | slow))
            if kind is None:
                costs = changing(fast, recalibrate, rounds)
                notes = [counts(fast, recalibrate), memory(loop, there, asked)]
                tables += by_cost(f"renew: changed, {title}", costs, FLOOR, "\n  ".join(notes))
    return tables


def changing(contestants: Mapping[str, Turn], recalibrate: Callable[[], None], rounds: int) -> Costs:
    """Measure while every document is another one than in our last turn."""
    dates: dict[str, Any] = {}

    def before(name: str) -> None:
        if name == OURS:  # the others decode in any case
            recalibrate()

    def after(name: str, found: Documents) -> None:
        if name == OURS:
            for backend, document in found.items():
                assert document.last_update_date != dates.get(backend), f"{backend} is the same"
                dates[backend] = document.last_update_date

    return in_turn(contestants, rounds, before=before, after=after)
