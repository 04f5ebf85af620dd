"""`python -m qrbackends`, and the console script `qrbackends`."""

import sys

_NEEDED = ("click", "platformdirs", "rich")
_INTERRUPTED = 130  # 128 + SIGINT, the exit code that shells use


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:  # also around the imports, which take long enough for a Ctrl-C
        code = _run()
    except KeyboardInterrupt:  # during the imports, or after the command
        code = _INTERRUPTED
    sys.exit(code)


def _run() -> int:
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"Error: the command line needs {' and '.join(missing)}: pip install 'qrbackends[cli]'\n"
        )
        return 1
    from .cli import run

    return run()


if __name__ == "__main__":
    main()
