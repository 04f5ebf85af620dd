"""HTML pages: all values are escaped, and nothing is loaded from another host."""

from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ..analysis.formatting import probability, scaled
from ..models import median_of

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


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("qrbackends.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(median=median_of, probability=probability, micro=partial(scaled, scale=1e6))
    return environment


def page(template: str, request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page; in its template `base` is the path at which the app is mounted."""
    base = request.scope.get("root_path", "").rstrip("/")
    text = _templates().get_template(template).render({"refused": False} | values, base=base)
    return HTMLResponse(text, status, headers=_HEADERS)
