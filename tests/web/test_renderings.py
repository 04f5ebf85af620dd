"""Parts of pages: rendered once for a crowd, in one thread, and kept while what they show is the same."""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from qrbackends import Timeout
from qrbackends.web.renderings import Renderings

from ..forking import outcomes
from ..waiting import until

pytestmark = pytest.mark.anyio


class Source:
    """A document."""


class Renderer:
    """Renders a part when the test allows it, and counts how often."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.allowed = threading.Event()

    def __call__(self) -> bytes:
        self.threads.append(threading.current_thread())
        assert self.allowed.wait(30)
        return b"<p>%d</p>" % len(self.threads)


@pytest.fixture
async def render() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    yield renderer
    renderer.allowed.set()  # so that the worker thread is free again


async def test_a_crowd_shares_one_rendering_beside_the_loop(render: Renderer) -> None:
    rendered: Renderings[bytes] = Renderings()
    source = Source()
    crowd = [asyncio.create_task(rendered.part("x", (source,), render)) for _ in range(30)]
    await until(lambda: bool(render.threads))
    render.allowed.set()
    assert set(await asyncio.gather(*crowd)) == {b"<p>1</p>"}
    assert await rendered.part("x", (source,), render) == b"<p>1</p>"
    assert len(render.threads) == 1
    assert render.threads[0] is not threading.current_thread()


async def test_other_documents_are_rendered_anew(render: Renderer) -> None:
    render.allowed.set()
    rendered: Renderings[bytes] = Renderings()
    one, other = Source(), Source()
    assert await rendered.part("x", (one,), render) == b"<p>1</p>"
    assert await rendered.part("y", (one,), render) == b"<p>2</p>"
    assert await rendered.part("x", (other,), render) == b"<p>3</p>"
    assert await rendered.part("x", (other,), render) == b"<p>3</p>"


async def test_documents_are_not_kept_alive(render: Renderer) -> None:
    render.allowed.set()
    rendered: Renderings[bytes] = Renderings()
    source = Source()
    await rendered.part("x", (source,), render)
    kept = weakref.ref(source)
    del source
    await until(lambda: kept() is None)
    assert await rendered.part("x", (Source(),), render) == b"<p>2</p>"


async def test_who_leaves_stops_it_for_nobody(render: Renderer) -> None:
    rendered: Renderings[bytes] = Renderings()
    source = Source()
    leaving, staying = (asyncio.create_task(rendered.part("x", (source,), render)) for _ in range(2))
    await until(lambda: bool(render.threads))
    leaving.cancel()
    await asyncio.wait([leaving])
    render.allowed.set()
    assert await staying == b"<p>1</p>"


@pytest.mark.parametrize("slow", [False, True])
async def test_who_waits_too_long_is_told_and_the_next_one_gets_what_was_begun(
    slow: bool, render: Renderer
) -> None:
    rendered: Renderings[bytes] = Renderings(patience=0.01)
    source = Source()
    with pytest.raises(Timeout):
        await rendered.part("x", (source,), render, slow=slow)
    render.allowed.set()
    free = Renderer()
    free.allowed.set()
    patient: Renderings[bytes] = Renderings()
    await patient.part("y", (source,), free, slow=slow)  # the thread is done with the first one
    assert await rendered.part("x", (source,), render, slow=slow) == b"<p>1</p>"


async def test_a_hundred_slow_parts_take_one_thread_and_no_quick_part_waits(render: Renderer) -> None:
    before = threading.active_count()
    rendered: Renderings[bytes] = Renderings()
    sources = [Source() for _ in range(100)]
    crowd = [
        asyncio.create_task(rendered.part(number, (source,), render, slow=True))
        for number, source in enumerate(sources)
    ]
    await until(lambda: bool(render.threads))
    quick = Renderer()
    quick.allowed.set()
    assert await rendered.part("quick", (sources[0],), quick) == b"<p>1</p>"
    assert threading.active_count() <= before + 2
    for task in crowd[1:]:
        task.cancel()
    await asyncio.wait(crowd[1:])
    render.allowed.set()
    assert await crowd[0] == b"<p>1</p>"
    assert await rendered.part("last", (sources[0],), render, slow=True) == b"<p>2</p>", "nobody waits for 98"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_draws_by_itself() -> None:
    found = outcomes("tests.web.forked")
    assert found["parent"] == "parent, parent"
    assert found["child"] == "child, child"
