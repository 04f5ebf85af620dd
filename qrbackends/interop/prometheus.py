"""Prometheus metrics of the fleet and of the client. The module needs the extra `metrics`.

    REGISTRY.register(Collector(client, monitor))

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import accumulate

from ..cache.stats import ClientStats, ResourceStats
from ..client import Client
from ..fleet.monitor import Monitor
from ..messages.extras import missing_extra
from ..transport.traffic import BOUNDS, RegionStats
from .gauges import ages_of, calibrations_of, gauges_of, label_value

try:
    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector as _Base
except ImportError as error:
    raise missing_extra("metrics need prometheus-client", "metrics") from error

_RESOURCES = ("backends", "configuration", "properties", "status", "defaults")
_CIRCUITS = ("closed", "probing", "open")  # the worst one last


class Collector(_Base):
    """The client's statistics and the last known fleet, read at each scrape; a scrape sends no request.

    A scrape may run in any thread, as those of Prometheus' own HTTP server do.

    Args:
        client: the client whose statistics are shown.
        monitor: keeps the fleet; without a monitor only the client's statistics are shown.
        now: returns the current time, from which a calibration's age is computed.
    """

    def __init__(
        self,
        client: Client,
        monitor: Monitor | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._monitor = monitor
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, with their values at this moment."""
        stats = self._client.stats()
        yield from of_cache(stats)
        yield from of_regions(stats)
        if self._monitor is not None:
            view = self._monitor.view
            for gauge in (*gauges_of(view), ages_of(calibrations_of(view), self._now())):
                family = GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels)
                for values, number in gauge.samples:
                    family.add_metric(values, number)
                yield family

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registry does not scrape when the collector is registered."""
        return ()


def encoder_for(accept: str) -> tuple[Callable[[_Base], bytes], str]:
    """Return the function that writes metrics in the format that a scraper accepts, and the content type."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode, content_type


def of_cache(stats: ClientStats) -> Iterator[Metric]:
    """Yield the metrics of a cache."""
    answers = CounterMetricFamily(
        "qrbackends_cache_answers",
        "Calls of the client, by how the cache answered.",
        labels=("resource", "result"),
    )
    refreshes = CounterMetricFamily(
        "qrbackends_cache_refreshes", "Background renewals of cached answers.", labels=("resource",)
    )
    failures = CounterMetricFamily(
        "qrbackends_cache_refresh_failures", "Background renewals that failed.", labels=("resource",)
    )
    for resource in _RESOURCES:
        counts: ResourceStats = getattr(stats, resource)
        for result, number in (
            ("hit", counts.hits),
            ("miss", counts.misses),
            ("coalesced", counts.coalesced),
            ("stale", counts.stale),
        ):
            answers.add_metric((resource, result), number)
        refreshes.add_metric((resource,), counts.refreshes)
        failures.add_metric((resource,), counts.failures)
    yield from (answers, refreshes, failures)
    yield GaugeMetricFamily("qrbackends_cache_size_bytes", "Memory that the cached answers use.", stats.bytes)
    yield GaugeMetricFamily("qrbackends_cache_entries", "Number of cached answers in memory.", stats.entries)
    yield CounterMetricFamily(
        "qrbackends_cache_evictions",
        "Cached answers that were removed to make room for others.",
        stats.evictions,
    )
    if stats.store is not None:
        store = CounterMetricFamily(
            "qrbackends_store_operations", "Operations of the shared store, by result.", labels=("result",)
        )
        for result in ("hits", "misses", "rejected", "errors", "writes"):
            store.add_metric((result,), getattr(stats.store, result))
        yield store


def of_regions(stats: ClientStats) -> Iterator[Metric]:
    """Yield the metrics of the requests to each region."""
    requests = CounterMetricFamily(
        "qrbackends_requests",
        "Requests to the service, by HTTP status or error.",
        labels=("region", "outcome"),
    )
    retries = CounterMetricFamily(
        "qrbackends_retries", "Requests that repeated a failed one.", labels=("region",)
    )
    seconds = HistogramMetricFamily(
        "qrbackends_request_duration_seconds", "Duration of requests.", labels=("region",)
    )
    circuit = GaugeMetricFamily(
        "qrbackends_circuit_state",
        "1 for the current state of the region's circuit breaker, 0 for the others.",
        labels=("region", "state"),
    )
    by_region: dict[str, list[RegionStats]] = {}
    for region in stats.regions:  # a region that is asked at two addresses has two
        by_region.setdefault(label_value(region.region), []).append(region)
    for name, found in by_region.items():
        outcomes = sum((Counter(one.outcomes) for one in found), Counter[str]())
        for outcome, number in sorted(outcomes.items()):
            requests.add_metric((name, outcome), number)
        retries.add_metric((name,), sum(one.retries for one in found))
        durations = [sum(numbers) for numbers in zip(*(one.durations for one in found), strict=True)]
        buckets = list(zip((*map(str, BOUNDS), "+Inf"), accumulate(durations), strict=True))
        seconds.add_metric((name,), buckets, sum(one.seconds for one in found))
        worst = max((one.circuit for one in found), key=_CIRCUITS.index)
        for state in _CIRCUITS:
            circuit.add_metric((name, state), int(state == worst))
    yield from (requests, retries, seconds, circuit)


__all__ = ["Collector"]
