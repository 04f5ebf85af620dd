"""Waiting for something to have happened, without sleeping."""

from collections.abc import Callable

import anyio
import anyio.lowlevel


async def until(happened: Callable[[], bool]) -> None:
    """Let the event loop run until `happened()`; 30 s are a guard against a hang, not a measurement."""
    with anyio.fail_after(30):
        while not happened():  # what is waited for has no event of its own
            await anyio.lowlevel.checkpoint()
