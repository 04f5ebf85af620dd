"""Pictures: labels that do not collide, and the same picture again, but for a little."""

import io
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import matplotlib
import numpy
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.text import Annotation
from msgspec.structs import replace

from qrbackends import BackendProperties, Client, DecodeError, Gap, InvalidRequest, ServerError, UnknownQubit
from qrbackends.analysis.layout import couplings
from qrbackends.analysis.plot import error_map, fleet_plot, history_plot
from qrbackends.emulator import Emulator
from qrbackends.models.backend import Backend, DeviceStatus, Metric, PerformanceMetrics
from qrbackends.models.properties import GateProperties, Nduv

from ..snapshots import real

pytestmark = pytest.mark.anyio

DEVICES = ("fractional", "hanoi", "brisbane", "nighthawk", "boston")  # 5 to 156 qubits
NOW = datetime(2026, 6, 1, tzinfo=UTC)
GRID = 12  # a picture's fingerprint has so many rows and columns
SCREEN, PRINT = 100, 300  # dots per inch


def rendered(figure: Any, dpi: int = SCREEN) -> Any:
    """Return a figure's pixels, from 0 to 255, and let its parts know where they are."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return numpy.asarray(canvas.buffer_rgba())[..., :3].astype(float)


def fingerprint(figure: Any) -> str:
    """Return a picture as a coarse grid of grey values, in hexadecimal digits."""

    grey = rendered(figure).mean(axis=2)
    rows = numpy.array_split(grey, GRID, axis=0)
    cells = [[part.mean() for part in numpy.array_split(row, GRID, axis=1)] for row in rows]
    return "".join(f"{round(cell):02x}" for row in cells for cell in row)


def assert_alike(figure: Any, known: str) -> None:
    found = bytes.fromhex(fingerprint(figure))
    apart = [abs(one - other) for one, other in zip(found, bytes.fromhex(known), strict=True)]
    assert sum(apart) / len(apart) < 3, "on average"
    assert max(apart) < 40, "anywhere"


def assert_no_collisions(figure: Any, texts: list[Any]) -> None:
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    whole = figure.bbox
    for box in boxes:
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
    for one, other in combinations(boxes, 2):
        assert not one.padded(-0.5).overlaps(other.padded(-0.5))


@pytest.mark.parametrize("dpi", [SCREEN, PRINT])
@pytest.mark.parametrize("name", DEVICES)
def test_no_labels_of_a_map_collide(name: str, dpi: int) -> None:
    figure = error_map(*real(name))
    figure.set_dpi(dpi)
    figure.draw_without_rendering()
    (axes, *bars) = figure.axes
    numbers = [text for text in axes.texts if text.get_text().isdecimal()]
    assert len(numbers) == real(name)[0].n_qubits
    ticks = [label for bar in bars for label in bar.get_xticklabels(which="both")]
    assert len(ticks) == 6
    assert_no_collisions(figure, [*numbers, *ticks, *(bar.xaxis.label for bar in bars)])
    for text in numbers:  # inside of its circle, and readable
        box = text.get_window_extent()
        edge = axes.transData.transform((0.36, 0))[0] - axes.transData.transform((-0.36, 0))[0]
        assert box.width <= edge
        assert float(text.get_fontsize()) >= 5


@pytest.mark.parametrize("name", DEVICES)
def test_a_map_looks_as_it_did(name: str) -> None:
    assert_alike(error_map(*real(name)), PICTURES[name])


def test_another_calibration_looks_otherwise() -> None:
    with pytest.raises(AssertionError):
        assert_alike(error_map(*real("hanoi")), PICTURES["fractional"])


def test_a_map_says_what_and_when_and_in_which_unit() -> None:
    configuration, properties = real("boston")
    figure = error_map(configuration, properties)
    assert "boston" in figure.get_suptitle()
    assert f"{properties.last_update_date.astimezone(UTC):%Y-%m-%d %H:%M} UTC" in figure.get_suptitle()
    assert "dashed: cannot be used" in [one.get_text() for one in figure.texts]
    calibrated = properties.qubits
    faulty = replace(properties, qubits=((*calibrated[0], Nduv("", "operational", "", 0)), *calibrated[1:]))
    notes = [one.get_text() for one in error_map(configuration, faulty).texts]
    assert "dashed: cannot be used, crossed out: faulty" in notes
    assert {axes.get_xlabel() for axes in figure.axes[1:]} == {"readout error", "cz error"}


async def test_a_history_has_a_line_for_each_qubit_and_gaps_stay_open(client: Client) -> None:
    since, until = NOW - timedelta(hours=12), NOW
    name = "synthetic_falcon_27"
    moments = [one async for one in client.history(name, since, until)]
    gap = Gap(since, until, ServerError("no", 500))
    figure = history_plot([*moments[:5], gap, *moments[6:]], "t1", qubits=[0, 26])
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == ["median", "qubit 0", "qubit 26"]
    assert axes.get_ylabel() == "T1 (µs)"
    middle: Any = axes.lines[0].get_ydata()
    assert middle[5] != middle[5], "a gap is no number"
    first = moments[0]
    assert isinstance(first, BackendProperties)
    assert middle[0] == pytest.approx(1e6 * (first.median_t1() or 0))
    for other in ("t2", "readout_error", "two_qubit_error"):
        rendered(history_plot(moments, other))
    with pytest.raises(UnknownQubit):
        history_plot(moments, qubits=[27])


def test_values_that_no_device_can_have_are_in_no_picture() -> None:
    configuration, properties = real("lima")
    t1, error = Nduv("", "T1", "s", -1.6), Nduv("", "readout_error", "", -0.5)
    odd = replace(properties, qubits=((t1, error), *properties.qubits[1:]))
    lines: list[Any] = [one.get_ydata() for one in history_plot([odd], "t1", qubits=[0, 1]).axes[0].lines]
    assert lines[0][0] == pytest.approx(1e6 * (odd.median_t1() or 0))
    assert lines[1][0] != lines[1][0], "a gap"
    assert lines[2][0] == pytest.approx(1e6 * (properties.t1(1) or 0))
    for picture in (history_plot([odd], "readout_error"), error_map(configuration, odd)):
        rendered(picture)
    fleet = fleet_plot([listed("good", 0.01), listed("off", 1.0), listed("odd", -0.01)])
    assert [text.get_text() for text in fleet.axes[0].texts] == ["good"]


def test_nothing_is_drawn_of_nothing() -> None:
    draws: tuple[Callable[[], object], ...] = (
        lambda: history_plot([]),
        lambda: history_plot([Gap(NOW, NOW + timedelta(1), ServerError("no", 500))]),
        lambda: history_plot([], "t3"),  # type: ignore[arg-type]
        lambda: history_plot([], "two_qubit_error", qubits=[0]),
        lambda: fleet_plot([]),
    )
    for draw in draws:
        with pytest.raises(InvalidRequest):
            draw()


async def test_no_labels_of_a_fleet_collide(real_emulator: Emulator) -> None:
    async with Client(real_emulator.account()) as client:
        fleet = await client.backends()
    for dpi in (SCREEN, PRINT):
        figure = fleet_plot(fleet)
        rendered(figure, dpi)
        shown: Any = figure.axes[0]
        labels = [child for child in shown.get_children() if isinstance(child, Annotation)]
        assert len(labels) > 40
        assert_no_collisions(figure, labels)
    assert shown.get_xlabel() == "jobs waiting"


def test_figures_are_the_callers_own() -> None:
    before = dict(matplotlib.rcParams)
    code = (
        "import sys; import qrbackends.analysis.plot; "
        "print('matplotlib.pyplot' in sys.modules)"  # whose figures live until somebody closes them
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.stdout == "False\n"
    error_map(*real("fractional")).savefig(io.BytesIO())
    assert dict(matplotlib.rcParams) == before


async def test_pictures_show_themselves_and_say_what_is_emulated(real_emulator: Emulator) -> None:
    async with Client(real_emulator.account()) as client:
        fleet = await client.backends()
        documents = await client.configuration("ibm_boston"), await client.properties("ibm_boston")
    pictures: list[Any] = [error_map(*documents), history_plot([documents[1]]), fleet_plot(fleet)]
    plain = [error_map(*real("boston")), history_plot([real("boston")[1]])]
    for picture in (*pictures, *plain):
        texts = [one.get_text() for one in picture.texts]
        assert ("Emulated data, not from IBM's service" in texts) == (picture in pictures)
        assert picture._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import qrbackends.analysis.plot"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "qrbackends[plot]"' in outcome.stderr


PICTURES = {
    "fractional": (
        "fffbe7e8ece9efe5ede6fcffffffffc8f5ffffffffffffffffffff96e6fffffffffffffffffffffcd3f7a9e8b3ffffff"
        "ffffffffacce3e9851ffffffffffffe6ecffeffeefffffffffffffb5ebfffffffffffffffffffff1feffffffffffffff"
        "ffffe4dcd9d0cecdc8d8fffffffff4fffbdfe5fefff3fffffffee4dcd9d1cecdc9d8fffffffdf3ffffececfffff2ffff"
    ),
    "hanoi": (
        "fffffff0f0eff1efefffffffffffffe9f6fffff3eafffffffdfdfddaeffdfdeadafcfdffcbc1c5c2b8b3aaa6a694c0ff"
        "ffdaf9ffffd5ddfffff7d9ffffdef1f1ebdbe2f3f3eedef2ffd6d3c9bcc3cccfccc9cdd3ffffffcfecffffecdeffffff"
        "fffffbf4f8f8f8f7f6fcffffffffe4e5e1d5d2d4cfd5ffffffffeddedbc6c6cdc8dffffffffff2fffff0f2fffff3ffff"
    ),
    "brisbane": (
        "e4dfdbd1c8cfd3dfccd2e3ffe1faf9e3faf7d8f9f8e1fafcebe0c4e0e5b7d7dec1dae1d6e5dfd5d9d5c6cde2d0dadfdd"
        "d2e6e1cbeae2cbebdfbbe9e9f8f7d7f4f8dbf5f8d9eef7d9dde5d2cbded2c9e3d1c1e3e8dccecfc6dfd2c4e6d8c6e0df"
        "fff4ccf1f5d9f2f5d9f4f6e2ffecdde1eae5e4e9e4e7ebefffffeeeae8dddadfdbe4ffffffffefeae8dfdcdedbe3ffff"
    ),
    "nighthawk": (
        "ece0d6cfd7d1d2d9d7d8deebe4d8d8d4cad3d0d1ccd1d9e6e1cecccecbbdc6cececcd2e2dcc9c9c1c6c1bdafc6c9c8dc"
        "e6d9d5d0c9cfd2ced5d2d7e3ddcccecdc5b8bec4cdcacddeddc7c6c3bab9a1b9bdbec5dde5dad3cfc7cccdccd2d2d3e2"
        "dac6c4c9c0b8bdbdc5c6c5d9efe7e8e5e3e4e6e4e7e7e5efffffeeeeecdcdce5e3e7ffffffffedeeece1dfe5e3e5ffff"
    ),
    "boston": (
        "ece6dbe5d7dedad0e4d9eaedf0ead4e8e3cae7e4d6e3e9def7e1f2f7d8f2eae6f6d9f5f8efe8d0e6dccee5e3d2e0e7db"
        "ecd6dce3cce3dad9e3cbe2ededded8e4c2ded8d9decfe5eaeae4c9dfd9cedfdbcbd7e2d6f6d8edf2d6f1e4e0f2d7f2f5"
        "f4f0d6ebebd5ecebd6ebeedde9e2d9e2cfd8dfdce3d9e4ebffffefebe9dedde0dde6fffffffff0ebe9e2dfe0dde6ffff"
    ),
}
"""Fingerprints of maps: `fingerprint(error_map(*real(name)))`, looked at on 2026-11-24."""


def listed(name: str, error: float, **values: Any) -> Backend:
    metrics = PerformanceMetrics(two_q_error_median=Metric(error, "1"))
    status = DeviceStatus("online", None)
    return Backend(name, status, values.pop("queue_length", 1), performance_metrics=metrics, **values)


def test_odd_backends_spoil_no_picture_of_the_fleet() -> None:
    odd = [listed("$x^", 0.0), listed("huge", 0.1, qubits=10**9), listed("negative", 0.2, qubits=-1000)]
    figure = fleet_plot([*odd, listed("good", 0.01, qubits=5)])
    assert {text.get_text() for text in figure.axes[0].texts} == {"huge", "negative", "good"}
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == ["5 qubits", "1,000,000,000 qubits", "online"]


def test_thousands_of_backends_have_names_where_there_is_room() -> None:
    crowd = [listed(f"b{number}", 0.001 * (1 + number % 20), queue_length=number) for number in range(500)]
    figure = fleet_plot(crowd)
    figure.draw_without_rendering()
    names = list(figure.axes[0].texts)
    assert 20 < len(names) < 500
    assert f"{500 - len(names)} names left out for lack of room" in [one.get_text() for one in figure.texts]
    assert_no_collisions(figure, names)


def test_a_map_of_thousands_has_no_numbers_that_nobody_could_read() -> None:
    configuration, properties = real("fractional")
    pairs = tuple((number, number + 1) for number in range(1499))
    line = replace(configuration, n_qubits=1500, coords=None, coupling_map=pairs)
    assert not [text for text in error_map(line, properties).axes[0].texts if text.get_text()]


@pytest.mark.parametrize("count", [0, -1, 10**9])
def test_what_has_no_map_says_why(count: int) -> None:
    configuration, properties = real("fractional")
    with pytest.raises(DecodeError, match=f"{count} qubits"):
        error_map(replace(configuration, n_qubits=count), properties)


def test_the_colours_of_a_map_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, they take longer than all else of a map of thousands of qubits."""
    asked: list[int] = []

    def counted(scale: ScalarMappable, values: Any) -> Any:
        asked.append(len(values))
        return to_rgba(scale, values)

    to_rgba = ScalarMappable.to_rgba
    monkeypatch.setattr(ScalarMappable, "to_rgba", counted)
    configuration, properties = real("boston")
    error_map(configuration, properties)
    assert len(asked) == 2
    assert sum(asked) > configuration.n_qubits
    error_map(configuration, replace(properties, qubits=(), gates=()))


def test_broken_pairs_that_only_gates_name_are_drawn() -> None:
    configuration, properties = real("fractional")
    flag = Nduv("", "operational", "", 0.0)
    broken = GateProperties(properties.native_entangler or "", (4, 0), (flag,))
    figure = error_map(configuration, replace(properties, gates=(*properties.gates, broken)))
    (lines, *_) = [one for one in figure.axes[0].collections if isinstance(one, LineCollection)]
    assert len(lines.get_segments()) == len(couplings(configuration) | {(0, 4)})
