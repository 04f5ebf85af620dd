"""`qrbackends fleet`."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

import qrbackends.emulator
from qrbackends import (
    AuthenticationFailed,
    BackendFilter,
    BackendProperties,
    BackendSummary,
    Change,
    Client,
    DecodeError,
    summary,
)
from qrbackends.cli.columns import columns_called, in_order
from qrbackends.cli.fleet import _Reading, _rounds
from qrbackends.cli.rows import FLEET, Row, json_of
from qrbackends.cli.screen import make_console
from qrbackends.cli.tables import Table
from qrbackends.cli.watch import Board
from qrbackends.cli.watched import WATCHED, Known
from qrbackends.emulator import Device, Emulator, Garbage, Status
from qrbackends.models import Backend, FaultyGate, Spread
from qrbackends.models.backend import DeviceStatus

from ..profiles import some_of
from .conftest import Run

SYNTHETIC = ("fleet", "--emulator", "synthetic")
SORTED_BY = {
    "name": "name",
    "queue": "queue_length",
    "qubits": "qubits",
    "t1": "t1_median_s",
    "t2": "t2_median_s",
    "readout": "readout_error_median",
    "two-qubit-error": "two_qubit_error_median",
    "age": "calibration_age_s",
}
"""By a title or the beginning of a name, the column by which `--sort` sorts."""

KEYS = {
    *SORTED_BY.values(),
    *("region", "instance", "status", "reason", "processor", "clops", "emulated"),
    *("two_qubit_gate", "two_qubit_error_layered", "faulty_qubits", "faulty_gates", "calibrated_at", "error"),
    *("broken_couplings", "left_out", "two_qubit_error_missing"),
}


def test_the_screen(run: Run) -> None:
    code, out, err = run(*SYNTHETIC)
    title, header, rule, *rows, summary = out.splitlines()
    assert (code, err) == (0, "")
    assert title == "Emulated fleet (synthetic)"
    assert header.split("  ")[0] == "backend"
    for column in ("region", "processor", "T1 µs", "T2 µs", "readout", "2q err", "age", "reason"):
        assert column in header
    assert set(rule) == {"─"}
    assert [row.split()[0] for row in rows] == sorted(row.split()[0] for row in rows)
    assert summary.startswith("8 backends in 2 regions, 6 online, ")
    assert "\x1b" not in out


def test_json_is_in_si(run: Run) -> None:
    code, out, err = run(*SYNTHETIC, "--json")
    rows = json.loads(out)
    assert (code, len(rows), err.count("\n")) == (0, 8, 1)
    falcon = next(row for row in rows if row["name"] == "synthetic_falcon_27")
    assert set(falcon) == KEYS
    assert 1e-6 < falcon["t2_median_s"] < falcon["t1_median_s"] * 2 < 1e-2
    assert 0 < falcon["two_qubit_error_median"] < 1
    assert 0 < falcon["readout_error_median"] < 1
    assert falcon["two_qubit_gate"] == "cx"
    assert (falcon["qubits"], falcon["processor"]) == (27, "Falcon r5.11")
    assert falcon["calibration_age_s"] >= 0
    assert datetime.fromisoformat(falcon["calibrated_at"]).tzinfo is not None
    assert (falcon["status"], falcon["reason"]) == ("paused", "calibration under way")
    assert falcon["instance"].startswith("crn:v1:")
    assert falcon["error"] is None


@pytest.mark.parametrize("by", some_of(SORTED_BY, 3))
def test_sorting(run: Run, service: Emulator, by: str) -> None:
    for reverse in (False, True):
        options = ("--reverse",) if reverse else ()
        out = run("fleet", "--json", "--sort", by, *options).out
        order = [row[SORTED_BY[by]] for row in json.loads(out)]
        assert len(order) == 8
        assert order == sorted(order, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_not_known_is_last(reverse: bool) -> None:
    def row(name: str, t1: float | None) -> Row:
        spread = None if t1 is None else Spread(t1, t1, (0,), t1, (0,))
        listed = Backend(name, DeviceStatus("online"), 0)
        return Row(listed, BackendSummary(name, None, None, None, (), t1=spread))

    [column] = columns_called(FLEET, "t1")
    rows = [row("d", None), row("b", 2e-4), row("c", None), row("a", 1e-4)]
    names = [row.listed.name for row in in_order(rows, column, reverse)]
    assert names == (["b", "a"] if reverse else ["a", "b"]) + ["d", "c"]


def test_couplings_that_cannot_be_used_are_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    names = ("fleet", "--emulator", "snapshots", "--name", "ibm_[bk]*o*")
    _, header, _, *lines, _ = run(*names).out.splitlines()
    assert "bad couplings" in header
    assert "bad gates" not in header
    shown = {line.split()[0]: line.split() for line in lines}
    assert shown["ibm_boston"][-2:] == ["1", "available"]
    assert shown["ibm_kyoto"][-2:] == ["144", "available"]
    assert "none works" in " ".join(shown["ibm_kyoto"])
    rows = {row["name"]: row for row in json.loads(run(*names, "--json").out)}
    boston, kyoto = rows["ibm_boston"], rows["ibm_kyoto"]
    assert (boston["broken_couplings"], boston["two_qubit_error_missing"]) == ([[84, 85]], None)
    assert boston["left_out"] == {"t1": 0, "t2": 0, "readout_error": 0, "two_qubit_error": 2}
    assert len(kyoto["broken_couplings"]) == kyoto["left_out"]["two_qubit_error"] == 144
    assert kyoto["two_qubit_error_median"] is None
    assert kyoto["two_qubit_error_missing"].startswith("all 144 values are out of order")


def test_filters_spare_the_requests(run: Run, service: Emulator) -> None:
    code, out, _ = run("fleet", "--json", "--online", "--min-qubits", "130", "--name", "*_heron_*_?")
    names = [row["name"] for row in json.loads(out)]
    assert (code, names) == (0, [f"synthetic_heron_156_{letter}" for letter in "abc"])
    assert service.count("properties") == 3


def test_nothing_matches(run: Run, service: Emulator) -> None:
    code, out, _ = run("fleet", "--name", "nothing")
    assert (code, out.splitlines()[-1]) == (0, "No backend matches.")
    for command in (("backends",), ("rank", "queue")):
        assert run(*command, "--min-qubits", "5000").out.splitlines()[-1] == "No backend matches."
    code, out, _ = run("fleet", "--name", "nothing", "--json")
    assert (code, out) == (0, "[]\n")


def test_a_region_that_fails_hides_no_other(run: Run, service: Emulator) -> None:
    service.fault(Status(403), resource="backends", region="eu-de", times=None)
    code, out, err = run("fleet")
    assert code == 0
    assert "4 backends in 1 region, " in out
    assert err.count("\n") == 1
    assert err.startswith("Warning: [eu-de]: HTTP 403")


def test_no_region_answers(run: Run, service: Emulator) -> None:
    service.fault(Status(403), resource="backends", times=None)
    code, out, err = run("fleet", "--json")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "HTTP 403" in err


def test_missing_properties_are_dashes(run: Run, service: Emulator) -> None:
    service.fault(Status(404), resource="properties", backend="synthetic_falcon_27", times=None)
    service.fault(Status(423), resource="properties", backend="synthetic_eagle_127", times=None)
    code, out, err = run("fleet")
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    assert code == 0
    for name in ("synthetic_falcon_27", "synthetic_eagle_127"):
        assert lines[name].count(" –") == 8
    assert err.count("\n") == 1, "that there are none is no failure"
    assert err.startswith("Warning: synthetic_eagle_127 [us-east]: HTTP 423")

    rows = {row["name"]: row for row in json.loads(run("fleet", "--json").out)}
    assert rows["synthetic_falcon_27"]["error"].startswith("synthetic_falcon_27 [eu-de]: HTTP 404")
    assert rows["synthetic_falcon_27"]["t1_median_s"] is None
    assert rows["synthetic_heron_133"]["error"] is None


def test_all_properties_fail(run: Run, service: Emulator) -> None:
    service.fault(Status(423), resource="properties", times=None)
    code, out, err = run("fleet")
    assert (code, err.count("Warning: ")) == (0, 8)
    assert "8 backends in 2 regions" in out


def test_properties_that_mean_nothing_are_told(run: Run, service: Emulator) -> None:
    document = {
        "backend_name": "synthetic_falcon_27",
        "backend_version": "1",
        "last_update_date": "2026-01-01T00:00:00Z",
        "qubits": [[{"date": "2026-01-01T00:00:00Z", "name": "T1", "unit": "parsecs", "value": 1}]],
        "gates": [],
        "general": [],
    }
    body = Garbage(json.dumps(document).encode())
    service.fault(body, resource="properties", backend="synthetic_falcon_27")
    code, out, err = run("fleet")
    assert (code, err.count("\n")) == (0, 1)
    assert "the unit of 'T1' is not known" in err
    assert "8 backends" in out


def test_what_the_list_leaves_out_is_a_dash_or_found_in_the_properties() -> None:
    backend = Backend("b", DeviceStatus("online"), 3)
    assert not BackendFilter(min_qubits=1)(backend)
    assert BackendFilter(min_qubits=0)(backend)
    row = json_of(Row(backend, summary(listed=backend)))
    known = [name for name, value in row.items() if value is not None]
    assert known == ["name", "status", "queue_length", "emulated"]
    properties = msgspec.json.decode(
        b'{"backend_name":"b","backend_version":"1","last_update_date":"2026-01-01T00:00:00Z",'
        b'"qubits":[[],[]],"general":[],"gates":[{"gate":"cz","qubits":[0,1],"parameters":'
        b'[{"date":"","name":"operational","unit":"","value":0}]}]}',
        type=BackendProperties,
    )
    found = summary(properties=properties, listed=backend, now=datetime(2025, 12, 31, tzinfo=UTC))
    row = json_of(Row(backend, found))
    assert (row["qubits"], row["t1_median_s"], row["two_qubit_error_median"]) == (2, None, None)
    assert row["faulty_gates"] == (FaultyGate("cz", (0, 1)),)
    assert row["calibration_age_s"] == 0, "a clock that is ahead makes nothing younger than new"


class Hostile:
    """A fleet whose texts try to be more than text."""

    names = ("[red]x", "plain")

    def device(self, name: str) -> Device:
        device = Device(name, "1.0", 2, processor=("[bold]Falcon", "1", None))
        return replace(device, reason="\x1b[31mred\x07\n:smile:")

    def find(self, *_: object) -> str | None:
        return None

    def build(self, key: object) -> bytes:
        raise AssertionError(key)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qrbackends.emulator, "Emulator", lambda _: Emulator(Hostile()))


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("command", ["fleet", "backends"])
def test_what_comes_from_the_network_is_shown_as_text(run: Run, command: str) -> None:
    code, out, _ = run(command, "--emulator", "synthetic")
    assert code == 0
    for text in ("[red]x", "[bold]Falcon", "\N{REPLACEMENT CHARACTER}[31mred", ":smile:"):
        assert text in out
    assert not set(out) & {"\x1b", "\x07"}


@pytest.mark.usefixtures("hostile")
def test_ids_are_text_as_well(run: Run) -> None:
    code, out, err = run("status", "[red]x", "--emulator", "synthetic")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Emulated status of [red]x (synthetic)"


@pytest.fixture
def screens(run: Run, service: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    def screen(width: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        return run("fleet").out.splitlines()

    return screen


@pytest.mark.long
def test_a_narrow_screen_shows_fewer_columns(screens: Callable[[int], list[str]]) -> None:
    headers = re.split(r" {2,}", screens(1000)[1].strip())
    assert len(headers) == 16
    shown: dict[int, set[str]] = {}
    for width in (200, 120, 100, 80, 70, 60, 45, 35):
        lines = screens(width)
        assert max(map(len, lines)) <= width
        assert "synthetic_nighthawk_120_a " in "\n".join(lines), "names are never cut or wrapped"
        assert "…" not in "\n".join(lines), "nor are numbers"
        shown[width] = {header for header in headers if header in lines[1]}
    assert shown[200] == {*headers}
    assert {*headers} - shown[80] >= {"region", "processor", "CLOPS", "2q gate", "age"}
    chosen_by = ["backend", "queue", "2q err", "status", "qubits", "readout", "T1 µs", "T2 µs"]
    assert shown[80] == {*chosen_by}
    for width in (70, 60, 45, 35):  # what people choose by stays longest
        assert shown[width] == {*chosen_by[: len(shown[width])]}
    assert len(shown[60]) >= 5
    assert len(shown[35]) == 2


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (("fleet", "--sort", "clops"), "CLOPS"),
        (("fleet", "--sort", "instance"), "instance"),
        (("fleet", "--columns", "name,region,2q-err,status,queue,clops", "--sort", "clops"), "CLOPS"),
        (("backends", "--wait-times"), "wait mean s"),
    ],
)
def test_a_narrow_screen_keeps_what_was_asked_for(
    run: Run, service: Emulator, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], title: str
) -> None:
    monkeypatch.setenv("COLUMNS", "76")
    out = run(*options).out
    assert title in out
    assert title not in out.partition("Not shown")[2]


def test_what_nothing_can_be_sorted_by_is_told(run: Run, service: Emulator) -> None:
    last = run("rank", "two-qubit-error-layered").out.splitlines()[-1]
    assert last == "No backend reports its layered two-qubit error."
    *_, last = run("fleet", "--sort", "error").out.splitlines()
    assert "No row has a value of error to sort by; did you mean readout_error_median, two_qubit_err" in last
    refused = run("fleet", "--sort", "bad")
    assert refused.code == 2
    assert "'bad' may be faulty_qubits or broken_couplings: give one of these" in refused.err


def test_a_screen_too_narrow_for_anything_still_shows_something(
    screens: Callable[[int], list[str]],
) -> None:
    lines = screens(30)
    assert max(map(len, lines)) <= 30
    assert lines[3].startswith("synt")


@pytest.mark.parametrize("command", ["fleet", "backends", "least-busy", "watch"])
def test_one_odd_backend_hides_nothing_of_the_others(
    run: Run, service: Emulator, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status = {"name": "online", "reason": None}
    odd = [
        {"name": "odd" * 1000, "status": status, "queue_length": 10**18, "qubits": 10**18},
        {"name": "odder" * 1000, "status": {"name": "on" * 1000}, "queue_length": 10**18},
        {"name": "plain", "status": status, "queue_length": 1234, "qubits": 27},
    ]
    body = json.dumps({"devices": odd}).encode() if command != "watch" else b'{"devices": []}'
    service.fault(Status(200, body=body), resource="backends", times=None)
    if command == "watch":
        board = Board(make_console(), "Fleet", Table(WATCHED), Known(BackendFilter()))
        for one in msgspec.json.decode(json.dumps(odd), type=tuple[Backend, ...]):
            board.take(Change("present", datetime.now(UTC), one.name, after=one))
        out = "\n".join(board_lines(board))
    else:
        code, out, _ = run(command)
        assert code == 0
    rows = [line.split() for line in out.splitlines() if line.startswith("plain ")]
    assert rows
    assert all({"plain", "online", "1,234"} <= set(row) for row in rows)
    assert max(map(len, out.splitlines())) <= 80


def board_lines(board: Board) -> list[str]:
    console = make_console()
    console.width = 80
    with console.capture() as capture:
        console.print(board)
    return capture.get().splitlines()


def test_a_directory_of_broken_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf_x.json").write_text("{}")
    code, out, err = run("emulate", "--fleet", str(tmp_path))
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {tmp_path}: a file is not as it should be: ")
    (tmp_path / "conf_x.json").unlink()
    code, out, err = run("emulate", "--fleet", str(tmp_path))
    assert (code, out, err) == (1, "", f"Error: {tmp_path} holds no conf_*.json\n")


@pytest.mark.parametrize("command", ["fleet", "backends"])
def test_an_odd_entry_of_the_list_is_one_line(run: Run, service: Emulator, command: str) -> None:
    names = service.backends("us-east")
    entries = [{"name": name, "status": {"name": "online"}, "queue_length": 3} for name in names]
    body = {"devices": [{"name": "ibm_odd", "status": {"name": "online"}, "queue_length": None}, *entries]}
    service.fault(Status(200, body=body), resource="backends", region="us-east", times=None)
    code, out, err = run(command)
    assert code == 0
    assert all(name in out for name in service.backends())
    assert "ibm_odd" not in out
    (line,) = err.splitlines()
    assert "ibm_odd [us-east]: its entry in the list cannot be read" in line
    assert "$.devices[0].queue_length" in line


def test_a_watched_board_tells_of_an_odd_entry_until_it_can_be_read() -> None:
    board = Board(make_console(), "Fleet", Table(WATCHED), Known(BackendFilter()))
    at = datetime(2026, 5, 4, tzinfo=UTC)
    entry = Backend("ibm_x", DeviceStatus("online"), 3, region="us-east", instance="crn")
    error = DecodeError("its entry cannot be read").about(backend="ibm_x", region="us-east")
    board.take(Change("present", at, "ibm_x", "us-east", "crn", after=entry))
    board.take(Change("failed", at, "ibm_x", "us-east", "crn", error=error))
    board.take(Change("failed", at, None, "us-east", "crn", error=DecodeError("no list")))
    assert "\n".join(board_lines(board)).count("Failing: ") == 2
    board.take(Change("recovered", at, None, "us-east", "crn"))
    assert "Failing: ibm_x [us-east]: its entry cannot be read." in "\n".join(board_lines(board))
    board.take(Change("recovered", at, "ibm_x", "us-east", "crn"))
    assert "Failing" not in "\n".join(board_lines(board))
    assert "ibm_x" in "\n".join(board_lines(board))


@pytest.mark.anyio
async def test_a_watched_fleet_stays_as_it_was_while_lists_fail(client: Client, emulator: Emulator) -> None:
    reading = _Reading(BackendFilter(name="*falcon*"), mocks=False, which={})
    rounds = _rounds(client, reading, 0.0)
    first = await anext(rounds)
    assert [row.listed.name for row in first.rows] == ["synthetic_falcon_27"]
    assert first.rows[0].found.t1 is not None
    emulator.fault(Status(503), resource="backends", times=None)
    failing = await anext(rounds)
    assert failing.rows == first.rows
    assert "503" in failing.problems[0]
    emulator.clear_faults()
    emulator.set_backend("synthetic_falcon_27", queue_length=99)
    again = await anext(rounds)
    assert (again.rows[0].listed.queue_length, again.problems) == (99, [])
    await rounds.aclose()
    account = replace(emulator.account(), api_key="a-wrong-key")
    async with Client(account) as refused:
        with pytest.raises(AuthenticationFailed):  # it would fail for ever
            await anext(_rounds(refused, reading, 0.0))
