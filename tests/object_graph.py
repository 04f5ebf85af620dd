"""Every container that can be reached from an object, by its size: what is left behind shows up here."""

import asyncio
import gc
import logging
import threading
import types
from collections import Counter, deque
from collections.abc import Iterable, Sized
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

_CONTAINERS = (dict, set, list, deque, WeakValueDictionary, WeakKeyDictionary, WeakSet)
_ELSEWHERE = (
    type,
    types.ModuleType,
    types.FrameType,
    types.CodeType,
    types.BuiltinFunctionType,
    asyncio.AbstractEventLoop,
    asyncio.Future,
    logging.Logger,
    logging.Manager,
    threading.Thread,
    str,
    bytes,
    int,
    float,
)


def _inside(thing: Any) -> Iterable[Any]:
    """Return what an object refers to; of a function only what it closes over."""
    if isinstance(thing, types.FunctionType):
        return [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
    return gc.get_referents(thing)


def sizes(root: object) -> Counter[str]:
    """Return how many elements the containers below `root` have, by the attribute that holds them."""
    found: Counter[str] = Counter()
    seen = {id(root)}
    waiting: list[tuple[str, Any]] = [(type(root).__name__, root)]
    while waiting:
        name, thing = waiting.pop()
        if isinstance(thing, _CONTAINERS) and isinstance(thing, Sized):
            found[name] += len(thing)
        attributes = getattr(thing, "__dict__", None)
        names = {id(value): key for key, value in attributes.items()} if type(attributes) is dict else {}
        own = attributes if type(attributes) is dict and not isinstance(thing, _CONTAINERS) else None
        inner = list(_inside(thing)) + ([] if own is None else list(own.values()))
        for one in inner:
            if id(one) in seen or one is own or isinstance(one, _ELSEWHERE):
                continue
            seen.add(id(one))
            is_object = not isinstance(thing, (*_CONTAINERS, tuple, types.CellType))
            label = f"{type(thing).__name__}.{names.get(id(one), '?')}" if is_object else f"{name}[]"
            waiting.append((label, one))
    return found


def grown(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """Return the containers that have more elements than before."""
    return {name: (before[name], size) for name, size in after.items() if size > before[name]}
