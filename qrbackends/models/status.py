"""The live status of one backend."""

from msgspec import field
from msgspec.structs import force_setattr

from .integers import Integer
from .left_out import Document


class BackendStatus(Document, frozen=True, omit_defaults=True):
    """The body of `GET /backends/{id}/status`.

    Attributes:
        queue_length: the number of waiting jobs; `length_queue` on the wire. 0 where the service sends none,
            or a negative one.
        state: whether the backend takes jobs.
        status: the state's name, such as `active`; `internal` if it takes jobs and runs none.
        message: a description of the state.
    """

    queue_length: Integer = field(name="length_queue", default_factory=int)  # encoded also where it is 0
    state: bool | None = None
    status: str | None = None
    message: str | None = None
    backend_version: str | None = None

    def __post_init__(self) -> None:
        if self.queue_length < 0:
            force_setattr(self, "queue_length", 0)

    @property
    def pending_jobs(self) -> int:
        """The number of waiting jobs, `queue_length`, by Qiskit's name for it."""
        return self.queue_length

    @property
    def status_msg(self) -> str:
        """The state's name, `status`, by Qiskit's name for it; empty where none was sent."""
        return self.status or ""

    @property
    def paused(self) -> bool:
        """Whether the backend takes jobs, and runs none for now."""
        return self.state is True and self.status == "internal"

    @property
    def operational(self) -> bool:
        """Whether the backend takes and runs jobs; false where no state was sent."""
        return self.state is True and not self.paused
