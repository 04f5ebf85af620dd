"""A backend in Qiskit's types."""

from typing import Any, NoReturn

from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target

from ...errors import QRBackendsError
from ...models import BackendConfiguration, BackendProperties
from .converter import to_target


class ReadOnlyBackend(BackendV2):  # type: ignore[misc]  # mypy does not follow Qiskit's imports
    """A `BackendV2` for the transpiler and its tools. It cannot run jobs.

    Attributes:
        configuration: the configuration that it was made from.
        properties: the properties that it was made from, or None.
    """

    def __init__(
        self, configuration: BackendConfiguration, properties: BackendProperties | None, target: Target
    ) -> None:
        super().__init__(
            name=configuration.backend_name,
            description=configuration.description,
            online_date=configuration.online_date,
            backend_version=configuration.backend_version,
        )
        self.configuration = configuration
        self.properties = properties
        self._target = target

    @property
    def target(self) -> Target:
        """The transpiler target."""
        return self._target

    @property
    def max_circuits(self) -> int | None:
        """The greatest number of circuits in one job, or None where the service does not send it."""
        return self.configuration.max_experiments

    @property
    def dtm(self) -> float | None:
        """The sampling time of measurement channels, in seconds."""
        return self.configuration.dtm

    @property
    def meas_map(self) -> list[list[int]]:
        """The groups of qubits that are measured together."""
        return [list(group) for group in self.configuration.meas_map or ()]

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: object, **options: object) -> NoReturn:
        """Raise `QRBackendsError`: this package does not execute jobs."""
        raise QRBackendsError(
            f"{self.name} is read-only here: this package does not execute jobs; the primitives of "
            "qiskit-ibm-runtime do"
        )


def backend(
    configuration: BackendConfiguration, properties: BackendProperties | None = None, **options: Any
) -> ReadOnlyBackend:
    """Return a read-only `BackendV2`, for `transpile` and the preset pass managers.

    Args:
        configuration: gives the instructions, the couplings and the timing.
        properties: give errors and durations, or None.
        options: as for `to_target`.

    Raises:
        DecodeError: as `to_target` does.
    """
    return ReadOnlyBackend(configuration, properties, to_target(configuration, properties, **options))
