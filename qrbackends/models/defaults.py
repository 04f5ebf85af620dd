"""Pulse-level defaults, whose fields the contract does not define."""

from .json_object import JSONObject


class BackendDefaults(JSONObject):
    """The body of `GET /backends/{id}/defaults`: a read-only mapping whose values are immutable.

    The service has withdrawn pulse-level defaults: for most backends it sends 404 or an empty object.
    """

    __slots__ = ()
