"""The statistics of a client's cache."""

from msgspec import Struct

from ..transport.traffic import RegionStats
from .stores.sealed import StoreStats


class ResourceStats(Struct, frozen=True):
    """The number of questions about one resource since the client was made, by their outcome.

    Attributes:
        hits: questions that memory answered with a fresh entry.
        misses: questions that began a fetch.
        coalesced: questions that shared a fetch that another one had begun.
        stale: questions that a stale entry answered.
        refreshes: fetches that were begun in the background.
        failures: fetches in the background that failed.
    """

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    stale: int = 0
    refreshes: int = 0
    failures: int = 0


class CacheStats(Struct, frozen=True):
    """The counts of a client's cache since the client was made, and the size of its memory now.

    Attributes:
        backends: counts for lists, one list for each instance.
        configuration: counts for configurations.
        properties: counts for calibrations.
        status: counts for the status of single backends.
        defaults: counts for pulse-level defaults.
        entries: the entries in memory, with those of other clients that share it.
        bytes: the bytes that these entries take.
        evictions: how many entries were evicted to make room for others.
        store: the counts of the shared tier, or None if there is none.
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
    """The counts of a client: its cache, and the requests of its pool.

    Attributes:
        regions: the requests to each region, and to IAM, Global Search and Global Catalog, in the order of
            the first requests. A shared pool counts the requests of all its clients.
    """

    regions: tuple[RegionStats, ...]
