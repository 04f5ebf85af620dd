"""Pulse-level defaults, whose fields the contract does not define."""

from .json_object import JSONObject
from .left_out import Document


class BackendDefaults(JSONObject):
    """The body of `GET /backends/{id}/defaults`: a read-only mapping whose values are immutable.

    The service has withdrawn pulse-level defaults: for most backends it sends 404 or an empty object.
    """

    __slots__ = ("_emulated",)
    _emulated: bool

    @property
    def emulated(self) -> bool:
        """Whether an emulator sent it, and not IBM's service; filled in by the client."""
        return getattr(self, "_emulated", False)

    def _repr_html_(self) -> str | None:
        from .notebook import html_of  # which imports this class

        return html_of(self)


def mark_emulated(document: Document | BackendDefaults) -> None:
    """Let a document say that an emulator sent it; no other code may hold it yet."""
    if type(document) is BackendDefaults:  # `isinstance` takes long, as its base is abstract
        document._emulated = True
    else:
        vars(document)["emulated"] = True  # no field, and it is frozen
