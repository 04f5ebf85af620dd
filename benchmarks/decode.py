"""Decoding the largest real documents."""

import gc
import json
import tracemalloc
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import orjson
import simdjson

from qrbackends import BackendProperties, Request
from qrbackends.protocol.answers import parse

from .measure import Table, alternate
from .peers import MinimalProperties, PydanticConfiguration, PydanticProperties


def folder() -> Path:
    """Return where the official client's wheel keeps the real calibrations."""
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmarks need qiskit-ibm-runtime: pip install 'qrbackends[bench]'")
    return Path(spec.origin).parent / "fake_provider/backends"


def largest(kind: str) -> bytes:
    """Return the largest document of a kind: `props` or `conf`."""
    files = folder().glob(f"*/{kind}_*.json")
    return max(files, key=lambda file: file.stat().st_size).read_bytes()


def of(resource: Any) -> Callable[[bytes], Any]:
    """Return our own decoding, checks included."""
    request = Request(resource, "any")
    return lambda body: parse(request, 200, {}, body)


def with_simdjson(body: bytes) -> Any:
    """Parse, and build nothing."""
    return simdjson.Parser().parse(body)


def memory(contestants: Mapping[str, Callable[[], object]]) -> str:
    """Return peak and retained bytes of each, and its ratio to the first one's."""
    lines = []
    first = 0
    for name, contestant in contestants.items():
        gc.collect()
        tracemalloc.start()
        kept = contestant()
        retained, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        first = first or retained
        lines.append(f"{name}: {retained / 1e3:.0f} kB ({retained / first:.2f} x), peak {peak / 1e3:.0f} kB")
        del kept
    return "retained: " + "; ".join(lines)


def run(rounds: int) -> list[Table]:
    """Measure, and return the tables."""
    from qiskit_ibm_runtime.models import BackendProperties as OfficialProperties
    from qiskit_ibm_runtime.models import QasmBackendConfiguration as OfficialConfiguration

    props, conf = largest("props"), largest("conf")
    ours_p, ours_c = of("properties"), of("configuration")
    minimal = msgspec.json.Decoder(MinimalProperties).decode
    properties: dict[str, Callable[[], Any]] = {
        "qrbackends": lambda: ours_p(props),
        "msgspec, minimal structs": lambda: minimal(props),
        "official client": lambda: OfficialProperties.from_dict(json.loads(props)),
        "pydantic": lambda: PydanticProperties.model_validate_json(props),
        "orjson, plain dicts": lambda: orjson.loads(props),
        "json, plain dicts": lambda: json.loads(props),
        "simdjson, nothing built": lambda: with_simdjson(props),
    }
    configuration: dict[str, Callable[[], Any]] = {
        "qrbackends": lambda: ours_c(conf),
        "official client": lambda: OfficialConfiguration.from_dict(json.loads(conf)),
        "pydantic": lambda: PydanticConfiguration.model_validate_json(conf),
        "orjson, plain dicts": lambda: orjson.loads(conf),
        "simdjson, nothing built": lambda: with_simdjson(conf),
    }
    check(properties["qrbackends"](), properties)
    in_memory = {name: properties[name] for name in list(properties)[1::-1] + list(properties)[2:5]}
    return [
        Table(f"decode: properties, {len(props):,} bytes", alternate(properties, rounds), memory(in_memory)),
        Table(f"decode: configuration, {len(conf):,} bytes", alternate(configuration, rounds)),
    ]


def check(ours: BackendProperties, others: Mapping[str, Callable[[], Any]]) -> None:
    """Hold what was decoded against each other."""
    theirs = others["official client"]()
    assert all(ours.readout_error(q) == theirs.readout_error(q) for q in range(len(ours.qubits)))
    values = [pair.value for qubit in ours.qubits for pair in qubit]
    for name in ("msgspec, minimal structs", "pydantic"):
        assert values == [pair.value for qubit in others[name]().qubits for pair in qubit]
    plain = others["orjson, plain dicts"]()
    assert values == [pair["value"] for qubit in plain["qubits"] for pair in qubit]
