"""Prometheus metrics of the fleet and of the client. The module needs the extra `metrics`.

    REGISTRY.register(Collector(client, monitor))

Names and units follow https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from ..cache.stats import ClientStats, ResourceStats
from ..client import Client
from ..fleet.monitor import Monitor
from ..models import Backend, BackendSummary, median_of
from ..transport.traffic import BOUNDS

try:
    from prometheus_client import Metric
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector as _Base
except ImportError as error:
    raise ImportError('metrics need prometheus-client: pip install "qrbackends[metrics]"') from error

_STATES = ("online", "paused", "offline")
_RESOURCES = ("backends", "configuration", "properties", "status", "defaults")

_FIGURES: tuple[tuple[str, str, Callable[[BackendSummary], float | None]], ...] = (
    ("t1_seconds", "The median T1 of the working qubits.", lambda one: median_of(one.t1)),
    ("t2_seconds", "The median T2 of the working qubits.", lambda one: median_of(one.t2)),
    (
        "readout_error_ratio",
        "The median readout error of the working qubits.",
        lambda one: median_of(one.readout_error),
    ),
    (
        "two_qubit_error_ratio",
        "The median error of the native two-qubit gate, over the pairs on which it works.",
        lambda one: median_of(one.two_qubit_error),
    ),
    ("faulty_qubits", "Number of qubits that do not work.", lambda one: len(one.faulty_qubits)),
    ("faulty_gates", "Number of gates that do not work.", lambda one: len(one.faulty_gates)),
)


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
        yield from _of_cache(stats)
        yield from _of_regions(stats)
        if self._monitor is not None:
            yield from self._of_fleet(self._monitor)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that a registry does not scrape when the collector is registered."""
        return ()

    def _of_fleet(self, monitor: Monitor) -> Iterator[Metric]:
        labels = ("backend", "region")
        known = [((one.backend.name, one.backend.region or ""), one) for one in monitor.fleet.copy().values()]
        queue = GaugeMetricFamily("qrbackends_backend_queue_jobs", "Waiting jobs.", labels=labels)
        qubits = GaugeMetricFamily(
            "qrbackends_backend_qubits", "Number of qubits of the backend.", labels=labels
        )
        state = GaugeMetricFamily(
            "qrbackends_backend_state",
            "1 for the current state of the backend, 0 for the others.",
            labels=(*labels, "state"),
        )
        for key, one in known:
            queue.add_metric(key, one.backend.queue_length)
            if one.backend.qubits is not None:
                qubits.add_metric(key, one.backend.qubits)
            for name, holds in _states(one.backend):
                state.add_metric((*key, name), holds)
        yield from (queue, qubits, state)
        calibrations = [(key, one.calibration) for key, one in known if one.calibration is not None]
        for name, text, figure in _FIGURES:
            family = GaugeMetricFamily(f"qrbackends_backend_{name}", text, labels=labels)
            for key, calibration in calibrations:
                if (value := figure(calibration)) is not None:
                    family.add_metric(key, value)
            yield family
        when = GaugeMetricFamily(
            "qrbackends_backend_calibration_timestamp_seconds",
            "Time of the last calibration, in Unix seconds.",
            labels=labels,
        )
        age = GaugeMetricFamily(
            "qrbackends_backend_calibration_age_seconds", "Time since the last calibration.", labels=labels
        )
        for key, calibration in calibrations:
            if (at := calibration.calibrated_at) is not None:
                when.add_metric(key, at.timestamp())
                age.add_metric(key, (self._now() - at).total_seconds())
        yield from (when, age)
        yield _up(monitor)


def _states(backend: Backend) -> Iterator[tuple[str, int]]:
    for name in _STATES:
        yield name, int(backend.status.name == name)
    yield "other", int(backend.status.name not in _STATES)


def _up(monitor: Monitor) -> Metric:
    """Return 1 for each region whose last list request succeeded, and 0 where its data is old."""
    failing = {failure.region or "" for failure in monitor.failures.copy().values()}
    regions = {region or "" for region, _ in monitor.fleet.copy()} | failing
    family = GaugeMetricFamily(
        "qrbackends_region_up", "1 if the region's last list request succeeded, else 0.", labels=("region",)
    )
    for region in sorted(regions):
        family.add_metric((region,), int(region not in failing and "" not in failing))
    return family


def _of_cache(stats: ClientStats) -> Iterator[Metric]:
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


def _of_regions(stats: ClientStats) -> Iterator[Metric]:
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
    for one in stats.regions:
        for outcome, number in sorted(one.outcomes.items()):
            requests.add_metric((one.region, outcome), number)
        retries.add_metric((one.region,), one.retries)
        passed, buckets = 0, []
        for bound, number in zip((*map(str, BOUNDS), "+Inf"), one.durations, strict=True):
            passed += number
            buckets.append((bound, passed))
        seconds.add_metric((one.region,), buckets, one.seconds)
        for state in ("closed", "open", "probing"):
            circuit.add_metric((one.region, state), int(one.circuit == state))
    yield from (requests, retries, seconds, circuit)


__all__ = ["Collector"]
