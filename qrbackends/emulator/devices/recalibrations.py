"""Calibrations at any moment: a fleet whose backends are recalibrated on request."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

from .dates import in_zone
from .fleets import Device, DocumentKind, Fleet

_SPREAD = 0.05  # the standard deviation of a value's logarithm from one calibration to the next
_TIMES = ("T1", "T2")  # of a qubit: they change together, so that T2 stays below 2 T1
_ERRORS = ("readout_error", "prob_meas0_prep1", "prob_meas1_prep0", "gate_error")
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The key of properties that were measured on request.

    Attributes:
        base: the key of the properties that they are drawn from.
        at: when, in whole Unix seconds.
        serial: how many there were of this backend before it.
    """

    base: Hashable
    at: int
    serial: int


class RecalibratingFleet:
    """A fleet, and calibrations of its backends that a test asks for.

    Such a calibration is the newest one until the fleet itself has a newer one. Its dates are those of its
    end; coherence times and error rates are a few percent away from those of the one before.

    Args:
        fleet: the fleet.
        clock: the time in Unix seconds.
    """

    def __init__(self, fleet: Fleet, clock: Callable[[], float]) -> None:
        self._fleet = fleet
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget the calibrations that were asked for."""
        self._done: defaultdict[str, list[int]] = defaultdict(list)

    def recalibrate(self, name: str) -> None:
        """Let a calibration of a backend end at this moment."""
        self._done[name].append(int(self._clock()))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all backends, sorted."""
        return self._fleet.names

    def device(self, name: str) -> Device:
        """Return what the list says of a backend."""
        return self._fleet.device(name)

    def find(
        self, kind: DocumentKind, name: str, calibration_id: str | None, before: float | None, now: float
    ) -> Hashable | None:
        """Return the key of a document, or None; properties may be those of a recalibration."""
        base = self._fleet.find(kind, name, calibration_id, before, now)
        if kind != "properties" or base is None or name not in self._done:
            return base
        done = [at for at in self._done[name] if at <= now and (before is None or at < before)]
        if not done or self._fleet.find(kind, name, calibration_id, None, max(done)) != base:
            return base  # which is newer
        return Recalibration(base, max(done), len(done))

    def build(self, key: Hashable) -> bytes:
        """Return the JSON document for a key that `find` returned."""
        if not isinstance(key, Recalibration):
            return self._fleet.build(key)
        before = self._fleet.build(key.base)
        try:
            return recalibrated(before, key.at, key.serial)
        except _UNREADABLE:  # a recording may have any bytes: what cannot be measured again stays as it is
            return before


def recalibrated(properties: bytes, at: int, serial: int) -> bytes:
    """Return properties as a later calibration would find them.

    Args:
        properties: the JSON document.
        at: when the later calibration ended, in Unix seconds.
        serial: another number gives other values.
    """
    document = msgspec.json.decode(properties)
    random = Random(f"{document.get('backend_name')}/{at}/{serial}")
    moment = datetime.fromtimestamp(at, UTC)
    document["last_update_date"] = _dated(document.get("last_update_date", ""), moment)
    for qubit in document.get("qubits", []):
        _measure(qubit, moment, random.lognormvariate(0, _SPREAD), random.lognormvariate(0, _SPREAD))
    errors: defaultdict[Hashable, float] = defaultdict(lambda: random.lognormvariate(0, _SPREAD))
    for gate in document.get("gates", []):  # both directions of a gate have the same error
        _measure(gate["parameters"], moment, 1.0, errors[gate["gate"], frozenset(gate["qubits"])])
    return msgspec.json.encode(document)


def _measure(parameters: list[dict[str, Any]], moment: datetime, coherence: float, error: float) -> None:
    """Multiply the values of a qubit or a gate by these factors, and set their dates."""
    for parameter in parameters:
        if "date" in parameter:
            parameter["date"] = _dated(parameter["date"], moment)
        if parameter["name"] in _TIMES:
            parameter["value"] *= coherence
        elif parameter["name"] in _ERRORS and parameter["value"] < 1:  # at 1 it is out of order
            parameter["value"] = min(parameter["value"] * error, max(0.5, parameter["value"]))


def _dated(pattern: str, moment: datetime) -> str:
    """Return a moment in the form of another date: with its offset, and with milliseconds if it has them."""
    try:
        zone = datetime.fromisoformat(pattern).tzinfo
    except ValueError:
        zone = None
    text = in_zone(moment, zone).isoformat(timespec="milliseconds" if "." in pattern else "seconds")
    return text.removesuffix("+00:00") + "Z" if pattern.endswith("Z") else text
