"""How many frames of ours a cold call passes; route and token are known."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import qrbackends
from qrbackends import Client

from .service import Service, service

ROOT = str(Path(qrbackends.__file__).parent)


async def frames(there: Service) -> Counter[str]:
    """Return how often each module of ours is entered or resumed during one cold `client.properties()`."""
    entered: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            entered[str(Path(frame.f_code.co_filename).relative_to(ROOT))] += 1

    async with Client(there.account()) as client:
        names = [backend.name for backend in await client.backends()]
        await client.properties(names[0])  # the token, the connection, and lazy imports
        sys.setprofile(note)
        try:
            await client.properties(names[1])
        finally:
            sys.setprofile(None)
    return entered


def run(_: int) -> list[str]:
    """Count, and return the table."""
    with service("snapshots") as there:
        entered = asyncio.run(frames(there))
    lines = [f"frames: a cold properties() passes {entered.total()} in {len(entered)} modules"]
    return ["\n".join([*lines, *(f"  {module:<28} {count:3}" for module, count in entered.most_common())])]
