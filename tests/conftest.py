"""What all tests share."""

import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from qrbackends import Client, Limits, RedisStore, RetryPolicy
from qrbackends.emulator import Emulator

from .certificates import Authority, make_authority
from .redis_server import PATIENT, RedisServer, running

settings.register_profile(
    "default",
    deadline=None,
    max_examples=30,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# `--hypothesis-profile thorough`: more examples, and others each time.
settings.register_profile("thorough", settings.get_profile("default"), derandomize=False, max_examples=1000)
settings.load_profile("default")

# Read by numpy when it is imported: with -n auto each worker has one core, and more threads would only spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are cores: tests that start other programs wait for them."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all tests first, and only then look for garbage.

    What was imported is left out of every search for garbage to come: many tests search, to see what is left.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def _earlier_modules_left_out() -> None:
    """Leave what earlier modules keep, such as decoded calibrations, out of the searches for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the account, proxies or colours of whoever runs it."""
    for name in tuple(os.environ):
        if name.upper().startswith(
            ("QISKIT_", "QRBACKENDS_", "IAM_", "GLOBAL_", "PYTHON")
        ) or name.upper() in (
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "NO_COLOR",
            "FORCE_COLOR",
        ):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority of our own, with the certificates that it has signed."""
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """The synthetic fleet in two regions; a module that needs another one overrides this fixture."""
    async with Emulator() as running:
        yield running


@pytest.fixture
async def emulator(shared_emulator: Emulator) -> AsyncIterator[Emulator]:
    """The shared emulator, as it was at its start."""
    yield shared_emulator
    await shared_emulator.reset()


@pytest.fixture(scope="session")
async def shared_snapshots() -> AsyncIterator[Emulator]:
    """The 68 real calibrations in two regions."""
    async with Emulator("snapshots") as running:
        yield running


@pytest.fixture
async def real_emulator(shared_snapshots: Emulator) -> AsyncIterator[Emulator]:
    """The emulator of the real calibrations, as it was at its start."""
    yield shared_snapshots
    await shared_snapshots.reset()


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[Client]:
    """A client which tries nothing twice, and never leaves a region alone."""
    once = RetryPolicy(attempts=1)
    async with Client(emulator.account(), retry=once, limits=Limits(failures=10**9)) as connected:
        yield connected


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis of the module's own."""
    with running() as started:
        yield started


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    """The server, empty, as an administrator sees it."""
    async with Redis.from_url(server.url, protocol=2) as connected:
        await connected.flushall()
        yield connected


@pytest.fixture
async def store(server: RedisServer, redis: Redis) -> AsyncIterator[RedisStore]:
    """A store in it, which is given time."""
    async with RedisStore(server.url, timeout=PATIENT) as opened:
        yield opened
