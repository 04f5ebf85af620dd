"""The contract of stores in the projects of others: with anyio, with pytest-asyncio, and with mistakes."""

import inspect
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import qrbackends.testing
from qrbackends import emulator, pytest_plugin
from qrbackends.testing import LeasingStoreContract, StoreContract
from qrbackends.testing.fixtures import StoreFixtures

from ..projects import LOOP, files_of, run

SOME = ("-k", "another")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the store of the documentation, and its tests."""
    for name, text in files_of("stores.md").items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_page_on_stores_is_right(project: Path) -> None:
    outcome = run(project, "-p", "no:asyncio", "-rs")
    assert outcome.returncode == 0, outcome.stdout
    skipped = [line.partition(": ")[2] for line in outcome.stdout.splitlines() if line.startswith("SKIPPED")]
    assert sorted(skipped) == ["the store has no aclose", "there is no fixture `spoil`"]


MARKED = """
import asyncio
import pytest
import pytest_asyncio
from dict_store import DictStore
from qrbackends.testing import LeasingStoreContract


@pytest.mark.asyncio(loop_scope="class")
class TestMarked(LeasingStoreContract):
    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    @classmethod
    async def loop(cls):
        return asyncio.get_running_loop()

    @pytest.fixture
    def make_store(self, loop, store_clock):
        place = {}

        async def connect():
            assert asyncio.get_running_loop() is loop
            return DictStore(place, store_clock)

        return connect
"""
UNMARKED = """
import asyncio
import pytest
from dict_store import DictStore
from qrbackends.testing import LeasingStoreContract


class TestUnmarked(LeasingStoreContract):
    @pytest.fixture
    async def place(self):
        return {"loop": asyncio.get_running_loop()}

    @pytest.fixture
    def make_store(self, place, store_clock):
        async def connect():
            assert asyncio.get_running_loop() is place["loop"]
            return DictStore(place, store_clock)

        return connect
"""


@pytest.mark.parametrize(
    ("tests", "options"),
    [
        pytest.param(MARKED, (*LOOP, *SOME), id="pytest-asyncio, one loop for all"),
        pytest.param(MARKED, LOOP, id="pytest-asyncio, all of it", marks=pytest.mark.long),
        pytest.param(
            UNMARKED, (*LOOP, "-oasyncio_mode=auto", *SOME), id="pytest-asyncio, auto", marks=pytest.mark.long
        ),
        pytest.param(
            UNMARKED, ("-pno:asyncio", "-oanyio_mode=auto", *SOME), id="anyio, auto", marks=pytest.mark.long
        ),
    ],
)
def test_the_place_may_be_async_whoever_runs_the_tests(
    tests: str, options: tuple[str, ...], project: Path
) -> None:
    (project / "test_dict_store.py").write_text(tests)
    outcome = run(project, *options)
    assert outcome.returncode == 0, outcome.stdout
    assert " passed" in outcome.stdout


@pytest.mark.long
def test_who_forgets_to_make_a_store_is_told(project: Path) -> None:
    (project / "test_dict_store.py").write_text(
        "import pytest\nfrom qrbackends.testing import *\n\n"
        "@pytest.mark.anyio\nclass TestNothing(StoreContract):\n    pass\n"
    )
    outcome = run(project, "-p", "no:asyncio", "-k", "test_its_timeout_is_a_time")
    assert "TestNothing needs a fixture make_store, which returns a callable" in outcome.stdout
    assert "1 error" in outcome.stdout, "and the contract itself is not collected"


def test_without_pytest_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "try: import qrbackends.testing\n"
        "except ImportError as error: print(error)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.stderr == ""
    assert outcome.stdout == (
        "qrbackends.testing is for tests that pytest runs: pip install pytest; "
        "without it, qrbackends.emulator has the emulator\n"
    )


def test_the_emulator_and_the_fixtures_are_there() -> None:
    names = qrbackends.testing.__all__
    assert len(set(names)) == len(names)
    for module in (emulator, pytest_plugin):
        public = getattr(module, "__all__", None) or [n for n in vars(module) if n.startswith("qrbackends_")]
        assert len(public) >= 5
        assert set(public) < set(names)
        assert all(getattr(qrbackends.testing, name) is getattr(module, name) for name in public)


def test_each_test_tells_its_duty() -> None:
    tests = dict(inspect.getmembers(LeasingStoreContract, inspect.iscoroutinefunction))
    duties = {name: inspect.getdoc(test) for name, test in tests.items() if name.startswith("test_")}
    assert len(duties) > 40
    assert [name for name, duty in duties.items() if not duty] == []
    assert {name for name in dir(StoreContract) if name.startswith("test_")} < set(duties)


# --- what `make_store` may return


class Closable:
    """What is made, and whether it is open."""

    open = True

    async def aclose(self) -> None:
        self.open = False


class Entered(Closable):
    """A store that has to be entered, and has to be awaited no more, as the pools of some libraries."""

    open = False

    async def __aenter__(self) -> "Entered":
        self.open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __await__(self) -> Any:
        pytest.fail("it is awaited")


async def connected(store: Closable) -> Closable:
    return store


@asynccontextmanager
async def connection() -> AsyncIterator[Closable]:
    store = Closable()
    yield store
    await store.aclose()


MADE: dict[str, Callable[[], Any]] = {
    "closed": Closable,
    "entered": Entered,
    "awaited and closed": lambda: connected(Closable()),
    "awaited and entered": lambda: connected(Entered()),
    "a context manager": connection,
}


class TestOpened(StoreFixtures):
    pytestmark = pytest.mark.anyio

    @pytest.fixture(params=MADE.values(), ids=tuple(MADE))
    def make_store(self, request: pytest.FixtureRequest) -> Any:
        return request.param

    async def test_what_is_made_is_opened_and_closed(self) -> None:
        async with self.opened() as one, self.opened() as other:
            stores: list[Any] = [one, other]
            assert one is not other
            assert [store.open for store in stores] == [True, True]
        assert [store.open for store in stores] == [False, False]
