"""Where a running emulator is: what its ports tell the programs on the same machine, and how these ask."""

import errno
import os
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from ..accounts.account import EMULATED_KEY, Account, InstanceSearch
from ..accounts.urls import checked_url, is_loopback
from ..errors import AccountError, ConnectError, DecodeError, QRBackendsError, ReadTimeout
from ..surface.addresses import Addresses
from .surface.handler import ADDRESSES

_LARGEST: Final = 2**22  # bytes; an instance takes some 250
_TIMEOUT: Final = 10.0  # seconds
_HINT: Final = "give the address that `qrbackends emulate` prints for IAM, such as http://127.0.0.1:8103"


def checked_emulator_url(url: str) -> str:
    """Return the scheme, host and port of an address of an emulator on this machine.

    Raises:
        AccountError: it is no http address of this machine: its host is neither `localhost` nor a loopback
            address.
    """
    parts = urlsplit(checked_url(url))
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        raise AccountError(f"an emulator is used over http, on this machine only: {_HINT}")
    return f"http://{parts.netloc}"


async def running_account(url: str, *, search: InstanceSearch | None = None) -> Account:
    """Return the account of an emulator that runs in another process of this machine.

    Its key and its instances are learned from the emulator, which tells them to this machine only.

    Args:
        url: the address of its IAM, as `qrbackends emulate` prints it; any of its regions' will do.
        search: which instances to look up; left out, the account names all instances.

    Raises:
        AccountError: the address is not one of this machine, or nothing but an emulator's own key and
            addresses would do.
        ConnectError: nothing listens there.
        ReadTimeout: what listens there does not answer.
        DecodeError: what answers is no emulator.
    """
    asked = checked_emulator_url(url)
    try:
        addresses = msgspec.json.decode(await _read(f"{asked}{ADDRESSES}", asked), type=Addresses)
    except msgspec.MsgspecError:
        addresses = None
    if addresses is None:  # raised outside `except`, so that the error's context does not hold the body
        raise _no_emulator(asked)
    told = (addresses.iam_url, addresses.search_url, addresses.catalog_url, *addresses.regions.values())
    for one in (*told, *(instance.url for instance in addresses.instances)):
        checked_emulator_url(one)
    if not addresses.api_key.startswith(EMULATED_KEY) or not addresses.instances:
        raise AccountError(f"what answers at {asked} tells no key and instances of an emulator: {_HINT}")
    return addresses.account(search)


async def _read(url: str, asked: str) -> bytes:
    timeout = aiohttp.ClientTimeout(_TIMEOUT)
    problem: QRBackendsError
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            ) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise _no_emulator(asked)
            body = b""
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _LARGEST:
                    raise _no_emulator(asked)
            return body
    except TimeoutError:
        problem = ReadTimeout(f"the emulator at {asked} did not answer within {_TIMEOUT:g} s")
    except aiohttp.ClientConnectorError as error:
        reason = os.strerror(error.os_error.errno or errno.ECONNREFUSED)
        problem = ConnectError(f"no emulator listens at {asked} ({reason}): `qrbackends emulate` starts one")
    except aiohttp.ClientError:
        problem = _no_emulator(asked)
    raise problem


def _no_emulator(asked: str) -> DecodeError:
    return DecodeError(f"what answers at {asked} is no emulator: {_HINT}")
