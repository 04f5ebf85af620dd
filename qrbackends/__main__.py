"""`python -m qrbackends`, and the console script `qrbackends`."""

import sys

_INTERRUPTED = 130  # 128 + SIGINT, the exit code that shells use


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    try:  # also around the imports, which take long enough for a Ctrl-C
        code = _run()
    except KeyboardInterrupt:  # during the imports, or after the command
        code = _INTERRUPTED
    sys.exit(code)


def _run() -> int:
    from ._version import __version__
    from .messages.extras import install, missing, named, needed_by

    absent = missing(needed_by(sys.argv[1:]))
    if "cli" in absent and sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"qrbackends {__version__}\n")
        return 0
    if "cli" in absent:  # all that the command needs is told at once
        sys.stderr.write(f"Error: the command line needs {named(absent)}: {install(absent)}\n")
        return 1
    from .cli import run

    return run()


if __name__ == "__main__":
    main()
