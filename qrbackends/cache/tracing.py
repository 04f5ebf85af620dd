"""Spans for OpenTelemetry, where the program uses it. No I/O."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .._version import __version__


@contextmanager
def span(name: str, **attributes: str | None) -> Generator[dict[str, Any], None, None]:
    """Record what happens inside as a span, and yield a mapping for what is known of it in the end.

    OpenTelemetry is not imported: who has not done so has no use for spans. An error that is raised is
    recorded by its type only, as `error.type` (OpenTelemetry, "Semantic conventions for recording errors").

    Args:
        name: of the span.
        attributes: of it, with `_` for `.`; those that are None are left out.
    """
    found: dict[str, Any] = {}
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        yield found
        return
    known = {key.replace("_", ".", 1): value for key, value in attributes.items() if value is not None}
    tracer = trace.get_tracer("qrbackends", __version__)
    with tracer.start_as_current_span(
        name,
        kind=trace.SpanKind.CLIENT,
        attributes=known,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield found
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            current.set_attributes(found)
