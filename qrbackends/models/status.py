"""The live status of one backend."""

from msgspec import Struct, field

from .integers import Integer


class BackendStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """The body of `GET /backends/{id}/status`.

    Attributes:
        queue_length: the number of waiting jobs; `length_queue` on the wire.
        state: whether the backend is operational.
        status: the state's name, such as `active`.
        message: a description of the state.
    """

    queue_length: Integer = field(name="length_queue")
    state: bool | None = None
    status: str | None = None
    message: str | None = None
    backend_version: str | None = None

    @property
    def operational(self) -> bool:
        """Whether the backend is operational; false where no state was sent."""
        return bool(self.state)
