"""The modules that one call goes through, found out by making the call, and drawn."""

import asyncio
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import qrbackends
from qrbackends import Client
from qrbackends.emulator import Emulator, SyntheticFleet

from .drawing import box, line, svg, text

_ROOT = Path(qrbackends.__file__).parent
_BESIDE = ("emulator", "surface", "models", "messages", "errors")  # the other side, and mere values
_ROW = 30  # pixels; all that follows, too
_FOLDER, _NAME, _TEXT, _WIDTH = 12, 132, 330, 960


class Stop(NamedTuple):
    """A module on the way: its folder, its name, the first function that ran in it, and what it is for."""

    folder: str
    module: str
    function: str
    text: str


async def way_of_a_call() -> list[Stop]:
    """Return the modules that the first call for a document goes through, in the order of their first use."""
    seen: dict[str, str] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(_ROOT):
            module = ".".join(file.relative_to(_ROOT).with_suffix("").parts)
            seen.setdefault(module, frame.f_code.co_qualname)

    async with (
        Emulator(fleet=SyntheticFleet({"alpha_5": 5}), regions=("us-east",)) as emulator,
        Client(emulator.account()) as client,
    ):
        await client.backends()
        sys.setprofile(note)
        try:
            await client.properties("alpha_5")
        finally:
            sys.setprofile(None)
    return [_stop(name, function) for name, function in seen.items() if name.partition(".")[0] not in _BESIDE]


def _stop(name: str, function: str) -> Stop:
    module = import_module(f"qrbackends.{name}")
    folder, _, own = name.rpartition(".")
    text = (module.__doc__ or "").strip().partition("\n")[0].replace("`", "")
    return Stop(folder or "qrbackends", own, function, text)


def call_svg() -> str:
    """Return the way as SVG in the colours of the page around it."""
    stops = asyncio.run(way_of_a_call())
    parts = []
    for number, stop in enumerate(stops):
        middle = _ROW * number + _ROW / 2 + 5
        if number == 0 or stops[number - 1].folder != stop.folder:
            parts.append(text(_FOLDER, middle + 4, stop.folder, 'font-weight="600"'))
        if number:
            parts.append(line(f"M{_NAME + 8} {middle - _ROW + 11}V{middle - 13}m-3 -4l3 5l3 -5"))
        parts += [
            box(_NAME, middle - 11, 185, 22),
            text(_NAME + 9, middle + 4, f"{stop.module}.py", 'font-family="monospace"'),
            text(_TEXT, middle + 4, stop.text),
        ]
    title = "The modules that a first call for a document goes through, from top to bottom"
    return svg(_WIDTH, _ROW * len(stops) + 10, title, parts)
