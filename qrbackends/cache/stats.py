"""What a client's cache did, as values."""

from msgspec import Struct

from ..transport.traffic import RegionStats
from .stores.sealed import StoreStats


class ResourceStats(Struct, frozen=True):
    """What became of the questions about one resource since the client was made.

    Attributes:
        hits: answered from memory, with something fresh.
        misses: for which a fetch was begun.
        coalesced: which shared a fetch that another had begun.
        stale: answered with something that was not fresh any more.
        refreshes: fetches that were begun in the background.
        failures: those of them that failed.
    """

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    stale: int = 0
    refreshes: int = 0
    failures: int = 0


class CacheStats(Struct, frozen=True):
    """What a client's cache did since the client was made, and what its memory holds now.

    Attributes:
        backends: lists, one for each instance.
        configuration: configurations.
        properties: calibrations.
        status: states of single backends.
        defaults: pulse-level defaults.
        entries: answers in memory, those of other clients that share it included.
        bytes: what they take.
        evictions: how many had to leave for others.
        store: what the shared tier did, or None where there is none.
    """

    backends: ResourceStats
    configuration: ResourceStats
    properties: ResourceStats
    status: ResourceStats
    defaults: ResourceStats
    entries: int
    bytes: int
    evictions: int
    store: StoreStats | None


class ClientStats(CacheStats, frozen=True):
    """What a client did.

    Attributes:
        regions: what was sent to each region, and to IAM and the like, in the order in which they were first
            asked; with a pool that is shared, what all its clients sent.
    """

    regions: tuple[RegionStats, ...]
