"""The paths, parameters and headers of the Backends API."""

import re
from datetime import date
from typing import Final
from urllib.parse import unquote

from .wire import Call, Errors

ROOT: Final = "/api/v1"
BACKENDS: Final = f"{ROOT}/backends"
VERSIONS: Final = f"{ROOT}/versions"
DOCUMENTS: Final = ("configuration", "properties", "defaults", "status")
PARAMETERS: Final = ("fields", "calibration_id", "updated_before", "include_mocks")
_VERSION = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def classified(path: str) -> tuple[str | None, str | None]:
    """Return the resource and the backend that a percent-encoded path names, or None for either.

    The resource is `backends`, `versions`, or one of a backend's. The backend's id is one segment of the
    path, and is decoded once: it may contain `%2F`.
    """
    if path in (BACKENDS, VERSIONS):
        return path.rpartition("/")[2], None
    segments = path.removeprefix(f"{BACKENDS}/").split("/")
    if not path.startswith(f"{BACKENDS}/") or len(segments) != 2 or segments[1] not in DOCUMENTS:
        return None, None
    return segments[1], unquote(segments[0])


def parameters_of(call: Call, errors: Errors) -> dict[str, str]:
    """Return the parameters that the contract knows; others are ignored, as by the service.

    Raises:
        Refused: the query is not well-formed, or has a parameter twice.
    """
    try:
        given = call.parameters()
    except ValueError:
        raise errors.refuse(400, "The query is not well-formed.") from None
    checked = {}
    for name in PARAMETERS:
        values = given.get(name, [])
        if len(values) > 1:
            raise errors.refuse(400, f"{name} is given more than once.")
        if values:
            checked[name] = values[0]
    return checked


def version_of(call: Call, errors: Errors) -> str:
    """Return the version of the API that a call asks for; empty if it names none.

    Raises:
        Refused: it is no date.
    """
    version = call.headers.get("IBM-API-Version")
    if version is not None and not (_VERSION.fullmatch(version) and _is_date(version)):
        raise errors.refuse(400, "The header IBM-API-Version has to be a date, YYYY-MM-DD.")
    return version or ""


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
