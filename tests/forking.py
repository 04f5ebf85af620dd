"""Children that are forked in a script, which must not fork in the process of the tests themselves."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def in_child(work: Callable[[], Any], *, leave: bool = False) -> str:
    """Fork, and return what `work` returned in the child, or its error; a child that hangs is killed.

    With `leave`, the child ends as a program does, by an exception through all that its parent has entered.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(work())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os.close(writing)
        if leave:
            raise SystemExit
        os._exit(0)
    os.close(writing)
    answered, _, _ = select.select([reading], [], [], 60)
    if not answered:
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        said = pipe.read() if answered else "it hangs"
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return said if status == 0 or not answered else f"{said} (exit status {status})"


def outcomes(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module of the tests as a script, and return the JSON that it printed, `stderr` included."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "stderr": done.stderr}
