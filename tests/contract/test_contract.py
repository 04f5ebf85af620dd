"""The corrected contract holds for every real document, and none of its corrections is idle."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings

from ..profiles import some_of
from . import (
    LONG,
    RESPONSES,
    OverlayError,
    Patch,
    apply,
    corrected,
    json_schema,
    patches,
    published,
    validator,
)
from .snapshots import SCHEMA, Kind, documents
from .strategies import instances

CORRECTED = corrected()
KINDS: tuple[Kind, ...] = ("conf", "props")
DEVICE = {"name": "ibm_x", "status": {"name": "online"}, "queue_length": 0}

# What the service sends, by its documentation, and no snapshot has.
SENT: list[tuple[str, Any]] = [
    ("ComplexNumber", {"number": [1.0, 0.0]}),
    ("Hamiltonian", {"description": "", "h_str": ["a*X0"], "osc": {}, "vars": {"a": 4.9}}),
    ("BackendsResponse", {"devices": [DEVICE | {"processor_type": {"family": "Heron", "revision": 2}}]}),
    ("BackendsResponse", {"devices": [DEVICE | {"processor_type": {"family": "Heron", "revision": "3"}}]}),
    ("BackendsResponse", {"devices": [DEVICE | {"physical_qubits": 332}]}),
    ("BackendsResponse", {"devices": [DEVICE | {"class": "mock"}]}),
    ("BackendNames", {"devices": ["ibm_x"]}),
    ("ErrorResponse", {}),
    ("ErrorResponse", {"errors": [{"code": "1233", "message": "m", "solution": "s", "more_info": "i"}]}),
    ("ErrorResponse", {"errors": [{"code": 1233}], "status_code": 423, "title": "t", "trace": "t"}),
]

# What means nothing to anybody, though the published contract lets some of it pass.
NONSENSE: dict[str, Any] = {
    "acquisition_latency": [["soon"]],
    "conditional_latency": [[None]],
    "meas_lo_range": [["4", "5"]],
    "qubit_lo_range": [[{}]],
    "meas_map": [["q0"]],
    "register_map": [[0.5]],
    "meas_levels": [[1]],
    "parametric_pulses": [["drag"]],
    "u_channel_lo": [[{"q": 0, "scale": {"number": [[], []]}}]],
}


def own_contradictions(node: Any, document: dict[str, Any]) -> Iterator[str]:
    """Yield the places at which a schema's own example or default does not fit the schema."""
    components = json_schema(document["components"])
    for at, schema in schemas_in(node):
        for word in sorted({"default", "example"} & schema.keys()):
            root = {**json_schema(schema), "components": components}
            if not jsonschema_rs.Draft4Validator(root, validate_formats=True).is_valid(schema[word]):
                yield f"{at}/{word}"


def schemas_in(node: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in `node`, itself included, and where it is."""
    if isinstance(node, dict):
        yield at, node
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in members:
        yield from schemas_in(value, f"{at}/{key}")


def complaints(document: dict[str, Any]) -> Iterator[str]:
    """Yield all that is wrong with a form of the contract, what is quickly found first."""
    yield from wrong_operations(document)
    missing = references(document) - document["components"]["schemas"].keys()
    yield from (f"nothing is called {name}" for name in sorted(missing))
    yield from own_contradictions(document, document)
    for name, sent in SENT:
        if not validator(name, document, closed=True).is_valid(sent):
            yield f"{name} refuses {sent}"
    sound = documents("conf")["conf_brisbane"]
    check = validator(SCHEMA["conf"], document)
    for field, value in NONSENSE.items():
        if check.is_valid({**sound, field: value}):
            yield f"nonsense passes as {field}"
    yield from refused_snapshots(document)


def wrong_operations(document: dict[str, Any]) -> Iterator[str]:
    """Yield the questions and answers that are not documented, and the ways around a CRN and a credential."""
    if document["components"]["parameters"]["IBM-API-Version"]["required"]:
        yield "a version has to be given"
    listing = document["paths"]["/v1/backends"]
    if "include_mocks" not in {parameter.get("name") for parameter in listing["parameters"]}:
        yield "mocks cannot be asked for"
    listed = listing["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    if references(listed) != {"BackendsResponse", "BackendNames"}:
        yield "the list cannot be one of bare names"
    for name, path in document["paths"].items():
        if missing := {"200", "400", "401", "403", "404"} - path["get"]["responses"].keys():
            yield f"{name} leaves out {missing}"
        for way in path["get"]["security"]:
            if "ServiceCRN" not in way or not {"IBMCloudAPIKey", "IBMCloudAuth"} & way.keys():
                yield f"{name} can be called with {set(way)} alone"


def refused_snapshots(document: dict[str, Any]) -> Iterator[str]:
    """Yield what the document does not allow or does not know of the real documents."""
    for kind in KINDS:
        check = validator(SCHEMA[kind], document, closed=True)
        for name, real in documents(kind).items():
            if not check.is_valid(real):
                error = next(check.iter_errors(real))
                yield f"{name}: {error.instance_path}: {error.message:.80}"


def references(node: Any) -> set[str]:
    """Return the names of the schemas that `node` refers to."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    own = node.get("$ref", "")
    found = {own.rpartition("/")[2]} if isinstance(own, str) and "/schemas/" in own else set()
    return found.union(*map(references, node.values()))


def test_there_is_nothing_to_complain_about() -> None:
    assert list(complaints(CORRECTED)) == []


@pytest.mark.parametrize("patch", some_of(patches(), 15), ids=lambda patch: f"{patch.name}-{patch.at[-24:]}")
def test_without_any_one_patch_there_is(patch: Patch) -> None:
    assert next(complaints(corrected(without=patch)), None) is not None


def test_what_the_published_contract_says_against_itself() -> None:
    document = published()
    configuration = "/BackendConfigurationResponse/properties"
    assert sorted(own_contradictions(document["components"]["schemas"], document)) == [
        f"{configuration}/meas_levels/example",
        f"{configuration}/parametric_pulses/example",
        f"{configuration}/sample_name/example",
    ]
    assert list(own_contradictions(document["paths"], document)) == [
        "//v1/backends/get/parameters/0/schema/default"
    ]
    assert validator("ComplexNumber", document).is_valid({"number": [[], []]})


def test_the_snapshots_are_all_there() -> None:
    assert len(documents("conf")) >= 68
    assert len(documents("props")) >= 69


def test_every_snapshot_fits_and_has_no_unknown_field() -> None:
    assert list(refused_snapshots(CORRECTED)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_snapshot_fits_the_contract_as_published(kind: Kind) -> None:
    check = validator(SCHEMA[kind], published())
    assert not any(check.is_valid(real) for real in documents(kind).values())


def test_names_and_reasons() -> None:
    seen: dict[str, str] = {}
    for patch in patches():
        assert seen.setdefault(patch.name, patch.reason) == patch.reason
        assert patch.reason
        assert "\n" not in patch.reason
    assert len({(patch.name, patch.at) for patch in patches()}) == len(patches())


@pytest.mark.parametrize(
    ("at", "verb", "value", "message"),
    [
        ("/components/schemas/Nothing/type", "replace", 1, "no such place"),
        ("/components/schemas/GateConfig/nothing", "merge", {"a": 1}, "is absent"),
        ("/paths/*/get/nothing", "replace", 1, "is absent"),
        ("/components/schemas/GateConfig/type", "add", "array", "is there already"),
        ("/components/schemas/GateConfig/type", "replace", "object", "changes nothing"),
        ("/components/schemas/GateConfig", "merge", {"nothing": None}, "changes nothing"),
        ("/components/schemas/GateConfig/required", "drop", ["coords"], "not in"),
        ("/paths/~1v1~1backends/get/parameters/7/schema", "merge", {"a": 1}, "no such place"),
    ],
)
def test_a_patch_that_does_not_fit_raises(at: str, verb: str, value: Any, message: str) -> None:
    with pytest.raises(OverlayError, match=message):
        apply(published(), Patch("p", "r", at, verb, value))


def test_patches_leave_the_published_contract_alone() -> None:
    before = json.dumps(published())
    corrected()["info"]["title"] = "changed"
    assert json.dumps(published()) == before


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("2025-11-12T15:30:00Z", True),
        ("2025-11-12T15:30:00.000Z", True),
        ("2026-04-17T12:19:24+02:00", True),
        ("2026-04-17T12:30:02.371014+02:00", True),
        ("2026-04-17 12:19:24+02:00", False),
        ("2026-02-30T12:19:24+02:00", False),
        ("2026-04-17T12:19:24.0000", False),
    ],
)
def test_dates_are_checked(text: str, valid: bool) -> None:
    nduv = {"date": text, "name": "T1", "unit": "us", "value": 1}
    assert validator("BackendPropertiesNduv", CORRECTED).is_valid(nduv) is valid


def test_nullable_and_integers_are_those_of_openapi() -> None:
    check = validator("BackendsResponse", CORRECTED)
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"qubits": None}, True),
        ({"queue_length": None}, False),
        ({"queue_length": 4.0}, False),
        ({"is_simulator": 1}, False),
        ({"unknown": {"a": [1]}}, True),
    ]
    for changes, valid in cases:
        assert check.is_valid({"devices": [DEVICE | changes]}) is valid, changes


@pytest.mark.parametrize("schema_name", RESPONSES)
@pytest.mark.parametrize("examples", [pytest.param(15, id="15"), pytest.param(1500, id="1500", marks=LONG)])
def test_generated_instances_are_valid_and_various(schema_name: str, examples: int) -> None:
    check = validator(schema_name, CORRECTED)
    present: dict[str, set[bool]] = {}

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(instances(schema_name, CORRECTED))
    def look(instance: Any) -> None:
        check.validate(instance)
        for name in CORRECTED["components"]["schemas"][schema_name].get("properties", {}):
            present.setdefault(name, set()).add(name in instance)
        present.setdefault("beyond the schema", set()).add(bool(instance.keys() - present.keys()))

    look()
    schema = CORRECTED["components"]["schemas"][schema_name]
    for name, seen in present.items():
        closed = name == "beyond the schema" and schema.get("additionalProperties") is False
        expected = {True} if name in schema.get("required", ()) else {False} if closed else {True, False}
        assert seen == expected, name
