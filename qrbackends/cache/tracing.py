"""OpenTelemetry spans, if the program uses OpenTelemetry. No I/O."""

import os
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeAlias

from .._version import __version__
from .entry import Found

_Answer: TypeAlias = Coroutine[Any, Any, Found]
_NAMED: Final = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ  # a provider, which `get_tracer` then sets up


def traced(answer: _Answer, name: str, region: str, backend: str | None) -> _Answer:
    """Return an answer that, while it is awaited, is a span; the same one if nobody records spans.

    This function does not import OpenTelemetry. Other libraries do so without setting up an SDK; then there
    is no span either. Of an error, only the type is recorded, as `error.type` (OpenTelemetry, "Recording
    errors").

    Args:
        answer: the answer.
        name: the name of the span, after `qrbackends`.
        region: the region that is asked.
        backend: the backend's name, or None.
    """
    trace = sys.modules.get("opentelemetry.trace")
    # Where nobody has set a provider, `get_tracer` would look for one in the environment at each call.
    if trace is None or (getattr(trace, "_TRACER_PROVIDER", trace) is None and not _NAMED):
        return answer
    tracer = trace.get_tracer("qrbackends", __version__)
    if isinstance(tracer, getattr(trace, "ProxyTracer", ())):  # no SDK; its spans cost a dozen microseconds
        return answer
    known = {"qrbackends.region": region} | ({} if backend is None else {"qrbackends.backend": backend})
    return _in_span(trace, tracer, answer, f"qrbackends {name}", known)


async def _in_span(trace: Any, tracer: Any, answer: _Answer, name: str, known: dict[str, str]) -> Found:
    with tracer.start_as_current_span(
        name,
        kind=trace.SpanKind.CLIENT,
        attributes=known,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            found = await answer
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(trace.StatusCode.ERROR)
            raise
        current.set_attribute("qrbackends.source", found.source)
        return found
