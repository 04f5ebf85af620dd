"""The emulator against the contract, over sockets: schemathesis' own cases, and every document it serves."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.client import HTTPConnection
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
import schemathesis
from schemathesis import GenerationMode, engine

from qrbackends.emulator import Emulator

from ..profiles import some_of
from . import LONG, apply, at_server, corrected, patches, published, validator

REGION = "us-east"
VERSION = "2026-04-15"
NOW = 1_780_000_000.0
SCHEMAS = {
    "configuration": "BackendConfigurationResponse",
    "properties": "BackendPropertiesResponse",
    "status": "BackendStatusResponse",
    "defaults": "BackendDefaultsResponse",
}
CORRECTED = corrected()

# Patches that even a fleet in the contract's own shape needs, as the contract cannot be meant there: the
# real and the imaginary part of a complex number are lists.
CONTRADICTIONS = {"complex-number"}


class Service(NamedTuple):
    """A running emulator, as its users see it."""

    emulator: Emulator
    crn: str
    names: tuple[str, ...]

    @property
    def base_url(self) -> str:
        """The address to which the contract's paths are added."""
        return self.emulator.url(REGION).removesuffix("/v1")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a valid call."""
        return {
            "Authorization": f"apikey {self.emulator.api_keys[0]}",
            "Service-CRN": self.crn,
            "IBM-API-Version": VERSION,
        }

    def get(self, target: str, headers: dict[str, str]) -> tuple[int, Any]:
        """Return status and parsed body of a GET below the region's address."""
        return self.call("GET", self.emulator.url(REGION) + target, headers)

    def call(self, method: str, url: str, headers: dict[str, str], body: str = "") -> tuple[int, Any]:
        """Return status and parsed body of a request."""
        parts = urlsplit(url)
        connection = HTTPConnection(parts.netloc, timeout=30)
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def bearer(self) -> str:
        """Return a token of the emulator's IAM."""
        form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": self.emulator.api_keys[0]}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = f"{self.emulator.iam_url}/identity/token"
        status, answer = self.call("POST", url, headers, urlencode(form))
        assert status == 200
        token: str = answer["access_token"]
        return token


@contextmanager
def running(fleet: str, shape: Literal["live", "contract"]) -> Iterator[Service]:
    """Run an emulator in a thread of its own: schemathesis blocks the one it is called from."""
    emulator = Emulator(fleet=fleet, regions=[REGION], shape=shape, clock=lambda: NOW)
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        async with emulator:
            loops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        finally:
            ready.set()  # also when it could not be started

    thread = threading.Thread(target=work)
    thread.start()
    try:
        ready.wait()
        crn = next(i.crn for i in emulator.instances if i.usable)
        yield Service(emulator, crn, emulator.backends(REGION))
    finally:
        for loop, stop in loops:
            loop.call_soon_threadsafe(stop.set)
        thread.join()


# The fixtures with an emulator of each kind.
FLEETS = ["snapshots", "live", "contract"]


@pytest.fixture(scope="module")
def snapshots() -> Iterator[Service]:
    with running("snapshots", "live") as service:
        yield service


@pytest.fixture(scope="module")
def live() -> Iterator[Service]:
    with running("synthetic", "live") as service:
        yield service


@pytest.fixture(scope="module")
def contract() -> Iterator[Service]:
    with running("synthetic", "contract") as service:
        yield service


# --- schemathesis: what it thinks of, valid and invalid


def narrowed(service: Service) -> dict[str, Any]:
    """Return the corrected contract for this emulator: with ids that it knows as the only ones."""
    document = at_server(corrected(), service.base_url)
    # Every value of an enum is tried by itself, so that not all 68 names are given.
    known = {"id": list(service.names[:: max(1, len(service.names) // 3)]), "calibration_id": ["extra_gates"]}
    for path in document["paths"].values():
        for parameter in path["get"].get("parameters", ()):
            if parameter["name"] in known:
                parameter["schema"] = {"type": "string", "enum": known[parameter["name"]]}
    return document


def explored(service: Service, examples: int) -> tuple[Counter[tuple[str, int]], list[str]]:
    """Let schemathesis loose; return how often each operation gave each status, and all complaints."""
    schema = schemathesis.openapi.from_dict(narrowed(service))
    schema.config.update(base_url=service.base_url, headers=service.headers)
    schema.config.generation.update(
        modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE],
        max_examples=examples,
        deterministic=True,
        database="none",
    )
    statuses: Counter[tuple[str, int]] = Counter()
    problems = []
    for event in engine.from_schema(schema).execute():
        if isinstance(event, engine.events.NonFatalError | engine.events.FatalError):
            problems.append(repr(event))
        if not isinstance(event, engine.events.ScenarioFinished):
            continue
        for interaction in event.recorder.interactions.values():
            if interaction.response is None:
                problems.append(f"{event.recorder.label}: no response to {interaction.request.uri}")
            else:
                statuses[event.recorder.label, interaction.response.status_code] += 1
        failures = (check.failure_info for checks in event.recorder.checks.values() for check in checks)
        problems += [f"{f.failure.title}: {f.failure.message} {f.code_sample}" for f in failures if f]
    return statuses, problems


@pytest.mark.parametrize("fleet", some_of(FLEETS))
@pytest.mark.parametrize("examples", [pytest.param(3, id="3"), pytest.param(200, id="200", marks=LONG)])
def test_schemathesis_finds_nothing(fleet: str, examples: int, request: pytest.FixtureRequest) -> None:
    service: Service = request.getfixturevalue(fleet)
    statuses, problems = explored(service, examples)
    assert problems == []
    for path in CORRECTED["paths"]:
        seen = {status for label, status in statuses if label == f"GET {path}"}
        # 200 everywhere: without it the checks of the answers had nothing to look at.
        assert seen == {200, 400, 401, 405} | ({404} if "{id}" in path else set()), path


# --- every document


def served(service: Service) -> Iterator[tuple[str, str, Any]]:
    """Yield target, schema and body of every answer 200 there is to be had."""
    for target in ("/backends", "/backends?fields=wait_time_seconds"):
        status, body = service.get(target, service.headers)
        assert status == 200
        yield target, "BackendsResponse", body
    for name in service.names:
        for resource, schema_name in SCHEMAS.items():
            target = f"/backends/{name}/{resource}"
            status, body = service.get(target, service.headers)
            assert status == 200 or (status, resource) == (404, "defaults"), target
            if status == 200:
                yield target, schema_name, body


def problems_of(service: Service, document: dict[str, Any]) -> list[str]:
    """Return all that a form of the contract says against an emulator's documents."""
    checks = {name: validator(name, document) for name in ("BackendsResponse", *SCHEMAS.values())}
    return [
        f"{target}: {error.instance_path}: {error.message:.80}"
        for target, schema_name, body in served(service)
        for error in checks[schema_name].iter_errors(body)
    ]


@pytest.mark.parametrize("fleet", FLEETS)
def test_every_document_fits_the_corrected_contract(fleet: str, request: pytest.FixtureRequest) -> None:
    assert problems_of(request.getfixturevalue(fleet), CORRECTED) == []


def test_the_fleet_in_the_contracts_shape_fits_the_published_contract(contract: Service) -> None:
    document = published()
    assert problems_of(contract, document) != []
    for patch in patches():
        if patch.name in CONTRADICTIONS:
            apply(document, patch)
    assert problems_of(contract, document) == []


@pytest.mark.parametrize("fleet", ["snapshots", "live"])
def test_a_live_fleet_does_not_fit_the_published_contract(fleet: str, request: pytest.FixtureRequest) -> None:
    checks = {name: validator(name, published()) for name in SCHEMAS.values()}
    fit = Counter(
        name
        for _, name, body in served(request.getfixturevalue(fleet))
        if name in checks and checks[name].is_valid(body)
    )
    assert fit["BackendConfigurationResponse"] == fit["BackendPropertiesResponse"] == 0


def test_wait_times_are_sent_when_asked_for_only(live: Service) -> None:
    _, plain = live.get("/backends", live.headers)
    _, asked = live.get("/backends?fields=wait_time_seconds", live.headers)
    assert not any(device.get("wait_time_seconds") for device in plain["devices"])
    assert all(device["wait_time_seconds"] for device in asked["devices"])


# --- the documented errors

TARGETS = ["/backends", *(f"/backends/{{name}}/{resource}" for resource in SCHEMAS)]


def refused(service: Service, target: str, changes: dict[str, str | None]) -> int:
    """Return the status of a call with other headers, None for absent ones, after checking the body."""
    headers = {name: value for name, value in (service.headers | changes).items() if value is not None}
    status, body = service.get(target.format(name=service.names[0]), headers)
    assert validator("ErrorResponse", CORRECTED, closed=True).is_valid(body), body
    assert body["status_code"] == status
    assert body["errors"][0]["message"]
    return status


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (401, {"Authorization": None}),
        (401, {"Authorization": "apikey of-nobody"}),
        (401, {"Authorization": "Bearer of.no.body"}),
        (401, {"Authorization": "Basic dXNlcjpwYXNz"}),
        (400, {"IBM-API-Version": "today"}),
        (400, {"IBM-API-Version": "2026-02-30"}),
        (400, {"Service-CRN": None}),
        (400, {"Service-CRN": "not a CRN"}),
        (403, {"Service-CRN": "{other}"}),
    ],
)
def test_wrong_headers(live: Service, target: str, status: int, changes: dict[str, str | None]) -> None:
    # As well-formed as the right one, and of an instance that is somebody else's.
    *front, guid, _, _ = live.crn.split(":")
    other = ":".join([*front, guid.translate(str.maketrans("0123456789abcdef", "123456789abcdef0")), "", ""])
    given = {name: value and value.replace("{other}", other) for name, value in changes.items()}
    assert refused(live, target, given) == status


@pytest.mark.parametrize(
    ("status", "target"),
    [
        (404, "/backends/ibm_nowhere/configuration"),
        (404, "/backends/ibm_nowhere/properties"),
        (404, "/backends/ibm_nowhere/status"),
        (404, "/backends/ibm_nowhere/defaults"),
        (404, "/backends/{name}/properties?calibration_id=nothing"),
        (404, "/backends/{name}/configuration?calibration_id=nothing"),
        (404, "/backends/{name}/properties?updated_before=1999-01-01T00:00:00Z"),
        (400, "/backends/{name}/properties?calibration_id="),
        (400, "/backends/{name}/properties?updated_before="),
        (400, "/backends/{name}/properties?updated_before=yesterday"),
        (400, "/backends/{name}/properties?updated_before=2026-01-01T00:00:00"),
        (400, f"/backends/{'x' * 501}/status"),
        (400, "/backends?fields=coordinates"),
    ],
)
def test_wrong_questions(live: Service, status: int, target: str) -> None:
    assert refused(live, target, {}) == status


@pytest.mark.parametrize("target", TARGETS[:-1])
def test_both_kinds_of_credential_open_every_endpoint(live: Service, target: str) -> None:
    bearer = live.headers | {"Authorization": f"Bearer {live.bearer()}"}
    for headers in (live.headers, bearer):
        assert live.get(target.format(name=live.names[0]), headers)[0] == 200


def test_updated_before_is_later_than_what_it_answers(live: Service) -> None:
    target = f"/backends/{live.names[0]}/properties"
    latest = live.get(target, live.headers)[1]["last_update_date"]
    instant = datetime.fromisoformat(latest) - timedelta(days=2)
    query = urlencode({"updated_before": instant.isoformat()})
    status, body = live.get(f"{target}?{query}", live.headers)
    assert status == 200
    assert datetime.fromisoformat(body["last_update_date"]) < instant
