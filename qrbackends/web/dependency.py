"""FastAPI's dependency injection."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from ..client import Client
from .opening import client_of


def _client(connection: HTTPConnection) -> Client:
    return client_of(connection)


ClientDep = Annotated[Client, Depends(_client)]
"""The app's client, as a parameter: `async def fleet(client: ClientDep)`; the app needs `lifespan`."""
