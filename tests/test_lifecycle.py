"""Clients begin and end: among thousands, in the wrong loop, in another process, and under `-X dev`."""

import asyncio
import gc
import os
import resource
import subprocess
import sys
import textwrap
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import qrbackends
from qrbackends import (
    CachePolicy,
    Client,
    ClientClosed,
    FileStore,
    InstanceSearch,
    Limits,
    Monitor,
    QRBackendsError,
    Request,
    SessionPool,
    WrongEventLoop,
)
from qrbackends.emulator import Emulator, Hold, SyntheticFleet

from .internals import pool_regions, state_of
from .waiting import until

pytestmark = pytest.mark.anyio

PACKAGE = Path(qrbackends.__file__).parent
MANY = 1000


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """Two small backends in two regions."""
    async with Emulator(SyntheticFleet({"alpha": 5, "beta": 5}), ["us-east", "eu-de"], keys=MANY) as running:
        yield running


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of a thousand connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MANY
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"no more than {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def own_tasks() -> list[asyncio.Task[Any]]:
    """Return the tasks that run the package's own code, the emulator's apart."""
    found = []
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        path = Path(code.co_filename) if code else PACKAGE
        if PACKAGE in path.parents and "emulator" not in path.parts:
            found.append(task)
    return found


def calls_of(client: Client) -> list[Callable[[], Awaitable[Any]]]:
    return [
        client.backends,
        partial(client.configuration, "alpha"),
        partial(client.properties, "alpha"),
        partial(client.status, "alpha"),
        partial(client.defaults, "alpha"),
        partial(client.fetch, Request("status", "alpha")),
        client.invalidate,
        client.instances,
        client.least_busy,
        client.rank,
        partial(client.wait_for, "alpha", lambda _: True),
        partial(client.wait_for_recalibration, "alpha"),
        lambda: anext(aiter(client.watch())),
        lambda: anext(aiter(client.snapshot())),
        lambda: anext(aiter(client.history("alpha", datetime(2026, 1, 1, tzinfo=UTC)))),
        client.__aenter__,
    ]


# --- closing


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("places", [32, pytest.param(MANY, marks=pytest.mark.long)])
async def test_closing_ends_a_thousand_requests_at_once(emulator: Emulator, places: int) -> None:
    held = emulator.fault(Hold(), resource="properties", times=None)
    client = Client(emulator.account(), limits=Limits(per_region=places))
    instance = emulator.account().instances[0]
    calls = [
        asyncio.create_task(client.properties("alpha", calibration_id=f"v{n}", instance=instance))
        for n in range(MANY)
    ]
    await held.reached(places)
    with anyio.fail_after(60):
        await client.aclose()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ClientClosed] * MANY
    assert len({id(outcome) for outcome in outcomes}) == MANY, "each has an error of their own"
    assert own_tasks() == []
    assert held.hits == places, "nothing was sent after the closing"
    emulator.clear_faults()


async def test_nothing_can_be_asked_after_the_closing(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        await client.properties("alpha")
    emulator.reset_log()
    for call in calls_of(client):
        with pytest.raises(ClientClosed):
            await call()
    assert emulator.count() == 0
    await client.aclose()
    assert client.stats().properties.misses == 1


async def test_the_counts_of_regions_can_be_read_after_the_closing(emulator: Emulator) -> None:
    held = emulator.fault(Hold(), resource="status")
    client = Client(emulator.account())
    await client.properties("alpha")
    left = asyncio.create_task(client.status("alpha"))
    await held.reached()
    before = {one.region: one.outcomes for one in client.stats().regions}
    await client.aclose()
    with pytest.raises(ClientClosed):
        await left
    after = {one.region: one.outcomes for one in client.stats().regions}
    assert list(after) == list(before)
    assert after["iam"] == before["iam"] == {"200": 1}
    counted = Counter[str]()
    for outcomes in after.values():
        counted.update(outcomes)
    assert counted["abandoned"] == 1, "what the closing ended is counted, too"


UNCLOSED = """
    import asyncio, gc, sys, warnings
    from qrbackends import Client, SessionPool
    from qrbackends.emulator import Emulator, SyntheticFleet

    async def main(how):
        loop, told = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: told.append(context))
        async with Emulator(SyntheticFleet({"a": 5, "b": 5}), ["us-east", "eu-de"]) as emulator:
            pool = SessionPool() if how == "pool" else None
            client = Client(emulator.account(), pool=pool)
            await client.status("a")
            await client.status("b")
            if how == "closed":
                await client.aclose()
            if how == "later":
                return client
            del client, pool
            gc.collect()
            await asyncio.sleep(0)
        assert not told, told

    for how in ("client", "pool", "later", "closed"):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            kept = asyncio.run(main(how))
            del kept
            gc.collect()
        own = [one for one in warned if "Transport" not in str(one.message)]  # asyncio's, of its sockets
        print(how, *(f"{one.category.__name__}: {one.message}" for one in own), sep="; ")
"""


def test_what_is_collected_unclosed_says_once_what_to_do() -> None:
    out, err = run(UNCLOSED)
    hint = (
        "ResourceWarning: "
        "a Client, or a SessionPool, was never closed: use `async with`, or await its `aclose()`"
    )
    assert out.splitlines() == [f"client; {hint}", f"pool; {hint}", f"later; {hint}", "closed"]
    assert err == ""


LEFT_TO_THE_EXIT = """
    import asyncio, warnings
    from qrbackends import Client
    from qrbackends.emulator import Emulator, SyntheticFleet

    async def main():
        async with Emulator(SyntheticFleet({"a": 5}), ["us-east"]) as emulator:
            client = Client(emulator.account())
            await client.status("a")
            return client

    client = asyncio.run(main())
    warnings.showwarning = lambda message, *_: print(message)
    warnings.filterwarnings(ACTION, "a Client, or a SessionPool", ResourceWarning)
"""


@pytest.mark.parametrize("action", ["always", "ignore"])
def test_what_is_left_to_the_exit_says_so_where_such_warnings_are_wanted(action: str) -> None:
    out, err = run(LEFT_TO_THE_EXIT.replace("ACTION", repr(action)))
    hint = "a Client, or a SessionPool, was never closed: use `async with`, or await its `aclose()`"
    assert (out.splitlines(), err) == ([hint] if action == "always" else [], "")


async def test_what_was_never_used_can_be_closed(emulator: Emulator) -> None:
    client = Client(emulator.account())
    await client.aclose()
    await client.aclose()
    assert emulator.count() == 0


async def busy(client: Client) -> list[asyncio.Task[Any]]:
    """Let a client do everything that it can at once."""

    async def follow(iteration: Any) -> None:
        async for _ in iteration:
            pass

    now = datetime.now(UTC)
    asked: list[Coroutine[Any, Any, Any]] = [
        *(client.properties("alpha", calibration_id=f"v{n}") for n in range(5)),
        client.backends(refresh=True),
        client.status("nowhere"),
        client.instances(),
        client.wait_for("alpha", lambda _: False, interval=0.001),
        client.wait_for_recalibration("beta", interval=0.001),
        follow(client.watch(0.001, detail=True)),
        follow(client.watch(0.002)),
        follow(client.snapshot()),
        follow(client.history("alpha", now - timedelta(days=3), now)),
    ]
    return [asyncio.create_task(one) for one in asked]


@pytest.mark.parametrize("turns", [0, 3, 20, 60, 300, 2000])
async def test_no_task_outlives_the_closing_in_the_middle_of_everything(
    emulator: Emulator, tmp_path: Path, turns: int
) -> None:
    account = emulator.account(search=InstanceSearch())
    policy = CachePolicy(properties=1e-6, backends=1e-6)  # everything is renewed in the background
    before = asyncio.all_tasks()
    async with FileStore(tmp_path / "answers.sqlite", timeout=30) as store:
        client = Client(account, cache=policy, store=store)
        monitor = Monitor(client, interval=0.001)
        monitor.start()
        asked = await busy(client)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        running = left_since(before, asked)
        await monitor.aclose()
        assert [name for name in left_since(before, asked) if name.startswith("Monitor.")] == []
        await client.aclose()
        assert left_since(before, asked) == [], f"of {running}"
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert left_since(before, ()) == []
    for outcome in outcomes:
        assert not isinstance(outcome, BaseException) or isinstance(outcome, QRBackendsError)


def left_since(before: set[asyncio.Task[Any]], callers: Collection[asyncio.Task[Any]]) -> list[str]:
    """Return what runs that is new, and neither a caller's nor the emulator's side of a connection."""
    new = asyncio.all_tasks() - before - set(callers)
    names = (getattr(task.get_coro(), "__qualname__", "?") for task in new)
    return sorted(name for name in names if not name.startswith("RequestHandler."))


# --- other loops, other processes


async def test_every_method_refuses_another_loop(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        await client.backends()
        outcomes: list[type[BaseException] | None] = []
        emulator.reset_log()

        async def outcome_of(call: Callable[[], Awaitable[Any]]) -> type[BaseException] | None:
            try:
                await call()
            except Exception as error:
                return type(error)
            return None

        counted = client.stats()

        def elsewhere() -> None:
            assert client.stats() == counted
            outcomes.extend(asyncio.run(outcome_of(call)) for call in [*calls_of(client), client.aclose])

        await asyncio.to_thread(elsewhere)
        assert outcomes == [WrongEventLoop] * (len(calls_of(client)) + 1)
        assert emulator.count() == 0
        assert client.stats() == counted, "the counts can be read anywhere"
        assert (await client.status("alpha")).queue_length >= 0


FORK = """
    import asyncio, os, sys
    from qrbackends import Client, QRBackendsError, WrongEventLoop
    from qrbackends.emulator import Emulator, SyntheticFleet

    def child(client):
        problems = 0
        for call in (lambda: client.status("alpha"), client.backends, client.aclose, client.__aenter__):
            async def ask():
                await call()
            try:
                asyncio.run(ask())
            except WrongEventLoop as error:
                problems += "make one in each process" not in str(error)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                problems += 1
            else:
                problems += 1
        os._exit(problems)

    def fork(client):
        pid = os.fork()
        if pid == 0:
            child(client)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the child"

    async def main(inside):
        async with Emulator(SyntheticFleet({"alpha": 5}), ["us-east"]) as emulator:
            client = Client(emulator.account())
            await client.status("alpha")
            if inside:
                fork(client)
            assert (await client.status("alpha")).queue_length >= 0
            await client.properties("alpha", refresh=True)
            if inside:
                await client.aclose()
        return client

    inside = sys.argv[1] == "inside"
    client = asyncio.run(main(inside))
    if not inside:
        fork(client)
    print("done")
"""


def run(script: str, *arguments: str, options: tuple[str, ...] = (), **variables: str) -> tuple[str, str]:
    """Run a script in a Python of its own, and return what it wrote."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)} | variables
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_a_child_process_gets_a_clear_error_and_the_parent_goes_on(where: str) -> None:
    """The fork happens while the loop runs, and after it has ended."""
    assert run(FORK, where)[0] == "done\n"


DEVELOPMENT = """
    import asyncio, gc
    from qrbackends import Client
    from qrbackends.emulator import Emulator, SyntheticFleet

    async def main():
        async with Emulator(SyntheticFleet({"large": 1121}), ["us-east"]) as emulator:
            async with Client(emulator.account()) as client:
                properties = await client.properties("large")
                configuration = await client.configuration("large")
                assert len(properties.qubits) == configuration.n_qubits == 1121
                assert properties.median_t1() is not None
                left = asyncio.create_task(client.properties("large", refresh=True))
                await asyncio.sleep(0)
                left.cancel()
                await asyncio.wait([left])
                await asyncio.gather(*(client.status("large") for _ in range(10)))
                failing = [client.properties("large", calibration_id=f"v{n}") for n in range(10)]
                await asyncio.gather(*failing, return_exceptions=True)
        gc.collect()

    asyncio.run(main())
    gc.collect()
    print("done")
"""


def test_nothing_is_left_unawaited_by_a_large_calibration_under_development_mode() -> None:
    out, err = run(DEVELOPMENT, options=("-X", "dev", "-W", "error"), PYTHONASYNCIODEBUG="1")
    assert out == "done\n"
    for sign in (
        "never awaited",
        "never retrieved",
        "destroyed but",
        "Warning",
        "ignored in",
        "Unclosed",
        "Traceback",
    ):
        assert sign not in err, err


# --- one pool for many


@pytest.mark.parametrize("count", [100, pytest.param(MANY, marks=pytest.mark.long)])
async def test_many_clients_of_one_pool_open_one_session_for_each_region(
    emulator: Emulator, count: int
) -> None:
    gc.collect()
    files = open_files()
    pool = SessionPool()
    clients = [Client(emulator.account(n), pool=pool, cache=CachePolicy(status=0)) for n in range(count)]
    names = [emulator.backends(region)[0] for region in emulator.regions]
    instances = emulator.account().instances
    asked = [one.status(names[n % 2], instance=instances[n % 2]) for n, one in enumerate(clients)]
    answers = await asyncio.gather(*asked)
    assert len(answers) == count
    assert sorted(name for name, *_ in pool_regions(pool)) == ["eu-de", "iam", "us-east"]
    sessions = [region.session for region in pool_regions(pool).values()]
    assert len(set(map(id, sessions))) == 3
    assert (emulator.count("token"), emulator.count("status")) == (count, count)
    for region in pool_regions(pool).values():
        assert state_of(region.queue) == ({}, {}, pool.limits.per_region, 0)
    await asyncio.gather(*(one.aclose() for one in clients))
    assert own_tasks() == []
    assert not any(session.closed for session in sessions), "the pool's maker closes it"
    alive = [weakref.ref(one) for one in clients]
    del clients, asked, answers
    gc.collect()
    assert [one for one in alive if one() is not None] == []
    await pool.aclose()
    assert all(session.closed for session in sessions)
    assert pool_regions(pool) == {}
    await until(lambda: open_files() <= files)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
