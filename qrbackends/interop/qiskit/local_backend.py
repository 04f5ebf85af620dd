"""A device's documents as the `BackendV2` that Qiskit's tools expect, whose circuits run on this machine."""

from collections.abc import Sequence
from datetime import datetime as moment
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

import anyio.to_thread
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import CouplingMap, Target

from ...accounts.account import Instance
from ...client import Client
from ...errors import InvalidRequest
from ...models import ABackend, BackendConfiguration, BackendProperties, BackendStatus
from .converter import TargetOptions, to_target
from .documents import QiskitConfiguration, QiskitProperties, QiskitStatus
from .fetching import Documents, built, fetched
from .fractional import check_choice, with_choice
from .simulation import Simulation, default_options, instructions_of

if TYPE_CHECKING:
    from qiskit_aer.jobs import AerJob


class LocalBackend(BackendV2):  # type: ignore[misc]  # mypy does not follow Qiskit's imports
    """A device as its documents describe it, with the names of the official client's backends.

    It is for the transpiler, and for tools that ask for `configuration()`, `properties()` and `status()`. All
    that it says is from the documents that it was made from, until `refresh`. What the configuration has is
    an attribute, too, such as `basis_gates`. `backend` and `fetch_backend` make it.

    It is not the device. `run`, and primitives that have it as their mode, simulate circuits on this machine,
    with the noise of `noise_model`; their results name `aer_simulator_from(…)` as the backend.
    """

    def __init__(
        self, known: Documents, target: Target, calibration_id: str | None, options: TargetOptions
    ) -> None:
        super().__init__(name=known.configuration.backend_name)
        self._calibration_id = calibration_id
        self._target_options = options
        self._take(known, target)

    def _take(self, known: Documents, target: Target) -> None:
        sent, properties, status = known
        configuration = with_choice(sent, self._target_options.get("use_fractional_gates"))
        self.description = sent.description
        self.online_date = sent.online_date
        self.backend_version = sent.backend_version
        self._target, self._couplings = target, target.build_coupling_map()
        self._configuration = QiskitConfiguration(configuration)
        self._properties = None if properties is None else QiskitProperties(properties)
        self._status = status
        self._simulation = Simulation(configuration, properties)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # as copy and pickle ask, before there is a configuration
            raise AttributeError(name)
        return getattr(self._configuration, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.name!r})>"

    @property
    def target(self) -> Target:
        """The transpiler's target."""
        return self._target

    @property
    def coupling_map(self) -> CouplingMap | None:
        """The pairs of qubits that the target couples, or None where it couples all."""
        return self._couplings

    @property
    def calibration_id(self) -> str | None:
        """The variant of the documents, such as `extra_gates`, or None."""
        return self._calibration_id

    @property
    def max_circuits(self) -> None:
        """None, as of the official client: `max_experiments` of the configuration is no limit any more."""
        return

    @property
    def dtm(self) -> float | None:
        """The sampling time of measurement channels, in seconds."""
        return self._configuration.document.dtm

    @property
    def meas_map(self) -> list[list[int]]:
        """The groups of qubits that are measured together."""
        return [list(group) for group in self._configuration.document.meas_map or ()]

    def configuration(self) -> QiskitConfiguration:
        """Return the configuration; without fractional gates if `use_fractional_gates` is False."""
        return self._configuration

    def properties(self, refresh: bool = False, datetime: moment | None = None) -> QiskitProperties | None:
        """Return the properties that the backend was made from, or None.

        Raises:
            InvalidRequest: other properties are wanted, which only a client can fetch.
        """
        if datetime is not None:
            raise InvalidRequest(
                "a local backend has the properties of one moment; make another one: "
                f"await fetch_backend(client, {self.name!r}, updated_before=…)"
            )
        if refresh:
            raise InvalidRequest("a local backend asks nobody by itself: await backend.refresh(client)")
        return self._properties

    def status(self) -> QiskitStatus:
        """Return the device's status as it was when it was fetched.

        Where none was, it is that of the local simulation, which takes circuits at any time.
        """
        if self._status is None:
            return QiskitStatus(self.name, self.backend_version, True, 0, "local simulation")
        return QiskitStatus.of(self.name, self._status)

    def check_faulty(self, circuit: QuantumCircuit) -> None:
        """Check that a circuit uses neither faulty qubits nor pairs of qubits of which a gate is faulty.

        Raises:
            InvalidRequest: it does; it is a `ValueError`, too.
        """
        if self._properties is None:
            return
        properties = self._properties.document
        qubits = set(properties.faulty_qubits())
        pairs = {tuple(gate.qubits) for gate in self._properties.faulty_gates() if len(gate.qubits) > 1}
        for name, on in instructions_of(circuit):
            if not qubits.isdisjoint(on) or on in pairs:
                raise InvalidRequest(
                    f"{name!r:.80} of {circuit.name!r:.80} is on {', '.join(map(str, on))}, which is faulty; "
                    f"transpile it for the target of {self.name}"
                )

    async def refresh(
        self, client: Client, *, instance: Instance | str | None = None, timeout: float | None = None
    ) -> None:
        """Ask the service for the newest documents, whatever is cached, and take them and their target.

        Args:
            client: fetches the documents.
            instance: the instance to ask, or its CRN; by default the one that lists the backend.
            timeout: seconds for the requests; by default the client's limit.

        Raises:
            QRBackendsError: as `fetch_backend` does; then the backend stays as it was.
        """
        common: Any = {"instance": instance, "timeout": timeout, "refresh": True, "with_status": True}
        name = self._configuration.document.backend_name  # `name` can be set
        known = await fetched(client, name, self.calibration_id, **common)
        self._take(known, await built(known, self._target_options))

    @classmethod
    def _default_options(cls) -> Options:
        return default_options()

    def run(self, run_input: QuantumCircuit | Sequence[QuantumCircuit], **options: Any) -> "AerJob":
        """Simulate circuits on this machine, with the device's noise, and return the job.

        The circuits have to be transpiled for the backend: a gate that the device does not have is simulated
        without noise, and so is all of a backend without properties. Qubits that no circuit uses take no time
        and no memory.

        Args:
            run_input: one or more circuits.
            options: those of `AerSimulator.run`, such as `shots`, `seed_simulator` for results that repeat,
                and `noise_model` (None: no noise). They take precedence over those of `set_options`. Options
                that only devices have, such as `rep_delay`, mean nothing to a simulation.

        Raises:
            DecodeError: the noise cannot be modelled.
            ImportError: qiskit-aer is not installed.
            InvalidRequest: these are no circuits, or they use qubits that the device does not have.
        """
        given = {name: value for name, value in self.options.items() if value is not None}
        return self._simulation.run(run_input, given | options)


def backend(
    configuration: BackendConfiguration,
    properties: BackendProperties | None = None,
    status: BackendStatus | None = None,
    *,
    calibration_id: str | None = None,
    **options: Unpack[TargetOptions],
) -> LocalBackend:
    """Return documents at hand as a `BackendV2`, for the transpiler, other tools, and local simulations.

    Args:
        configuration: gives the instructions, the couplings and the timing.
        properties: give errors and durations, and the noise of simulations; None if there are none.
        status: the device's status, or None.
        calibration_id: the variant that the documents are of, such as `extra_gates`, for `refresh`.
        options: as for `to_target`.

    Raises:
        QRBackendsError: as `to_target` does.
    """
    return _made(Documents(configuration, properties, status), calibration_id, options)


async def fetch_backend(
    client: Client,
    backend: ABackend,
    *,
    calibration_id: str | None = None,
    updated_before: moment | None = None,
    instance: Instance | str | None = None,
    timeout: float | None = None,
    **options: Unpack[TargetOptions],
) -> LocalBackend:
    """Fetch a backend's configuration, properties and status concurrently, and return it for Qiskit's tools.

    It is made in a thread, as that takes some ten milliseconds for a large device.

    Args:
        client: fetches the documents.
        backend: the backend's name, or its entry in the list.
        calibration_id: the variant of the documents, such as `extra_gates`.
        updated_before: asks for the newest properties before this instant.
        instance: the instance to ask, or its CRN; by default the one that lists the backend.
        timeout: seconds for the requests; by default the client's limit.
        options: as for `to_target`.

    Raises:
        InvalidRequest: two options contradict each other; nothing was sent.
        QRBackendsError: as `to_target`, `Client.configuration`, `Client.properties` and `Client.status` do.
    """
    check_choice(options.get("use_fractional_gates"), options.get("include_fractional_gates"))
    common: Any = {"instance": instance, "timeout": timeout, "with_status": True}
    known = await fetched(client, backend, calibration_id, updated_before, **common)
    make = partial(_made, known, calibration_id, options)
    return await anyio.to_thread.run_sync(make, abandon_on_cancel=True)


def _made(known: Documents, calibration_id: str | None, options: TargetOptions) -> LocalBackend:
    target = to_target(known.configuration, known.properties, **options)
    return LocalBackend(known, target, calibration_id, options)
