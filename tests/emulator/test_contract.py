"""The emulator against the contract: as it has to be read, and as it is published."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from qrbackends.emulator import Emulator, SyntheticFleet
from tests.contract import apply, at_server, corrected, patches, published, validator

from .asking import NOW, Asker
from .background import in_background

CORRECTED = corrected()
ENDPOINTS = ("backends", "configuration", "properties", "status", "defaults")
ANSWERS = {
    "backends": "BackendsResponse",
    "configuration": "BackendConfigurationResponse",
    "properties": "BackendPropertiesResponse",
    "status": "BackendStatusResponse",
    "defaults": "BackendDefaultsResponse",
}
schema = schemathesis.openapi.from_dict(
    at_server(CORRECTED, "http://127.0.0.1/api"),
    config=SchemathesisConfig(seed=1),  # the same requests every time
)


@pytest.fixture(scope="module")
def threaded() -> Iterator[Emulator]:
    with in_background(Emulator(validators="etag")) as running:
        yield running


# ---- the corrected contract --------------------------------------------------------------------------


@schema.given(known=st.booleans(), somebody=st.sampled_from(("owner", "owner", "stranger", "nobody")))  # type: ignore[untyped-decorator]
@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(max_examples=30)
def test_schemathesis_finds_the_five_endpoints_in_accord(
    case: Any, known: bool, somebody: str, threaded: Emulator
) -> None:
    crns = {i.region: i.crn for i in threaded.instances}
    headers = {"Authorization": f"apikey {threaded.api_keys[0]}", "Service-CRN": crns["us-east"]}
    if somebody == "stranger":
        headers["Service-CRN"] = crns["eu-de"]
    elif somebody == "nobody":
        headers["Authorization"] = "Bearer e30.e30.e30"
    if known and case.path_parameters.get("id"):
        case.path_parameters["id"] = threaded.backends("us-east")[0]  # no generated id ever would be one
    case.call_and_validate(base_url=threaded.url("us-east").removesuffix("/v1"), headers=headers)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (path, status)
        for path in CORRECTED["paths"]
        for status in (200, 400, 401, 403, 404)
        if "{id}" in path or status != 404  # the list is always there
    ],
)
def test_each_documented_answer_is_in_accord(threaded: Emulator, path: str, status: int) -> None:
    crns = {i.region: i.crn for i in threaded.instances}
    backend = threaded.backends("us-east")[0] if status != 404 else "nobody"
    case = schema[path]["GET"].Case(path_parameters={"id": backend} if "{id}" in path else {})
    headers = {
        "Authorization": "Bearer e30.e30.e30" if status == 401 else f"apikey {threaded.api_keys[0]}",
        "Service-CRN": crns["eu-de" if status == 403 else "us-east"],
        "IBM-API-Version": "today" if status == 400 else "2026-04-15",
    }
    response = case.call(base_url=threaded.url("us-east").removesuffix("/v1"), headers=headers)
    assert response.status_code == status
    case.validate_response(response, excluded_checks=[positive_data_acceptance])


@pytest.mark.anyio
@pytest.mark.parametrize("resource", ENDPOINTS)
async def test_every_error_has_the_body_that_the_overlay_describes(served: Asker, resource: str) -> None:
    check = validator("ErrorResponse", CORRECTED, closed=True)
    backend = served.emulator.backends("us-east")[0]
    path = "/backends" if resource == "backends" else f"/backends/{backend}/{resource}"
    answers = [
        await served.get(path, IBM_API_Version="today"),
        await served.get(path, Authorization=None),
        await served.get(path, Service_CRN=served.crn("eu-de")),
        await served.get(path.replace(backend, "nobody") if backend in path else "/nothing"),
    ]
    assert [answer.status for answer in answers] == [400, 401, 403, 404]
    for answer in answers:
        check.validate(answer.json())


# ---- all documents of the synthetic fleet ------------------------------------------------------------


def documents(fleet: SyntheticFleet) -> Iterator[tuple[str, str, Any]]:
    """Name, schema and content of all configurations and properties."""
    for name in fleet.names:
        for variant in (None, "extra_gates"):
            for kind in ("configuration", "properties"):
                key = fleet.find(kind, name, variant, None, NOW)
                assert key is not None
                yield f"{name} {variant}", ANSWERS[kind], msgspec.json.decode(fleet.build(key))


def test_the_live_shape_is_what_the_corrected_contract_describes() -> None:
    checks = {name: validator(name, CORRECTED, closed=True) for name in ANSWERS.values()}
    for _, kind, document in documents(SyntheticFleet(seed=11)):
        checks[kind].validate(document)


def test_the_contract_shape_satisfies_the_published_contract_word_for_word() -> None:
    """All but one place: a complex number cannot be said there at all, its two parts are lists."""
    literal = published()
    sayable = published()
    for patch in patches():
        if patch.name == "complex-number":
            apply(sayable, patch)
    checks = {name: validator(name, literal, closed=True) for name in ANSWERS.values()}
    channels = validator("BackendConfigurationResponse", sayable, closed=True)
    for name, kind, document in documents(SyntheticFleet(seed=11, shape="contract")):
        has_channels = bool(document.get("u_channel_lo"))
        assert has_channels is (kind.startswith("BackendConf") and name.split("_")[1] in ("eagle", "falcon"))
        (channels if has_channels else checks[kind]).validate(document)
        if has_channels:
            checks[kind].validate(document | {"u_channel_lo": []})


def leave_out_chips(listed: Any) -> None:
    """Remove the one field of a list that the service sends, and its contract does not have."""
    for device in listed["devices"]:
        assert device.pop("physical_qubits") >= device["qubits"]


@pytest.mark.anyio
async def test_list_status_and_defaults_satisfy_the_published_contract_in_either_shape() -> None:
    checks = {name: validator(name, published(), closed=True) for name in ANSWERS.values()}
    for shape in ("live", "contract"):
        async with Emulator(shape=shape) as emulator, Asker(emulator) as ask:
            for region in emulator.regions:
                for query in ("", "?fields=wait_time_seconds"):
                    listed = (await ask.get(f"/backends{query}", region)).json()
                    if shape == "live":
                        leave_out_chips(listed)
                    checks[ANSWERS["backends"]].validate(listed)
                for name in emulator.backends(region):
                    status = await ask.get(f"/backends/{name}/status", region)
                    checks[ANSWERS["status"]].validate(status.json())


@pytest.mark.anyio
async def test_the_list_of_the_real_ones_satisfies_the_published_contract(snapshots: Asker) -> None:
    check = validator(ANSWERS["backends"], published(), closed=True)
    for region in snapshots.emulator.regions:
        listed = (await snapshots.get("/backends?fields=wait_time_seconds", region)).json()
        leave_out_chips(listed)
        check.validate(listed)


def test_the_two_shapes_hold_the_same_calibrations() -> None:
    sizes = {"some": 27, "more": 40}
    shapes = [SyntheticFleet(sizes, seed=11, shape=shape) for shape in ("live", "contract")]
    for (_, kind, live), (_, _, contract) in zip(*map(documents, shapes), strict=True):
        if kind == "BackendPropertiesResponse":
            for mine, other in zip(live["gates"], contract["gates"], strict=True):
                assert [str(qubit) for qubit in mine["qubits"]] == other["qubits"]
                assert [p["value"] for p in mine["parameters"]] == [p["value"] for p in other["parameters"]]
