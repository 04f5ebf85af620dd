"""HTML pages: all values are escaped, and nothing is loaded from another host."""

import unicodedata
from datetime import UTC, datetime
from functools import cache, partial
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request

from ..analysis.colorscale import color_at
from ..errors import InvalidRequest
from ..messages.counts import counted
from ..models import median_of
from ..models.formatting import probability, scaled, visible
from ..protocol.requests import Request as ServiceRequest
from .columns import age_text, seconds_since
from .responses import SlicedResponse

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PLACE = token_hex(16)  # stands for a part in a template's text; nobody can send it

_LONGEST = 100  # characters of an odd name that are shown


def is_odd(name: str) -> bool:
    """Return whether a backend's name cannot be asked for, or is not what it looks like."""
    try:
        ServiceRequest("configuration", name)
    except InvalidRequest:
        return True
    # A slash would be read as another segment; invisible characters can turn or hide the text around them.
    return "/" in name or any(unicodedata.category(one) in _INVISIBLE for one in name)


_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def shown(name: str) -> str:
    """Return a name of any characters as a short text of visible ones."""
    return visible(name, _LONGEST) or "(no name)"


@cache
def templates() -> Environment:
    """Return the environment of the pages, with all templates compiled."""
    environment = Environment(
        loader=PackageLoader("qrbackends.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(median=median_of, probability=probability, micro=partial(scaled, scale=1e6))
    environment.filters.update(nano=partial(scaled, scale=1e9), scale_color=color_at, utc=_utc, age=_age)
    environment.filters.update(counted=counted, shown=shown, segment=partial(quote, safe=""))
    environment.tests["odd_name"] = is_odd
    for name in environment.list_templates(["html", "svg"]):
        environment.get_template(name)  # compiled now, and not while visitors wait
    return environment


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}"


def _age(instant: datetime, now: datetime) -> str:
    return age_text(seconds_since(instant, now))


def page(
    template: str, request: Request, *, status: int = 200, part: bytes = b"", **values: Any
) -> SlicedResponse:
    """Return a page; in its template `base` is the path at which the app is mounted.

    A `part` that was rendered before takes its place in the template without being copied.
    """
    shown = rendered(template, **{"refused": False} | values, part=_PLACE, base=base_of(request))
    before, _, after = shown.partition(_PLACE.encode())
    return SlicedResponse((before, part, after), status, _HEADERS)


def rendered(template: str, **values: Any) -> bytes:
    """Return a rendered template, in which all values are escaped; any thread may call it."""
    return templates().get_template(template).render(values).encode("utf-8", "replace")


def base_of(request: Request) -> str:
    """Return the path at which the app is mounted."""
    base: str = request.scope.get("root_path", "")
    return base.rstrip("/")
