"""Pictures: labels that do not collide, and the same picture again, but for a little."""

import io
import re
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
from matplotlib.collections import LineCollection
from matplotlib.text import Annotation, Text
from msgspec.structs import replace

from qrbackends import BackendProperties, Client, DecodeError, Gap, InvalidRequest, ServerError, UnknownQubit
from qrbackends.analysis.devicemap import FIGURES, RADIUS, TITLES
from qrbackends.analysis.layout import couplings
from qrbackends.analysis.plot import error_map, fleet_plot, history_plot
from qrbackends.emulator import Emulator
from qrbackends.models.backend import Backend, DeviceStatus, Metric, PerformanceMetrics
from qrbackends.models.properties import GateProperties, Nduv

from ..profiles import some_of
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
    boxes = [Text.get_window_extent(text) for text in texts if text.get_text()]  # without leading lines
    whole = figure.bbox
    for box in boxes:
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
    for one, other in combinations(boxes, 2):
        assert not one.padded(-0.5).overlaps(other.padded(-0.5))


@pytest.mark.parametrize("dpi", [SCREEN, PRINT])
@pytest.mark.parametrize("name", some_of(DEVICES))
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
        edge = axes.transData.transform((RADIUS, 0))[0] - axes.transData.transform((-RADIUS, 0))[0]
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
    assert f"{properties.last_update_date:%Y-%m-%d}" in figure.get_suptitle()
    assert "UTC" in figure.get_suptitle()
    said = {axes.get_xlabel().partition(";")[0] for axes in figure.axes[1:]}
    assert said == {"Readout error", "Two-qubit error (cz)"}
    assert figure.get_supxlabel() == "crossed: out of order (0 qubits, 1 coupling)"


def test_a_map_says_what_its_shapes_mean_and_what_is_not_drawn() -> None:
    configuration, properties = real("lima")
    bare = replace(properties, qubits=((), *properties.qubits[1:]))
    odd = replace(configuration, coupling_map=(*(configuration.coupling_map or ()), (0, 99)))
    said = error_map(odd, bare).get_supxlabel()
    assert said.startswith("dotted: not known (1)")
    assert "1 coupling is not drawn" in said
    with pytest.raises(InvalidRequest, match="readout"):
        error_map(configuration, properties, "colour")  # type: ignore[arg-type]


@pytest.mark.parametrize("by", TITLES)
def test_a_map_can_show_each_figure(by: Any) -> None:
    figure = error_map(*real("kyoto"), by)
    assert len(figure.axes) == 1 + (by in FIGURES)  # no coupling of it works, so that none has a colour


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


@pytest.mark.long
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
    assert shown.get_xlabel().startswith("jobs waiting\n")
    nameless = int((re.findall(r"(\d+) dots? without", shown.get_xlabel()) or [0])[0])
    missing = int((re.findall(r"(\d+) backend", shown.get_xlabel()) or [0])[0])
    assert len(labels) + nameless + missing == len(fleet), "whatever is not there is said"


@pytest.mark.long
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
        note = picture.axes[0].get_title(loc="left")
        assert (note == "Emulated data, not from IBM's service") == (picture in pictures)
        assert picture._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import qrbackends.analysis.plot"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "qrbackends[plot]"' in outcome.stderr


PICTURES = {
    "fractional": (
        "fffce9eaeeebf0e8efe9fdffffffefc8ffffffffffffffffffffda98fffffffffffffffffffffff1cefed2fbd1f8ffff"
        "ffffffe882dd7ed07ad9fffffffffbdae9ffedffedfeffffffffcb7cfffffffffffffffffffff6d5ffffffffffffffff"
        "ffffe7d8dad9dad9d9e9fffffffbecfdf9dbe2fdfbeffbfffffee4d8dad6d9d9d8e7fefffffceffdf0e0e5f3fcf0fcff"
    ),
    "hanoi": (
        "fffffff1f1f0f2f0f0ffffffffffffffffffffffffffffffffffffd8f0ffffeaddffffffe0e0dfd5dee0e0ded7dee6ff"
        "e0d1dedfdfd7d9e0e0dcd9ffffccf7ffffdee3fffff4ceffffc7bdc2c0bfc1c1bfc5c1c4ffffffdaf1ffffebdaffffff"
        "fffffff3fbfffff9f3fffffffffedad8dad3d4dad9daffffffffe8d9dacacedad9eafffffffef1fff9e6ebfbfff0ffff"
    ),
    "brisbane": (
        "e6e0d8d9d7d2d3dad7d5e2ffdff8f5dbf9f5daf8f7ddf5f9eee3cde6e9c5e1e7c8e0e7d5e1dfd9d7dfd3d0e4d9d4e0e2"
        "d0e1dac8e5ddc9e4dec1e1e4fcf8e0fbfbe0fafbe0f9fcdfd3e3dcc7e3dac8e5ddc4e2e9e3dcd2d9e1d4d1e1dcd2dfe0"
        "ffe2c5e2e6cbe3e7cee3e8d1fff9eeebedeaebedebeef9f9fffff1f0eae9e8ebf1f0ffffffffe9e0dad6d6dae1e9ffff"
    ),
    "nighthawk": (
        "e8e6e0dcded9d8dddee2e6e8d2d0d6d0cac5c7cbcdd4cfd1d5d1d9d6d2c7cdccd4dbd6d5c8c6c8c2c5bcb8b6c3cac7c9"
        "d3d3d8d1c9cacacdd2d7d1d0cfd0d8d4d0c4c4ced2d7d1d0cbc3c8c5beb5b5bbc2c6c2c8d6d5dad3cdc9ccccd3d9d3d1"
        "cccad4d2c9c1c1c6d1d5cecce5e7e7e4e2dde3e1e8e7e4e5fffee6e1e3dedee3e1eafdfffffee3e3e5e0e0e4e3e5fdff"
    ),
    "boston": (
        "ece3d8e6d7dadbd3e4dbe2eaeee5cae9dfcce5e0d2e0e6d9f6dfeff5d8f4ebe3f5dbf0f6f3ebd5eee5d5eae9d6e5ebda"
        "eccedbe4c7e4dbd3e6c8dfebebe1d4e5d7dadedcdbd6e3e3e9e1d0e3d8d1e0dcd7d7e2d9eccbe1e7c8e7dad2eacde0eb"
        "f7f5d9f6f0dcf4f2ddf0f6dcefe8e6ebe2e7eae5ede3e9f2ffffebe5e0dedfe1e6eaffffffffece4dedbdadee5ecffff"
    ),
}
"""Fingerprints of maps: `fingerprint(error_map(*real(name)))`, looked at on 2026-11-26."""


def listed(name: str, error: float, **values: Any) -> Backend:
    metrics = PerformanceMetrics(two_q_error_median=Metric(error, "1"))
    status = DeviceStatus("online", None)
    return Backend(name, status, values.pop("queue_length", 1), performance_metrics=metrics, **values)


def test_odd_backends_spoil_no_picture_of_the_fleet() -> None:
    odd = [listed("$x^", 0.0), listed("huge", 0.1, qubits=10**9), listed("negative", 0.2, qubits=-1000)]
    figure = fleet_plot([*odd, listed("good", 0.01, qubits=5)])
    assert {text.get_text() for text in figure.axes[0].texts} == {"huge", "negative", "good"}


@pytest.mark.long
def test_thousands_of_backends_have_names_where_there_is_room() -> None:
    crowd = [listed(f"b{number}", 0.001 * (1 + number % 20), queue_length=number) for number in range(500)]
    figure = fleet_plot(crowd)
    figure.draw_without_rendering()
    names = list(figure.axes[0].texts)
    assert 20 < len(names) < 500
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


def test_broken_pairs_that_only_gates_name_are_drawn() -> None:
    configuration, properties = real("fractional")
    flag = Nduv("", "operational", "", 0.0)
    broken = GateProperties(properties.native_entangler or "", (4, 0), (flag,))
    figure = error_map(configuration, replace(properties, gates=(*properties.gates, broken)))
    (lines, *_) = [one for one in figure.axes[0].collections if isinstance(one, LineCollection)]
    assert len(lines.get_segments()) == len(couplings(configuration) | {(0, 4)})
