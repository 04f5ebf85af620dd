"""The pytest plugin, in the tests of a project of its own, as its users have it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .projects import LOOP, environment, files_of, run

APP = """
from fastapi import FastAPI
from qrbackends.web import ClientDep, MsgspecResponse, exception_handlers, lifespan

app = FastAPI(lifespan=lifespan(), exception_handlers=exception_handlers)


@app.get("/t1/{name}")
async def t1(name: str, client: ClientDep) -> MsgspecResponse:
    return MsgspecResponse((await client.properties(name)).median_t1())
"""

ASYNC_TESTS = """
import pytest
from qrbackends import ServerError, Client
from qrbackends.emulator import Status


async def test_the_client_reads_the_emulated_fleet(qrbackends_client, qrbackends_emulator):
    fleet = await qrbackends_client.backends()
    assert sorted(one.name for one in fleet) == list(qrbackends_emulator.backends())


async def test_faults_are_scripted(qrbackends_client, qrbackends_emulator):
    name = qrbackends_emulator.backends()[0]
    qrbackends_emulator.fault(Status(500), resource="properties", times=None)
    with pytest.raises(ServerError):
        await qrbackends_client.properties(name, timeout=5)
    qrbackends_emulator.clear_faults()
    assert (await qrbackends_client.properties(name)).backend_name == name


async def test_tests_do_not_see_each_others_faults(qrbackends_client, qrbackends_emulator):
    await qrbackends_client.properties(qrbackends_emulator.backends()[0])
    assert qrbackends_emulator.count("properties") == 1


@pytest.mark.qrbackends(fleet="snapshots", regions=("eu-de",))
async def test_the_mark_chooses_the_fleet(qrbackends_client):
    names = {one.name for one in await qrbackends_client.backends()}
    assert "ibm_boston" in names


async def test_programs_that_look_for_an_account_find_the_emulators(qrbackends_emulator):
    async with Client.from_account() as client:
        assert len(await client.backends()) == len(qrbackends_emulator.backends())


async def test_a_region_can_die(qrbackends_client, qrbackends_emulator):
    qrbackends_emulator.stop_region("eu-de")
    fleet = await qrbackends_client.backends(timeout=5)
    assert [error.region for error in fleet.errors] == ["eu-de"]
    qrbackends_emulator.start_region("eu-de")


async def test_the_clock_is_that_of_both(qrbackends_client, qrbackends_emulator, qrbackends_clock):
    name, began = qrbackends_emulator.backends()[0], qrbackends_clock.now
    before = await qrbackends_client.properties(name)
    qrbackends_clock.advance(299.0)
    assert await qrbackends_client.properties(name) is before
    assert qrbackends_emulator.count("properties") == 1
    for _ in range(3):
        qrbackends_clock.advance(86_400.0)
        after = await qrbackends_client.properties(name)
        assert after.last_update_date > before.last_update_date
        before = after
    assert qrbackends_emulator.count("properties") == 4
    assert (qrbackends_clock.now - began, qrbackends_clock()) == (259_499.0, 259_499.0), "it stands still"


@pytest.mark.qrbackends(scenario="outage.toml")
async def test_a_scenario_is_a_file_beside_the_test(qrbackends_client, qrbackends_clock):
    assert not (await qrbackends_client.backends()).errors
    qrbackends_clock.advance(10.0)
    partly = await qrbackends_client.backends(refresh=True, timeout=5)
    assert [error.region for error in partly.errors] == ["eu-de"]


@pytest.mark.qrbackends(fleet=["devices", "synthetic"])
async def test_a_fleet_is_a_directory_beside_the_test(qrbackends_client):
    names = {one.name for one in await qrbackends_client.backends()}
    assert {"x_ours", "synthetic_falcon_27"} <= names
"""

OVERRIDDEN = """
import unittest
from pathlib import Path

import pytest
from qrbackends.emulator import Step, StopRegion


@pytest.fixture
def qrbackends_fleet():
    return Path("devices")


@pytest.fixture
def qrbackends_scenario():
    return [Step(10.0, StopRegion("eu-de"))]


def test_fixtures_of_the_project_say_what_the_emulator_serves(qrbackends_emulator, qrbackends_clock):
    assert qrbackends_emulator.backends() == ("x_ours",)
    assert [one.running for one in qrbackends_emulator.state().regions] == [True, True, True]
    qrbackends_clock.advance(10.0)
    assert [one.running for one in qrbackends_emulator.state().regions] == [True, False, True]


class TestApp(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def keep(self, qrbackends_emulator):
        self.emulator = qrbackends_emulator

    def test_a_unittest_has_the_fixtures(self):
        self.assertEqual(self.emulator.count(), 0)


@pytest.mark.qrbackends(fleet="synthetic", scenario=None)
def test_the_mark_counts_more(qrbackends_emulator, qrbackends_clock):
    assert len(qrbackends_emulator.backends()) == 8
    qrbackends_clock.advance(10.0)
    assert all(one.running for one in qrbackends_emulator.state().regions)
"""

OUTAGE = """
[[step]]
at = 10.0
do = "stop_region"
region = "eu-de"
"""

SYNC_TESTS = """
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from qrbackends.emulator import Hold

from app import app


@pytest.mark.parametrize("again", [1, 2])
def test_the_app(qrbackends_emulator, again):
    name = qrbackends_emulator.backends()[0]
    with TestClient(app) as web:
        assert 0 < web.get(f"/t1/{name}").json() < 1
        assert web.get("/t1/nowhere").status_code == 404
    assert qrbackends_emulator.requests[-1].status in (200, 404)


def test_the_app_when_the_service_is_gone(qrbackends_emulator):
    for region in qrbackends_emulator.regions:
        qrbackends_emulator.stop_region(region)
    with TestClient(app) as web:
        answer = web.get("/t1/anything")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.qrbackends(clock=lambda: 1_780_000_000.0)
def test_the_app_while_the_service_hangs(qrbackends_emulator):
    held = qrbackends_emulator.fault(Hold(), resource="properties")
    qrbackends_emulator.advance(86_400)
    with TestClient(app) as web, ThreadPoolExecutor() as pool:
        answer = pool.submit(web.get, f"/t1/{qrbackends_emulator.backends()[0]}")
        held.wait_reached()
        held.release()
        assert answer.result(20).status_code == 200
    assert qrbackends_emulator.requests[-1].at == 1_780_086_400.0
"""

WRONG = """
def test_a_client_needs_an_async_test(qrbackends_client):
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "outage.toml").write_text(OUTAGE)
    devices = tmp_path / "devices"
    devices.mkdir()
    configuration = {"backend_name": "x_ours", "backend_version": "1", "n_qubits": 1}
    (devices / "conf_x_ours.json").write_text(json.dumps(configuration))
    return tmp_path


ANYIO = """
import pytest
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


@pytest.mark.parametrize(
    ("head", "tests", "options"),
    [
        pytest.param(ANYIO, 9, ("-p", "no:asyncio"), id="anyio"),
        pytest.param(
            "import pytest\npytestmark = pytest.mark.asyncio\n",
            9,
            LOOP,
            id="pytest-asyncio",
            marks=pytest.mark.long,
        ),
        pytest.param(
            'import pytest\npytestmark = pytest.mark.asyncio(loop_scope="module")\n',
            2,
            LOOP,
            id="pytest-asyncio, one loop for all",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "", 2, (*LOOP, "-o", "asyncio_mode=auto"), id="pytest-asyncio, auto", marks=pytest.mark.long
        ),
    ],
)
def test_async_tests_have_emulator_and_client(
    head: str, tests: int, options: tuple[str, ...], project: Path
) -> None:
    whole = ASYNC_TESTS.split("\n\n\n")  # imports first
    (project / "test_it.py").write_text("\n\n\n".join([head, *whole[: 1 + tests]]))
    outcome = run(project, *options)
    assert outcome.returncode == 0, outcome.stdout
    assert f"{tests} passed" in outcome.stdout


@pytest.mark.long
def test_an_app_is_tested_as_it_is(project: Path) -> None:
    (project / "test_it.py").write_text(SYNC_TESTS)
    outcome = run(project, "-p", "no:asyncio", "-W", "ignore:Using `httpx` with")
    assert outcome.returncode == 0, outcome.stdout
    assert "4 passed" in outcome.stdout


@pytest.mark.long
def test_a_project_says_what_its_tests_have(project: Path) -> None:
    (project / "test_it.py").write_text(OVERRIDDEN)
    outcome = run(project, "-p", "no:asyncio")
    assert outcome.returncode == 0, outcome.stdout
    assert "3 passed" in outcome.stdout


def test_the_page_on_testing_is_right(project: Path) -> None:
    """Run its examples by the runners that they are for."""
    (project / "unit").mkdir()
    for name, text in files_of("testing.md").items():
        (project / "unit" / name if "unittest" in text else project / name).write_text(text)
    by_pytest = run(project, "-p", "no:asyncio", "--ignore=unit")
    assert by_pytest.returncode == 0, by_pytest.stdout
    command = [sys.executable, "-W", "error", "-m", "unittest", "discover", "-s", "unit", "-t", "unit"]
    by_unittest = subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, check=False
    )
    assert by_unittest.returncode == 0, by_unittest.stderr
    assert "Ran 4 tests" in by_unittest.stderr


@pytest.mark.long
def test_a_sync_test_is_told_what_to_do(project: Path) -> None:
    (project / "test_it.py").write_text(WRONG)
    outcome = run(project, "-p", "no:asyncio")
    assert outcome.returncode == 1
    assert "qrbackends_client is for async tests" in outcome.stdout
    assert "give others qrbackends_emulator.account()" in outcome.stdout


def test_suites_that_do_not_use_it_import_nothing_for_it(project: Path) -> None:
    (project / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    assert 'qrbackends.pytest_plugin' in sys.modules\n"
        "    loaded = {'aiohttp', 'msgspec', 'qrbackends.client', 'qrbackends.emulator'}\n"
        "    assert not loaded & set(sys.modules)\n"
    )
    outcome = run(project, "-p", "no:asyncio")
    assert outcome.returncode == 0, outcome.stdout


def test_the_mark_is_known(project: Path) -> None:
    outcome = run(project, "-p", "no:asyncio", "--markers")
    assert "@pytest.mark.qrbackends(**options)" in outcome.stdout
