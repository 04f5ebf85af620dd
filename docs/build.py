"""Make the screens and pictures of the pages anew: `python -m docs.build`; `--check` compares the screens.

A screen is a `text` block that begins with a command of `qrbackends`; a picture is what a `qrbackends plot`
of a page writes, or the board as a browser shows it. All ask the emulator, so they look the same everywhere,
but for ages, which are left out of the comparison.
"""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from .pictures import draw_board

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_SCREEN = re.compile(r"^```text\n(\$ qrbackends .*?)^```$", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"^(qrbackends plot .*)$", re.MULTILINE)
_AGE = re.compile(r"\b\d+(\.\d)? ([smhdy])\b")
_WIDTH = "120"


def screens(page: Path) -> list[str]:
    """Return the screens of a page: one or more commands, each with what it prints."""
    return _SCREEN.findall(page.read_text(encoding="utf-8"))


def printed_anew(screen: str) -> str:
    """Return a screen with what its commands print now."""
    commands = [line for line in screen.splitlines() if line.startswith("$ ")]
    return "\n".join(f"{command}\n{_run(command.removeprefix('$ '))}" for command in commands)


def without_ages(screen: str) -> str:
    """Return a screen without what time changes: ages, and the spaces around them."""
    return "\n".join(re.sub(r"\s+", " ", _AGE.sub("AGE", line)).strip() for line in screen.splitlines())


def _run(command: str) -> str:
    program, *arguments = shlex.split(command)
    if program != "qrbackends":
        raise ValueError(f"a screen shows commands of qrbackends, and not {program}")
    environment = os.environ | {"COLUMNS": _WIDTH, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    ran = subprocess.run(  # noqa: S603  # the pages are our own
        [sys.executable, "-m", "qrbackends", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return "".join(f"{line.rstrip()}\n" for line in ran.stdout.splitlines())


def main(check: bool) -> int:
    """Write what has changed, or only tell of it; return how much that is."""
    changed = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for screen in screens(page):
            anew = printed_anew(screen)
            if without_ages(anew) != without_ages(screen):
                changed += 1
                print(f"{page.relative_to(ROOT)}: {screen.partition(chr(10))[0]}")
                text = text.replace(screen, anew)
        if not check:
            page.write_text(text, encoding="utf-8")
            for command in _PICTURE.findall(text):
                _run(command)
    if not check:
        asyncio.run(draw_board())
    return changed


if __name__ == "__main__":
    different = main("--check" in sys.argv)
    sys.exit(1 if different and "--check" in sys.argv else 0)
