"""OpenTelemetry spans, if the program uses OpenTelemetry. No I/O."""

import sys
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from .._version import __version__


def span(name: str, **attributes: str | None) -> AbstractContextManager[dict[str, Any]]:
    """Record the code inside as a span; yield a mapping for attributes that are known only at its end.

    This function does not import OpenTelemetry: without the program's own import there is no span. Of an
    error, only the type is recorded, as `error.type` (OpenTelemetry, "Recording errors").

    Args:
        name: the name of the span.
        attributes: the attributes of the span; the first `_` in a name becomes `.`, and None is left out.
    """
    trace = sys.modules.get("opentelemetry.trace")
    return nullcontext({}) if trace is None else _span(trace, name, attributes)


@contextmanager
def _span(trace: Any, name: str, attributes: dict[str, str | None]) -> Generator[dict[str, Any], None, None]:
    known = {key.replace("_", ".", 1): value for key, value in attributes.items() if value is not None}
    tracer = trace.get_tracer("qrbackends", __version__)
    with tracer.start_as_current_span(
        name,
        kind=trace.SpanKind.CLIENT,
        attributes=known,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        found: dict[str, Any] = {}
        try:
            yield found
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            current.set_attributes(found)
