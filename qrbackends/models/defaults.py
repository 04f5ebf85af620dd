"""Pulse-level defaults, which the contract leaves open."""

from .json_object import JSONObject


class BackendDefaults(JSONObject):
    """The body of `GET /backends/{id}/defaults`: a read-only mapping, immutable all the way down.

    Pulse-level defaults are withdrawn on the live service: most backends answer 404 or an empty object.
    """

    __slots__ = ()
