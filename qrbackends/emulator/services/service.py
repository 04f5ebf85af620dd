"""The five endpoints of the Backends API in one region, its versions, and an instance's usage and jobs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import msgspec

from ...messages.suggestions import suggested
from ...surface.routes import ROOT, classified, parameters_of, version_of
from ...surface.wire import Answer, Call, Document, Errors, json_answer
from ..devices.dates import parse_instant
from ..devices.fleets import Device, DocumentKind, Fleet
from ..surface.validators import Validators
from .emulated_instances import EmulatedInstance
from .library import Library
from .queues import Queue
from .tokens import Issuer
from .usage import usage_of

_OTHERS = {f"{ROOT}/instances/usage": "usage", f"{ROOT}/jobs": "jobs"}
_NO_JOBS = {"jobs": [], "count": 0, "offset": 0, "limit": 200}  # none can be run, but clients look for theirs
_LONGEST_ID = 500
_LONGEST_PARAMETER = 100
_CRN = re.compile(r"crn:v1:[a-z0-9-]+:[a-z]+:quantum-computing:[a-z0-9-]+:a/[0-9a-f]{32}:[0-9a-f-]{36}::")
_STATES = {"online": (True, "active"), "paused": (True, "internal"), "offline": (False, "maintenance")}
_REASONS = {"online": "available", "paused": "internal", "offline": "maintenance"}
_WITH_OBJECTS = "2025-01-01"  # the version from which on the list has objects; before, it has bare names

# As the service listed them in 2026.
VERSIONS = [
    {"version": "2024-01-01", "sunset_date": "2027-01-01", "status": "deprecated"},
    {"version": "2025-01-01", "sunset_date": "2027-01-01", "status": "deprecated"},
    {"version": "2025-05-01", "sunset_date": "2027-01-01", "status": "deprecated"},
    {"version": "2026-02-01", "sunset_date": "2027-02-01", "status": "deprecated"},
    {"version": "2026-02-15", "sunset_date": "2027-02-15", "status": "deprecated"},
    {"version": "2026-03-15", "sunset_date": "2027-03-15", "status": "deprecated"},
    {"version": "2026-04-15", "status": "live"},
]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a test has set of a backend; None is as the fleet says."""

    status: str | None = None
    reason: str = ""
    queue_length: int | None = None
    hidden: bool = False
    retired: bool = False


_UNCHANGED = Setting()


class BackendsService:
    """Answers the requests to the Backends API of one region.

    Args:
        region: the region's name.
        names: the names of its backends.
        fleet: describes the backends of all regions.
        library: contains the fleet's documents.
        queues: the queue of each backend.
        allocations: the instances that may be used in this region, and the names that each of them sees.
        issuer: checks tokens and keys.
        errors: makes the bodies of error answers.
        clock: the time in Unix seconds.
        validators: adds validators to the answers and checks conditions; None for neither.
    """

    def __init__(
        self,
        *,
        region: str,
        names: Sequence[str],
        fleet: Fleet,
        library: Library,
        queues: Mapping[str, Queue],
        allocations: Mapping[EmulatedInstance, frozenset[str]],
        issuer: Issuer,
        errors: Errors,
        clock: Callable[[], float],
        validators: Validators | None = None,
    ) -> None:
        self.region = region
        self._names = dict.fromkeys(names)
        # The service names a device's mock so: `mock_` instead of the first part of its name.
        mocks = {re.sub("^[^_]+", "mock", name): name for name in reversed(names) if "_" in name}
        self._mocks = {mock: name for mock, name in mocks.items() if mock not in self._names}
        self._set: dict[str, Setting] = {}
        self._fleet = fleet
        self._library = library
        self._queues = queues
        self._allocations = {one.crn: (one, names) for one, names in allocations.items()}
        self._issuer = issuer
        self._errors = errors
        self._clock = clock
        self._validators = validators

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the backends that it lists, without mocks."""
        return tuple(name for name in self._names if self._is_listed(name))

    def _is_listed(self, name: str) -> bool:
        setting, recorded = self._setting(name), self._fleet.device(name).recorded
        is_left_out = recorded is not None and recorded.entry is None
        return not setting.hidden and not setting.retired and not is_left_out

    def knows(self, name: str) -> bool:
        """Return whether one of its backends, or of their mocks, has this name."""
        return name in self._names or name in self._mocks

    def set_backend(self, name: str, setting: Setting) -> None:
        """Set how a backend is from now on; it replaces an earlier setting.

        Raises:
            ValueError: there is no such status, or the queue is negative.
        """
        if setting.status not in (None, *_STATES):
            problem = f"status has to be one of {', '.join(_STATES)}, not {setting.status!r:.100}"
            raise ValueError(suggested(problem, setting.status, _STATES))
        if setting.queue_length is not None and setting.queue_length < 0:
            raise ValueError("queue_length has to be 0 or more")
        self._set[name] = setting

    def setting(self, name: str) -> Setting:
        """Return what was set of a backend."""
        return self._setting(name)

    def reset(self) -> None:
        """Let all backends be as they were at the start, their queues included."""
        self._set.clear()
        for name in self._names:
            self._queues[name].reset()
        if self._validators is not None:
            self._validators.reset()

    def _setting(self, name: str) -> Setting:
        return self._set.get(name, _UNCHANGED)

    def _device(self, name: str) -> Device:
        """Return how a backend is now: as it was set, in place of how it was recorded."""
        device, setting = self._fleet.device(name), self._setting(name)
        if setting.status is not None or setting.reason:
            status = setting.status or device.status
            device = replace(device, status=status, reason=setting.reason, message="", recorded=None)
        if setting.queue_length is not None:
            device = replace(device, recorded=None)
        return device if device.reason else replace(device, reason=_REASONS[device.status])

    def _poll(self, name: str) -> int:
        length = self._setting(name).queue_length
        return self._queues[name].poll() if length is None else length

    def classify(self, path: str) -> tuple[str | None, str | None]:
        """Return the resource and the backend that a percent-encoded path names, or None for either."""
        return (_OTHERS[path], None) if path in _OTHERS else classified(path)

    async def answer(self, call: Call) -> Answer:
        """Return the answer to a call.

        Raises:
            Refused: the answer is an error.
        """
        answer = await self._answer(call)
        return answer if self._validators is None else self._validators.applied(call, answer)

    async def _answer(self, call: Call) -> Answer:
        resource, name = self.classify(call.path)
        if resource is None or name == "":
            raise self._errors.refuse(404, "The requested resource does not exist.")
        if call.method != "GET":
            raise self._errors.refuse(405, f"{call.method} is not allowed here.", headers={"Allow": "GET"})
        if resource == "versions":  # it needs no credential
            return json_answer({"versions": VERSIONS})
        self._authenticate(call)
        version = version_of(call, self._errors)
        instance, allocated = self._instance(call)
        if resource in ("usage", "jobs"):
            return json_answer(usage_of(instance, self._clock()) if resource == "usage" else _NO_JOBS)
        parameters = parameters_of(call, self._errors)
        if name is None:
            return await self._list([one for one in self.names if one in allocated], version, parameters)
        if len(name) > _LONGEST_ID:
            raise self._errors.refuse(400, "The backend's id is too long.")
        real = self._mocks.get(name, name)
        if real not in allocated or self._setting(real).hidden:
            raise self._unknown(name)
        if name == real and (recorded := self._recorded(name, resource)):
            return recorded
        if resource == "status":
            return self._status(name)
        return await self._document(call, resource, name, parameters)

    def _authenticate(self, call: Call) -> None:
        scheme, credential = call.credentials
        accepted = (scheme == "Bearer" and self._issuer.accepts(credential)) or (
            scheme == "apikey" and self._issuer.knows(credential)
        )
        if not accepted:
            raise self._errors.refuse(
                401,
                "The credentials are missing, invalid or expired.",
                "Send a valid IAM token in the Authorization header.",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _instance(self, call: Call) -> tuple[EmulatedInstance, frozenset[str]]:
        """Return the instance that a call names, and the names of the backends that it sees."""
        crn = call.headers.get("Service-CRN", "")
        if not _CRN.fullmatch(crn):
            raise self._errors.refuse(400, "The header Service-CRN has to be the CRN of an instance.")
        if crn not in self._allocations:
            raise self._errors.refuse(
                403,
                "You are not authorized to use this instance in this region.",
                "Check the instance's CRN, and that the region's address belongs to it.",
                code=1219,  # some of the service's codes are numbers
            )
        return self._allocations[crn]

    def _mocks_of(self, listed: Sequence[str], parameters: dict[str, str]) -> list[str]:
        """Return the names of the listed devices' mocks, if they are asked for."""
        if parameters.get("include_mocks", "").lower() != "true":
            return []
        names = frozenset(listed)
        return [mock for mock, name in self._mocks.items() if name in names]

    async def _list(self, listed: list[str], version: str, parameters: dict[str, str]) -> Answer:
        fields = parameters.get("fields", "")
        if fields not in ("", "wait_time_seconds"):
            raise self._errors.refuse(400, "fields can only be wait_time_seconds.")
        mocks = self._mocks_of(listed, parameters)
        if version < _WITH_OBJECTS:
            return json_answer({"devices": listed + mocks})
        now = self._clock()
        devices: list[Any] = []
        for name in listed:
            device = self._device(name)
            if device.recorded is not None and device.recorded.entry is not None:
                devices.append(msgspec.Raw(device.recorded.entry))
                continue
            key = self._fleet.find("properties", name, None, None, now)
            entry = _entry(device, self._poll(name))
            entry["performance_metrics"] = await self._library.metrics(name, key)
            if fields:
                entry["wait_time_seconds"] = self._queues[name].wait_times()
            devices.append(entry)
        devices += [_mock(mock, self._device(self._mocks[mock])) for mock in mocks]
        return json_answer({"devices": devices})

    def _recorded(self, name: str, resource: str) -> Answer | None:
        """Return the answer as it was recorded; None if the fleet has it, or nothing is recorded."""
        device = self._device(name) if resource == "status" else self._fleet.device(name)
        if device.recorded is None:
            return None
        if resource in device.recorded.answers:
            status, body = device.recorded.answers[resource]
            return Answer(status, Document(body))
        if resource == "status":
            raise self._missing(resource, name)
        return None

    def _status(self, name: str) -> Answer:
        device = self._device(self._mocks.get(name, name))
        state, status = _STATES[device.status]
        why = device.message or ("" if device.status == "online" else device.reason)
        body = {
            "state": state,
            "status": status,
            "message": f"emulated: {why}" if why else "emulated",
            "length_queue": 0 if name in self._mocks else self._poll(name),
            "backend_version": device.version,
        }
        return json_answer(body)

    async def _document(self, call: Call, resource: str, name: str, parameters: dict[str, str]) -> Answer:
        variant = before = None
        if resource != "defaults":
            variant = self._calibration_id(parameters)
        if resource == "properties":
            before = self._updated_before(parameters)
        real = self._mocks.get(name, name)
        key = self._fleet.find(_kind(resource), real, variant, before, self._clock())
        if key is None:
            raise self._missing(resource, name)
        document = await self._library.document(key, packed=call.takes_gzip)
        if name != real:  # a mock's documents are those of its device, under its own name
            document = Document(document.body.replace(f'"{real}"'.encode(), f'"{name}"'.encode()))
        return Answer(200, document)

    def _calibration_id(self, parameters: dict[str, str]) -> str | None:
        value = parameters.get("calibration_id")
        if value is not None and not 1 <= len(value) <= _LONGEST_PARAMETER:
            raise self._errors.refuse(400, "calibration_id has to have 1 to 100 characters.")
        return value

    def _updated_before(self, parameters: dict[str, str]) -> float | None:
        value = parameters.get("updated_before")
        if value is None:
            return None
        try:
            if len(value) > _LONGEST_PARAMETER:
                raise ValueError("too long")
            return parse_instant(value)
        except ValueError:
            raise self._errors.refuse(400, "updated_before has to be an RFC 3339 date-time.") from None

    def _unknown(self, name: str) -> Exception:
        return self._errors.refuse(
            404,
            f"Backend {name!r:.100} does not exist, or this instance has no access to it.",
            "List the backends of the instance.",
        )

    def _missing(self, resource: str, name: str) -> Exception:
        are = "are" if resource in ("properties", "defaults") else "is"
        return self._errors.refuse(404, f"There {are} no such {resource} of backend {name!r}.")


def _entry(device: Device, queue_length: int) -> dict[str, Any]:
    """Return a backend's entry in the list; what is not known is left out or null, as the contract allows."""
    clops = device.clops and {"type": device.clops[0], "value": device.clops[1]}
    processor = None
    if device.processor:
        family, revision, segment = device.processor
        processor = {"family": family, "revision": revision}
        if segment:
            processor["segment"] = segment
    chip = {} if device.physical_qubits is None else {"physical_qubits": device.physical_qubits}
    return {
        "name": device.name,
        "status": {"name": device.status, "reason": device.reason},
        "is_simulator": False,
        "qubits": device.qubits,
        "clops": clops,
        "processor_type": processor,
        "queue_length": queue_length,
        **chip,
    }


def _mock(name: str, device: Device) -> dict[str, Any]:
    """Return the list's entry of a device's mock."""
    return _entry(replace(device, name=name), 0) | {"class": "mock", "performance_metrics": {}}


def _kind(resource: str) -> DocumentKind:
    """Return a resource as the `DocumentKind` of a fleet's document."""
    return next(kind for kind in get_args(DocumentKind) if kind == resource)
