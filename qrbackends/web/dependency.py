"""What FastAPI gets of this package: the client as a dependency, and routes that return documents."""

from typing import Annotated, Any

import msgspec
from fastapi import Depends
from fastapi.encoders import ENCODERS_BY_TYPE
from pydantic_core import CoreSchema, core_schema
from starlette.requests import HTTPConnection

from .. import models
from ..cache.entry import Fetched
from ..client import Client
from ..fleet.changes import Change
from ..models import BackendDefaults, BackendList
from ..service.instances import ServiceInstance
from ..service.versions import ApiVersion
from .encoding import encode
from .opening import client_of


def _client(connection: HTTPConnection) -> Client:
    return client_of(connection)


ClientDep = Annotated[Client, Depends(_client)]
"""The app's client, as a parameter: `async def fleet(client: ClientDep)`; the app needs `lifespan`."""


def _builtins(value: Any) -> Any:
    """Return what `MsgspecResponse` would send, as dicts and lists."""
    return msgspec.json.decode(encode(value))


def _schema(kind: type, *_: object) -> CoreSchema:
    """Return how pydantic checks and writes a document that a route's annotation promises."""
    written = core_schema.list_schema() if issubclass(kind, BackendList) else core_schema.dict_schema()
    serializer = core_schema.plain_serializer_function_ser_schema(_builtins, return_schema=written)
    return core_schema.is_instance_schema(kind, serialization=serializer)


def _register(kind: Any) -> None:
    # FastAPI takes a struct for an object with a `__dict__`, which is empty: it would answer with `{}`.
    ENCODERS_BY_TYPE[kind] = _builtins
    kind.__get_pydantic_core_schema__ = classmethod(_schema)


for _name in models.__all__:
    _known = getattr(models, _name)
    if isinstance(_known, type) and issubclass(_known, msgspec.Struct):
        _register(_known)
for _kind in (BackendDefaults, BackendList, Fetched, ServiceInstance, ApiVersion, Change):
    _register(_kind)
