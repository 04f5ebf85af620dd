"""Spans, as OpenTelemetry's own SDK receives them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from qrbackends import Client, ServerError
from qrbackends.emulator import Emulator, Status

pytestmark = pytest.mark.anyio


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)  # `set_tracer_provider` would set it for good
    yield exporter
    provider.shutdown()


async def test_a_call_that_has_to_wait_is_a_span_in_its_callers_trace(
    exporter: InMemorySpanExporter, emulator: Emulator, client: Client
) -> None:
    name = emulator.backends("us-east")[0]
    await client.backends()
    exporter.clear()
    with trace.get_tracer("test").start_as_current_span("mine") as mine:
        await client.properties(name)
        await client.properties(name)  # a hit waits for nothing
    ours, theirs = exporter.get_finished_spans()
    assert (ours.name, theirs.name) == ("qrbackends properties", "mine")
    assert ours.kind is trace.SpanKind.CLIENT
    assert ours.parent is not None
    assert ours.parent.span_id == mine.get_span_context().span_id
    assert ours.attributes == {
        "qrbackends.region": "us-east",
        "qrbackends.backend": name,
        "qrbackends.source": "origin",
    }


async def test_a_failure_is_told_by_its_kind_alone(
    exporter: InMemorySpanExporter, emulator: Emulator, client: Client
) -> None:
    name = emulator.backends("us-east")[0]
    await client.backends()
    exporter.clear()
    emulator.fault(Status(500), resource="properties")
    with pytest.raises(ServerError):
        await client.properties(name)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ServerError"
    assert span.events == ()
    assert not span.status.description


async def test_without_an_sdk_there_is_no_span(
    monkeypatch: pytest.MonkeyPatch, emulator: Emulator, client: Client
) -> None:
    begun: list[str] = []

    @contextmanager
    def noted(_: trace.Tracer, name: str, *args: object, **how: object) -> Iterator[trace.Span]:
        begun.append(name)
        yield trace.INVALID_SPAN

    monkeypatch.setattr(trace.NoOpTracer, "start_as_current_span", noted)
    with trace.get_tracer("test").start_as_current_span("mine"):
        await client.status(emulator.backends("us-east")[0])
    assert begun == ["mine"]


def test_who_does_not_use_it_does_not_import_it() -> None:
    code = (
        "import asyncio, sys\n"
        "from qrbackends import Client\n"
        "from qrbackends.emulator import Emulator\n"
        "async def main():\n"
        "    async with Emulator() as emulator, Client(emulator.account()) as client:\n"
        "        await client.backends()\n"
        "asyncio.run(main())\n"
        "print('opentelemetry' in sys.modules)\n"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.stdout, outcome.stderr) == ("False\n", "")


@pytest.mark.parametrize("how", ["in code", "by the environment"])
def test_a_provider_is_found_however_it_is_set(how: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor\n"
        "from qrbackends import Client\n"
        "from qrbackends.emulator import Emulator\n"
        "async def main():\n"
        "    async with Emulator() as emulator, Client(emulator.account()) as client:\n"
        "        await client.backends()\n"
        "        if sys.argv[1] == 'in code':\n"
        "            trace.set_tracer_provider(TracerProvider())\n"
        "        await client.status(emulator.backends()[0])\n"
        "        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))\n"
        "        await client.status(emulator.backends()[0])\n"
        "asyncio.run(main())\n"
    )
    named = {} if how == "in code" else {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"}
    outcome = subprocess.run(
        [sys.executable, "-c", code, how], capture_output=True, text=True, check=True, env=os.environ | named
    )
    assert outcome.stdout.count('"name": "qrbackends status"') == 1
