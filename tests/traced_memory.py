"""What objects really take in memory."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any


def taken(build: Callable[[], Any]) -> tuple[int, Any]:
    """Return the bytes that what `build` returns takes, and it."""
    build()  # whatever is made once is made now
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        built = build()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, built
    finally:
        tracemalloc.stop()
