"""`python -m qrbackends`, and the console script `qrbackends`."""

import sys

_NEEDED = ("click", "platformdirs", "rich")
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:  # around the imports, too: they take long enough for a Ctrl-C
        code = _run()
    except KeyboardInterrupt:  # so early or so late that nothing else caught it
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
