"""Fuzzing of `api.parse` that is led by coverage: `python -m tests.guided_fuzz -runs=200000 CORPUS`."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["qrbackends"]):
    from .test_fuzz import documents, judge, text_of

from .protocol.test_requests import TYPES

RESOURCES = tuple(TYPES)
STATUSES = (200, 200, 200, 200, 302, 404, 429, 503)


def judge_input(data: bytes) -> None:
    """Take the first two bytes for the endpoint and the status, and the rest for the body."""
    if len(data) >= 2:
        judge(RESOURCES[data[0] % len(RESOURCES)], STATUSES[data[1] % len(STATUSES)], {}, data[2:])


def main() -> None:
    """Fuzz, from whole documents on, which are written to the corpus first."""
    corpus = Path(sys.argv[-1])
    for number, resource in enumerate(RESOURCES):
        for which in range(len(documents(resource))):
            seed = bytes([number, 0]) + text_of(resource, which)
            (corpus / f"{resource}-{which}").write_bytes(seed)
    atheris.Setup(sys.argv, judge_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
