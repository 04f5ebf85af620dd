"""A gateway's metrics for Prometheus. The module needs the extra `metrics`."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, get_args

from msgspec.structs import asdict, fields
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ..cache.stats import CacheStats, ClientStats, ResourceStats
from ..interop.prometheus import encoder_for, of_cache, of_regions
from ..protocol.requests import Resource
from .counts import AGES, Counts

if TYPE_CHECKING:
    from prometheus_client import Metric

    from .app import Gateway


def exposition(gateway: "Gateway", accept: str) -> tuple[bytes, str]:
    """Return the metrics in the format that a scraper accepts, and the content type."""
    encode, content_type = encoder_for(accept)
    return encode(_Collector(gateway)), content_type


class _Collector(Collector):
    """Reads a gateway's counts at each scrape; a scrape sends no request to the service."""

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway

    def collect(self) -> "Iterator[Metric]":
        """Yield all metrics, with their values at this moment."""
        source, counts = self._gateway.source, self._gateway.counts
        yield from _of_requests(counts)
        stats = _summed(source.stats(), self._gateway)
        if stats is not None and source.own:  # callers whose credential is passed on come and go
            yield from of_cache(stats)
        yield from of_regions(stats or _no_stats(self._gateway))

    def describe(self) -> "Iterable[Metric]":
        """Return nothing; there is no registry."""
        return ()


def _of_requests(counts: Counts) -> "Iterator[Metric]":
    requests = CounterMetricFamily(
        "qrbackends_gateway_requests",
        "Requests to the gateway, by what was asked for, the answer's status, and how the cache answered.",
        labels=("resource", "status", "cache"),
    )
    for (resource, status, told), number in sorted(counts.requests.items()):
        requests.add_metric((resource, str(status), told or "none"), number)
    yield requests
    yield CounterMetricFamily(
        "qrbackends_gateway_sent_bytes", "Bytes of the bodies that were sent, as they were sent.", counts.sent
    )
    ages = HistogramMetricFamily(
        "qrbackends_gateway_answer_age_seconds", "Seconds since the service gave the answers that were sent."
    )
    buckets = list(zip((*map(str, AGES), "+Inf"), accumulate(counts.ages), strict=True))
    ages.add_metric((), buckets, counts.age_sum)
    yield ages


def _summed(found: tuple[CacheStats, ...], gateway: "Gateway") -> ClientStats | None:
    """Return the statistics of all caches together; their memory and store are the same."""
    if not found:
        return None
    resources: dict[str, Any] = {
        resource: ResourceStats(
            **{
                one.name: sum(getattr(getattr(stats, resource), one.name) for stats in found)
                for one in fields(ResourceStats)
            }
        )
        for resource in get_args(Resource)
    }
    return ClientStats(**asdict(found[-1]) | resources, regions=gateway.pool.stats())


def _no_stats(gateway: "Gateway") -> ClientStats:
    none: dict[str, Any] = {resource: ResourceStats() for resource in get_args(Resource)}
    return ClientStats(**none, entries=0, bytes=0, evictions=0, store=None, regions=gateway.pool.stats())
