"""`python -m qrbackends`, and the console script `qrbackends`."""

import sys
from importlib.util import find_spec
from typing import NoReturn

_NEEDED = ("click", "rich")
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"Error: the command line needs {' and '.join(missing)}: pip install 'qrbackends[cli]'\n"
        )
        sys.exit(1)
    try:
        from .cli import run

        code = run()
    except KeyboardInterrupt:  # so early or so late that nothing else caught it
        code = _INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
