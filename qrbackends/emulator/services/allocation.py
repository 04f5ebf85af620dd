"""Which instance sees which backends."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias

from ..devices.invalid import known_backend
from .emulated_instances import EmulatedInstance

Allocation: TypeAlias = Literal["shared", "overlapping"] | Mapping[int, Collection[str]]


def check_allocation(allocation: Allocation, count: int) -> None:
    """Raise `ValueError` if an allocation is not one for `count` instances per region."""
    if isinstance(allocation, Mapping):
        for number, names in allocation.items():
            if number not in range(1, count + 1):
                raise ValueError(f"an allocation has no instance {number!r}: they have to be 1 to {count}")
            if isinstance(names, str):
                raise ValueError(
                    f"an allocation needs lists of names, such as {{{number}: [{names!r:.100}]}}"
                )
    elif allocation not in ("shared", "overlapping"):
        raise ValueError("an allocation has to be 'shared', 'overlapping' or a mapping")


def check_names(allocation: Allocation, names: Collection[str]) -> None:
    """Raise `NoSuchBackend` if an allocation names a backend that is none of these."""
    for own in allocation.values() if isinstance(allocation, Mapping) else ():
        for name in own:
            known_backend(name, names)


def allocate(
    allocation: Allocation, instances: Sequence[EmulatedInstance], names: Sequence[str]
) -> dict[EmulatedInstance, frozenset[str]]:
    """Return the names that each usable instance of one region sees.

    Args:
        allocation: as for `Emulator`.
        instances: the instances of the region, in order.
        names: the sorted names of the backends of the region.
    """
    usable = [one for one in instances if one.usable]
    seen = {}
    for at, instance in enumerate(usable):
        if isinstance(allocation, Mapping):
            own = set(allocation.get(at + 1, names)).intersection(names)
        elif allocation == "shared":
            own = set(names)
        else:  # the first for all, and each of the others for one
            own = {*names[:1], *names[1 + at :: len(usable)]}
        seen[instance] = frozenset(own)
    return seen
