"""HTML pages: everything in them is escaped, and nothing in them comes from another host."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

_DASH = "–"  # what is not known
_HEADERS = {
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


def probability(value: float) -> str:
    """Return an error probability with three significant digits, such as `2.31e-3`."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def microseconds(seconds: float) -> str:
    """Return a time in µs."""
    return f"{seconds * 1e6:.1f}"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("qrbackends.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        probability=lambda value: _DASH if value is None else probability(value),
        micro=lambda value: _DASH if value is None else microseconds(value),
    )
    return environment


def page(template: str, request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page; `base` in its template is the path under which the app is mounted."""
    base = request.scope.get("root_path", "").rstrip("/")
    text = _templates().get_template(template).render({"refused": False} | values, base=base)
    return HTMLResponse(text, status, headers=_HEADERS)
