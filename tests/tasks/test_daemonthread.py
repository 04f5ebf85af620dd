"""A thread that does not hold up the end of the process."""

import subprocess
import sys

PROGRAM = """
from threading import Event
from qrbackends.tasks import daemonthread

daemonthread._PARTING = 0
thread, begun = daemonthread.DaemonThread("hanging"), Event()
print(thread.submit(pow, 2, exp=5).result())
print(repr(thread.submit(int, "x").exception()))
hanging = thread.submit(lambda: begun.set() or Event().wait())
never = thread.submit(print, "begun after all")
begun.wait()
print(never.cancel(), hanging.done())
"""


def test_a_process_ends_although_its_thread_hangs() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    error = "ValueError(\"invalid literal for int() with base 10: 'x'\")"
    assert done.stdout.splitlines() == ["32", error, "True False"]
