"""What the command line offers for tables, filters, times and emulators, by the commands' real processes.

Variations run in this process, as a process takes half a second to start.
"""

import csv
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qrbackends import Backend, BackendFilter
from qrbackends.cli.arguments import instant_of
from qrbackends.cli.entries import ENTRIES
from qrbackends.cli.rank import SHOWN_BY
from qrbackends.cli.rows import FLEET
from qrbackends.emulator.devices.synthetic import SyntheticFleet
from qrbackends.fleet.keys import KEYS, RankKey
from qrbackends.models import BackendsResponse

from ..profiles import some_of
from .conftest import Outcome, Run
from .processes import (
    STRICT,
    command,
    emulating,
    error_of,
    line_of,
    own_environment,
    read_until,
    started_on_screen,
)

HERON = "synthetic_heron_156_a"
FALCON = "synthetic_falcon_27"


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Any]]:
    """What an emulator in a process of its own prints; its queues stay as they are."""
    with emulating("--fleet", "synthetic", "--instances", "2") as addresses:
        for jobs, name in enumerate(SyntheticFleet().names):
            steer(addresses, do="set_backend", backend=name, queue_length=jobs * 9)
        yield addresses


@pytest.fixture(scope="module")
def url(told: dict[str, Any]) -> str:
    """The address of its IAM."""
    return str(told["iam_url"])


@pytest.fixture
def here(run_on: Run, url: str) -> Run:
    """Run a command in this process, with the emulator in the other one."""
    return lambda *arguments: run_on(*arguments, "--emulator", url)


@pytest.fixture
def listed(here: Run) -> list[Backend]:
    """What the emulator lists, each backend once."""
    devices = msgspec.json.decode(here("backends", "--json").out, type=BackendsResponse).devices
    assert len(devices) == 16, "both instances of a region have its backends"
    return list({one.name: one for one in devices}.values())


def steer(told: dict[str, Any], **operation: Any) -> None:
    """Steer the emulator by its control API."""
    headers = {"Authorization": f"Bearer {told['control_token']}"}
    connection = HTTPConnection(told["control_url"].removeprefix("http://"), timeout=30)
    connection.request("POST", "/do", json.dumps(operation), headers)
    assert connection.getresponse().status in (200, 204)
    connection.close()


def rows_of(found: Outcome) -> list[dict[str, str]]:
    """Return the rows of CSV."""
    assert found.code == 0, found.err
    return list(csv.DictReader(io.StringIO(found.out)))


# --- emulators


def test_a_running_emulator_is_used_by_its_address(
    here: Run, run_on: Run, told: dict[str, Any], url: str
) -> None:
    columns = ("--csv", "--columns", "name,instance,emulated")
    found = command("backends", "--emulator", url, "--region", "eu-de", *columns)
    rows = rows_of(found)
    assert found.err == f"Emulated data ({url}), not from IBM's service.\n"
    crns = {one["crn"] for one in told["instances"] if one["region"] == "eu-de"}
    assert {row["instance"] for row in rows} == crns
    assert {row["emulated"] for row in rows} == {"true"}
    one = here("backends", "--instance", "emulated-eu-de-2", *columns)
    assert {row["instance"] for row in rows_of(one)} == {told["instances"][3]["crn"]}
    other = run_on("status", FALCON, "--emulator", told["regions"]["us-east"])
    assert other.out.startswith(f"Emulated status of {FALCON} (")


def test_a_fleet_of_ones_own_is_used_by_its_path(here: Run, run_on: Run, tmp_path: Path) -> None:
    recording = tmp_path / "recorded"
    assert here("record", str(recording), "--backends", FALCON).code == 0
    found = command("fleet", "--emulator", str(recording))
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[0] == f"Emulated fleet ({recording})"
    assert found.out.splitlines()[3].startswith(FALCON)
    for arguments in (
        ("show", "--emulator", str(recording), FALCON),
        ("show", FALCON, f"--emulator={recording}"),
    ):
        assert run_on(*arguments).out.splitlines()[0] == f"Emulated {FALCON} ({recording})"


@pytest.mark.parametrize(
    ("value", "code", "why"),
    [
        (
            "http://192.0.2.1:8103",
            2,
            "on this machine only: give the address that `qrbackends emulate` prints",
        ),
        ("https://127.0.0.1:8103", 2, "on this machine only"),
        ("http://user:secret@127.0.0.1", 2, "has to be an absolute http or https URL"),
        ("http://127.0.0.1:9", 1, "no emulator listens at http://127.0.0.1:9 (Connection refused)"),
        ("./nowhere", 2, "'./nowhere' is none of snapshots, snapshots:current, synthetic, and no directory"),
    ],
)
def test_what_is_no_emulator_is_told(run_on: Run, value: str, code: int, why: str) -> None:
    found = run_on("fleet", "--emulator", value)
    assert (found.code, found.out) == (code, "")
    assert why in found.err
    assert "secret" not in found.err


def test_the_control_api_is_not_taken_for_an_emulator(run_on: Run, told: dict[str, Any]) -> None:
    found = run_on("fleet", "--emulator", told["control_url"])
    assert (found.code, found.out) == (1, "")
    assert "is no emulator: give the address that `qrbackends emulate` prints for IAM" in found.err


# --- columns, CSV, order


@pytest.mark.long
def test_columns_are_shown_in_the_order_asked_for(here: Run, url: str) -> None:
    chosen = ("--columns", "2q err,backend,t1,queue", "--sort", "two-qubit-error")
    found = command("fleet", "--emulator", url, *chosen)
    header, _, *rows = found.out.splitlines()[1:-1]
    assert header.split() == ["2q", "err", "backend", "T1", "µs", "queue"]
    errors = [float(row.split()[0]) for row in rows]
    assert errors == sorted(errors)
    wrong = here("fleet", "--columns", "name,beauty")
    assert wrong.code == 2
    assert "there is no column 'beauty'; there are: name, region, status, queue_length," in wrong.err
    assert here("fleet", "--columns", " , ").code == 2
    assert len(rows_of(here("fleet", "--columns", "all", "--csv"))[0]) == len(FLEET)


@pytest.mark.long
def test_csv_has_every_column_in_si_as_json_has(here: Run, url: str) -> None:
    found = command("fleet", "--emulator", url, "--csv")
    assert found.err == f"Emulated data ({url}), not from IBM's service.\n"
    rows = rows_of(found)
    assert list(rows[0]) == [one.name for one in FLEET]
    assert all(line.isprintable() for line in found.out.splitlines())
    for row, value in zip(rows, json.loads(here("fleet", "--json").out), strict=True):
        assert (row["name"], int(row["queue_length"])) == (value["name"], value["queue_length"])
        assert float(row["t1_median_s"]) == value["t1_median_s"] < 1e-2
        assert row["broken_couplings"].split() == [f"{one}-{two}" for one, two in value["broken_couplings"]]
        at = datetime.fromisoformat(row["calibrated_at"])
        assert at == datetime.fromisoformat(value["calibrated_at"])
        assert row["calibrated_at"].endswith("Z")
    both = here("fleet", "--csv", "--json")
    assert (both.code, both.out) == (2, "")


def test_columns_and_json_give_objects_with_these(here: Run) -> None:
    found = here("backends", "--json", "--columns", "name,wait p50", "--limit", "2")
    objects = json.loads(found.out)
    assert [set(one) for one in objects] == [{"name", "wait_time_p50_s"}] * 2
    assert all(one["wait_time_p50_s"] >= 0 for one in objects), "waiting times were asked for"


def test_a_table_can_be_sorted_by_every_column(here: Run) -> None:
    for column in ENTRIES:
        code, out, err = here("backends", "--csv", "--sort", column.name, "--reverse")
        assert code == 0, err
        cells = [row[column.name] for row in csv.DictReader(io.StringIO(out))]
        assert len(cells) == 16
        assert "" not in cells or not any(cells[cells.index("") :]), "unknown values are last"
    for name in ("faulty_qubits", "calibrated_at", "age"):
        assert len(rows_of(here("fleet", "--csv", "--sort", name))) == 8


# --- filters

CONDITIONS: dict[str, BackendFilter] = {
    "--min-qubits 127": BackendFilter(min_qubits=127),
    "--online": BackendFilter(online=True),
    "--processor heron": BackendFilter(processor="heron"),
    "--processor HERON?r[12]": BackendFilter(processor="Heron r[12]"),
    "--name *_heron_* --name *falcon*": BackendFilter(name=["*_heron_*", "*falcon*"]),
    "--max-queue 30": BackendFilter(max_queue=30),
    "--max-two-qubit-error 3e-3": BackendFilter(max_two_qubit_error=3e-3),
    "--max-readout-error 0.01": BackendFilter(max_readout_error=0.01),
    "--min-clops 100000": BackendFilter(min_clops=100_000),
    "--max-two-qubit-error-layered 0.01": BackendFilter(max_two_qubit_error_layered=0.01),
    "--min-qubits 100 --max-readout-error 0.02": BackendFilter(min_qubits=100, max_readout_error=0.02),
}


@pytest.mark.parametrize("options", some_of(CONDITIONS, 4))
def test_filters_are_the_same_everywhere(here: Run, listed: list[Backend], options: str) -> None:
    names = {one.name for one in listed if CONDITIONS[options](one)}
    assert 0 < len(names) < len(listed) or "layered" in options
    how = ("--csv", "--columns", "name", *options.split())
    for arguments in (("fleet",), ("backends",), ("rank", "queue", "--any-status")):
        assert {*here(*arguments, *how).out.splitlines()[1:]} == names
    code, out, _ = here("least-busy", "--any-status", *how)
    assert {*out.splitlines()[1:]} <= names if names else code == 1


@pytest.mark.long
def test_a_watch_and_the_least_busy_have_the_same_filters(url: str, listed: list[Backend]) -> None:
    options = ("--processor", "heron", "--max-queue", "60", "--emulator", url)
    wanted = BackendFilter(processor="heron", max_queue=60)
    names = {one.name for one in listed if wanted(one)}
    found = command("least-busy", *options, "--json")
    assert msgspec.json.decode(found.out, type=Backend).name in names
    watching = subprocess.Popen(
        [*STRICT, "watch", *options, "--csv", "--columns", "kind,name,queue,2q err"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=own_environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert line_of(watching) == "kind,name,queue_length,two_qubit_error_median\n"
        rows = [line_of(watching).rstrip("\n").split(",") for _ in names]
        assert {(kind, name) for kind, name, *_ in rows} == {("present", name) for name in names}
        assert all(float(error) < 1 for *_, error in rows)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
    finally:
        watching.kill()
        watching.communicate()


def test_filters_have_bounds(here: Run) -> None:
    for wrong in ("--max-two-qubit-error=2", "--min-qubits=-1", "--max-readout-error=much"):
        assert here("rank", "queue", wrong).code == 2
    none = here("least-busy", "--min-qubits", "5000")
    assert (none.code, none.out) == (1, "")


# --- rank


def test_rank_shows_the_values_of_its_key(here: Run, url: str, listed: list[Backend]) -> None:
    rows = rows_of(command("rank", "two_qubit_error", "--emulator", url, "--csv"))
    errors = [float(row["two_qubit_error_median"]) for row in rows]
    assert errors == sorted(errors)
    assert {row["status"] for row in rows} == {"online"}
    worst = here("rank", "wait_time", "--reverse", "--any-status", "--limit", "3")
    header, _, *lines, note = worst.out.splitlines()[1:]
    assert "wait p50 s" in header
    assert len(lines) == 3
    assert note == f"The first 3 of {len(listed)} are shown; --limit says how many."
    hyphens = here("rank", "Two-Qubit-Error", "--limit", "1").out.splitlines()
    assert hyphens[0].startswith("Emulated backends by two-qubit error (")
    wrong = here("rank", "beauty")
    assert wrong.code == 2
    assert "'queue', 'wait_time', 'clops'" in wrong.err
    assert here("rank", "queue", "--columns", "name,wait p50").code == 2


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_its_column_on_every_screen(
    here: Run, monkeypatch: pytest.MonkeyPatch, key: RankKey
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    code, out, err = here("rank", key)
    assert code == 0, err
    title = next(one.header for one in ENTRIES if one.name == SHOWN_BY[key])
    header = next(line for line in out.splitlines() if line.startswith("backend "))
    assert title in header


# --- fleet --watch


def test_a_watched_fleet_is_redrawn_in_place(told: dict[str, Any], url: str) -> None:
    program = (*STRICT, "fleet", "--watch", "--interval", "1", "--emulator", url, "--sort", "queue")
    with started_on_screen(100, *program) as (process, read):
        seen = read_until(read, "online, ")
        try:
            steer(told, do="set_backend", backend=FALCON, status="online", queue_length=987_654)
            seen += read_until(read, "987,654")
        finally:
            steer(told, do="set_backend", backend=FALCON, queue_length=9)
        process.send_signal(signal.SIGINT)
        while chunk := read():
            seen += chunk
        assert process.wait(30) == 130
        assert error_of(process).strip() == ""
    assert "Emulated fleet, read every 1 s" in seen
    assert "\x1b[1A\x1b[2K" in seen
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h") == 1, "the cursor is back"


@pytest.mark.long
def test_a_watched_fleet_in_a_pipe_is_an_array_on_a_line_each_time(url: str) -> None:
    watching = subprocess.Popen(
        [*STRICT, "fleet", "--watch", "--interval", "1", "--emulator", url, "--json", "--online"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=own_environment(),
    )
    try:
        first, second = (json.loads(line_of(watching)) for _ in range(2))
    finally:
        watching.kill()
        _, err = watching.communicate()
    assert [one["name"] for one in first] == [one["name"] for one in second]
    assert {one["status"] for one in first} == {"online"}
    assert err == f"Emulated data ({url}), not from IBM's service.\n", "once"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--watch", "--csv"), "`qrbackends watch --csv` writes each change"),
        (("--watch", "--updated-before", "7d"), "give one of them"),
        (("--interval", "5"), "--interval is that of --watch"),
    ],
)
def test_what_does_not_go_with_a_watched_fleet(here: Run, options: tuple[str, ...], why: str) -> None:
    found = here("fleet", *options)
    assert (found.code, found.out) == (2, "")
    assert why in found.err


# --- the past


def test_history_is_a_row_for_each_calibration(here: Run, url: str) -> None:
    rows = rows_of(command("history", FALCON, "--emulator", url, "--since", "6h", "--csv"))
    times = [datetime.fromisoformat(row["calibrated_at"]) for row in rows]
    assert 5 <= len(times) <= 7
    assert times == sorted(times)
    assert all(datetime.now(UTC) - at < timedelta(hours=7) for at in times)
    newest = rows_of(here("history", FALCON, "--since", "52w", "--limit", "3", "--csv"))
    assert [row["calibrated_at"] for row in newest] == [row["calibrated_at"] for row in rows[-3:]]
    days = ("--since", "2026-06-01", "--until", "2026-06-03", "--every", "1d")
    title, header, _, *lines = here("history", FALCON, *days).out.splitlines()
    assert title.startswith(
        f"Emulated calibrations of {FALCON} from 2026-06-01 00:00 to 2026-06-03 00:00 UTC"
    )
    assert header.split()[:2] == ["calibrated", "UTC"]
    assert [line.split()[0] for line in lines] == ["2026-06-01", "2026-06-02"]
    weeks = ("--since", "2026-05-01", "--until", "2026-06-03", "--every", "1d", "--limit", "2")
    assert here("history", FALCON, *weeks).out.splitlines()[3:] == lines
    nothing = here("history", FALCON, "--since", "2037-01-01", "--until", "2037-01-02", "--limit", "2")
    assert "No calibration in this time; the newest one is of 20" in nothing.out
    none = here("history", FALCON, "--since", "2037-01-01", "--until", "2037-01-02")
    assert "No calibration in this time; the newest one is of 20" in none.out


def test_drift_tells_what_has_changed(here: Run, url: str) -> None:
    found = json.loads(command("drift", HERON, "--emulator", url, "--json").out)
    before, after = (datetime.fromisoformat(found[name]) for name in ("before", "after"))
    assert timedelta(days=6, hours=22) < after - before < timedelta(days=7, hours=2)
    assert {one["figure"] for one in found["medians"]} >= {"T1", "T2", "readout error", "cz error"}
    changes = [abs(one["relative"]) for one in found["differences"]]
    assert changes == sorted(changes, reverse=True)
    assert all(one["worse"] in (True, False) for one in found["differences"])
    rows = rows_of(here("drift", HERON, "--csv", "--name", "t1", "--since", "2d"))
    assert {(row["name"], row["gate"]) for row in rows} == {("T1", "")}
    assert 150 <= len(rows) <= 156
    screen = here("drift", HERON, "--limit", "3").out
    assert "works no more" in screen
    assert "Medians\n" in screen
    assert "The first 3 of 1," in screen
    same = here("drift", HERON, "--since", after.isoformat(), "--until", after.isoformat())
    assert "It was not calibrated in between: its newest calibration is of 20" in same.out


def test_stability_names_the_least_stable_first(here: Run, url: str) -> None:
    rows = rows_of(command("stability", FALCON, "--emulator", url, "--every", "1d", "--csv"))
    spreads = [float(row["relative_iqr"]) for row in rows]
    assert spreads == sorted(spreads, reverse=True)
    assert {row["name"] for row in rows} == {"T1", "T2", "readout_error"}
    assert {int(row["calibrations"]) for row in rows} <= {7, 8}
    screen = here("stability", FALCON, "--every", "24", "--name", "T2").out
    assert screen.count("T2 µs") == 20, "on a screen the first 20"
    assert f"Emulated stability of {FALCON} from 20" in screen


def test_stability_of_an_archive(here: Run, run_on: Run, tmp_path: Path) -> None:
    archive = str(tmp_path / "archive")
    assert here("archive", "sync", archive, FALCON, "--since", "6h").code == 0
    rows = rows_of(run_on("stability", FALCON, "--archive", archive, "--csv"))
    assert {int(row["calibrations"]) for row in rows} <= {5, 6, 7}
    recent = rows_of(run_on("stability", FALCON, "--archive", archive, "--csv", "--since", "3h"))
    assert {int(row["calibrations"]) for row in recent} <= {2, 3, 4}
    held = rows_of(run_on("archive", "info", archive, "--csv", "--columns", "backend,calibrations,first"))
    assert [row["backend"] for row in held] == [FALCON]
    screen = command("stability", FALCON, "--archive", archive)
    assert (screen.code, screen.err) == (0, "")
    assert screen.out.startswith(f"Emulated stability of {FALCON}\n")
    for form in ("--csv", "--json"):
        assert run_on("stability", FALCON, "--archive", archive, form).err == (
            "Emulated data, not from IBM's service.\n"
        )
    assert run_on("stability", FALCON, "--archive", archive, "--every", "1d").code == 2
    assert run_on("stability", "other", "--archive", archive).code == 2


def test_without_an_earlier_calibration_there_is_no_drift(run_on: Run) -> None:
    found = run_on("drift", "ibmq_lima", "--emulator", "snapshots")
    assert (found.code, found.out) == (1, "")
    assert "ibmq_lima has no calibration before" in found.err
    assert "UTC: a snapshot has no others, those of --emulator synthetic have" in found.err
    same = run_on("drift", "ibmq_lima", "--emulator", "snapshots", "--since", "1d")
    assert same.out.splitlines()[-1].startswith("It was not calibrated in between: its newest calibration is")
    *rows, note = run_on("stability", "ibmq_lima", "--emulator", "snapshots").out.splitlines()
    assert rows[3].split()[3] == "–"
    assert note.startswith("A spread takes two calibrations or more; --since asks further back.")


def test_qubits_are_chosen_and_shown_on_a_map(here: Run, url: str) -> None:
    screen = command("qubits", HERON, "6", "--emulator", url)
    assert screen.out.startswith(f"Emulated best 6 qubits of {HERON} (")
    found = json.loads(here("qubits", HERON, "6", "--json").out)
    assert len(found["set"]["qubits"]) == len(found["line"]["qubits"]) == 6
    of_set, of_line = (found[which]["expected_error"] for which in ("set", "line"))
    assert 0 < of_set <= of_line * (1 + 1e-9) < 1, "the sums may differ by their order"
    chart = screen.out.split("\n\n")[1]
    marked = sum(max(0, chart.count(char) - 1) for char in "●◆◇")  # the last one is in the legend
    assert marked == len({*found["set"]["qubits"], *found["line"]["qubits"]})
    assert "· other" in chart
    rows = rows_of(here("qubits", HERON, "6", "--csv", "--updated-before", "2d"))
    assert sum(row["in_set"] == "true" for row in rows) == 6
    assert sorted(int(row["place_in_line"]) for row in rows if row["place_in_line"]) == [*range(1, 7)]
    many = here("qubits", HERON, "157")
    assert (many.code, many.out) == (2, "")


@pytest.mark.parametrize("name", ["history", "drift", "stability"])
def test_the_past_begins_before_it_ends(here: Run, name: str) -> None:
    found = here(name, FALCON, "--since", "1d", "--until", "2d")
    assert (found.code, found.out) == (2, "")
    assert "--since has to be before --until" in found.err


@pytest.mark.parametrize("name", ["properties", "show", "qubits", "configuration", "fleet"])
def test_variants_and_the_past_can_be_asked_for_wherever_a_document_is_read(here: Run, name: str) -> None:
    arguments = {"fleet": (), "qubits": (HERON, "3")}.get(name, (HERON,))
    variant = ("--json", "--calibration-id", "extra_gates")
    code, _, err = here(name, *arguments, *variant)
    assert code == 0, err
    if name == "configuration":
        return
    code, out, err = here(name, *arguments, *variant, "--updated-before", "2026-06-01")
    assert code == 0, err
    found = json.loads(out)
    found = next(one for one in found if one["name"] == HERON) if name == "fleet" else found
    at = datetime.fromisoformat(found.get("calibrated_at") or found["last_update_date"])
    assert datetime(2026, 5, 31, 22, tzinfo=UTC) < at < datetime(2026, 6, 1, tzinfo=UTC), "midnight is UTC's"


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("90min", 5400), ("7d", 604_800), ("1d12h", 129_600), ("2W", 1_209_600), ("1.5 h", 5400)],
)
def test_a_span_is_so_long_ago(here: Run, span: str, seconds: float) -> None:
    code, out, err = here("properties", FALCON, "--json", "--updated-before", span)
    assert code == 0, err
    at = datetime.fromisoformat(json.loads(out)["last_update_date"])
    assert timedelta(0) < datetime.now(UTC) - timedelta(seconds=seconds) - at < timedelta(hours=1, minutes=5)


def test_dates_are_utc_as_the_help_says(run_on: Run) -> None:
    found = command("properties", "--help", TZ="Pacific/Kiritimati")
    assert "a date (its midnight in UTC), or 7d or 12h (so long ago)" in " ".join(found.out.split())
    assert instant_of("2026-04-17").isoformat() == "2026-04-17T00:00:00+00:00"
    assert instant_of("2026-04-17T12:00:00+02:00").isoformat() == "2026-04-17T10:00:00+00:00"
    assert instant_of("2026-04-17T12:00Z").isoformat() == "2026-04-17T12:00:00+00:00"
    for name in ("history", "drift", "stability", "fleet", "show", "qubits"):
        assert "its midnight in UTC" in " ".join(run_on(name, "--help").out.split())


@pytest.mark.parametrize("step", some_of(["30s", "0", "-1", "soon", "nan", "1e400"], 2))
def test_a_step_is_a_minute_or_more(here: Run, step: str) -> None:
    found = here("history", FALCON, f"--every={step}")
    assert found.code == 2
    assert "no span of time, such as 6h" in found.err or "less than a minute" in found.err
