"""Metrics for Prometheus, of the fleet and of the client. It needs the extra `metrics`.

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
        "The median error of the native two-qubit gate, where it works.",
        lambda one: median_of(one.two_qubit_error),
    ),
    ("faulty_qubits", "How many qubits do not work.", lambda one: len(one.faulty_qubits)),
    ("faulty_gates", "How many gates do not work.", lambda one: len(one.faulty_gates)),
)


class Collector(_Base):
    """What a client did, and the last known fleet, as they are at each scrape; nothing is asked for.

    Args:
        client: whose statistics.
        monitor: keeps the fleet; left out, there are the client's statistics only.
        now: the time, from which a calibration's age follows.
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
        """Yield all metrics."""
        stats = self._client.stats()
        yield from _of_cache(stats)
        yield from _of_regions(stats)
        if self._monitor is not None:
            yield from self._of_fleet(self._monitor)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are those of the first scrape."""
        return ()

    def _of_fleet(self, monitor: Monitor) -> Iterator[Metric]:
        labels = ("backend", "region")
        known = [((one.backend.name, one.backend.region or ""), one) for one in tuple(monitor.fleet.values())]
        queue = GaugeMetricFamily("qrbackends_backend_queue_jobs", "Jobs waiting.", labels=labels)
        qubits = GaugeMetricFamily("qrbackends_backend_qubits", "How many qubits it has.", labels=labels)
        state = GaugeMetricFamily(
            "qrbackends_backend_state", "1 for the state that it is in.", labels=(*labels, "state")
        )
        for place, one in known:
            queue.add_metric(place, one.backend.queue_length)
            if one.backend.qubits is not None:
                qubits.add_metric(place, one.backend.qubits)
            for name, holds in _states(one.backend):
                state.add_metric((*place, name), holds)
        yield from (queue, qubits, state)
        calibrations = [(place, one.calibration) for place, one in known if one.calibration is not None]
        for name, text, figure in _FIGURES:
            family = GaugeMetricFamily(f"qrbackends_backend_{name}", text, labels=labels)
            for place, calibration in calibrations:
                if (value := figure(calibration)) is not None:
                    family.add_metric(place, value)
            yield family
        when = GaugeMetricFamily(
            "qrbackends_backend_calibration_timestamp_seconds", "When it was calibrated.", labels=labels
        )
        age = GaugeMetricFamily(
            "qrbackends_backend_calibration_age_seconds", "How long ago it was calibrated.", labels=labels
        )
        for place, calibration in calibrations:
            if (at := calibration.calibrated_at) is not None:
                when.add_metric(place, at.timestamp())
                age.add_metric(place, (self._now() - at).total_seconds())
        yield from (when, age)
        yield _up(monitor)


def _states(backend: Backend) -> Iterator[tuple[str, int]]:
    for name in _STATES:
        yield name, int(backend.status.name == name)
    yield "other", int(backend.status.name not in _STATES)


def _up(monitor: Monitor) -> Metric:
    """Return whether each region's list came: where it did not, what is known of its backends is old."""
    failing = {failure.region or "" for failure in tuple(monitor.failures.values())}
    regions = {region or "" for region, _ in tuple(monitor.fleet)} | failing
    family = GaugeMetricFamily(
        "qrbackends_region_up", "Whether its list came when it was asked for last.", labels=("region",)
    )
    for region in sorted(regions):
        family.add_metric((region,), int(region not in failing and "" not in failing))
    return family


def _of_cache(stats: ClientStats) -> Iterator[Metric]:
    answers = CounterMetricFamily(
        "qrbackends_cache_answers",
        "Questions, by what answered them.",
        labels=("resource", "result"),
    )
    refreshes = CounterMetricFamily(
        "qrbackends_cache_refreshes", "Renewals that were begun in the background.", labels=("resource",)
    )
    failures = CounterMetricFamily(
        "qrbackends_cache_refresh_failures", "Those of them that failed.", labels=("resource",)
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
    yield GaugeMetricFamily("qrbackends_cache_size_bytes", "What answers in memory take.", stats.bytes)
    yield GaugeMetricFamily("qrbackends_cache_entries", "Answers in memory.", stats.entries)
    yield CounterMetricFamily("qrbackends_cache_evictions", "Answers that left for others.", stats.evictions)
    if stats.store is not None:
        store = CounterMetricFamily(
            "qrbackends_store_operations", "What became of the shared tier's.", labels=("result",)
        )
        for result in ("hits", "misses", "rejected", "errors", "writes"):
            store.add_metric((result,), getattr(stats.store, result))
        yield store


def _of_regions(stats: ClientStats) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "qrbackends_requests", "Requests, by how they ended.", labels=("region", "outcome")
    )
    retries = CounterMetricFamily("qrbackends_retries", "Requests that repeated others.", labels=("region",))
    seconds = HistogramMetricFamily(
        "qrbackends_request_duration_seconds", "How long requests took.", labels=("region",)
    )
    circuit = GaugeMetricFamily(
        "qrbackends_circuit_state", "1 for the state of the region's circuit.", labels=("region", "state")
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
