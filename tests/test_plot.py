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
from matplotlib.text import Annotation

from qrbackends import BackendProperties, Client, Gap, InvalidRequest, ServerError, UnknownQubit
from qrbackends.emulator import Emulator
from qrbackends.plot import error_map, fleet_plot, history_plot

from .snapshots import real

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
    rendered(figure, dpi)
    (axes, *bars) = figure.axes
    numbers = [text for text in axes.texts if text.get_text().isdecimal()]
    assert len(numbers) == real(name)[0].n_qubits
    assert_no_collisions(figure, [*numbers, *(bar.xaxis.label for bar in bars)])
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
    assert f"{properties.last_update_date:%Y-%m-%d}" in figure.get_suptitle()
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


async def test_no_labels_of_a_fleet_collide() -> None:
    async with Emulator("snapshots") as emulator, Client(emulator.account()) as client:
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
        "import sys; import qrbackends.plot; "
        "print('matplotlib.pyplot' in sys.modules)"  # whose figures live until somebody closes them
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.stdout == "False\n"
    error_map(*real("fractional")).savefig(io.BytesIO())
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; import qrbackends.plot"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "qrbackends[plot]"' in outcome.stderr


PICTURES = {
    "fractional": (
        "fffbe7e8ece9efe5ede6fcffffffffc9f4ffffffffffffffffffff9be4fffffffffffffffffffffdd1f5a4e4b1ffffff"
        "ffffffffaecf42995affffffffffffe4eefff5fef5ffffffffffffb8eafffffffffffffffffffff6ffffffffffffffff"
        "ffffe9d2d6cbc7c2c6e1fffffffffdf9fbe0e8f8fffffffffffbe0d6d5c8ccc8c0d1fefffffdfaffffedf2fffdfaffff"
    ),
    "hanoi": (
        "fffffff0f0eff1efefffffffffffffe2f3ffffefe4fffffff9f8f9dbecf7f6e8daf3f7ffcfc5cac6beb9b1adad9dc5ff"
        "ffd5f8ffffced7fffff6d5ffffddeceae0d9e2ecece7dcebffdcdacfc7ccd3d6d1d1d5d9ffffffccebffffebdcffffff"
        "fffff5edece9e7e4e1eeffffffffeae7ecdcd8d8d7eeffffffffeee0ddcecdd1cde2fffffffff3f9f5f7effffaf7ffff"
    ),
    "brisbane": (
        "e6dfdcd1c8cfd3dfccd4e3ffe2f8f9e2faf6d7f9f7e1fafbede1c4e1e6b8d8dfc2dce1d8e5dfd6d8d5c8cde2d1dadedf"
        "d3e3dfcae8e0caeadcbae6e8f9f9d9f6f9ddf8f9dcf2f7dddce4d4c8ded3c7e3d1c0e3eae0ced0c9dfd2c7e7d8cbdfe0"
        "fff1c6eaf0d3ecefd3eff0e1fff0e4e8efebeaefeaeef0f4fffff4e8e9e0dededdeaffffffffeee4e4e0d8d6d4e7ffff"
    ),
    "nighthawk": (
        "ede0d6cfd7d1d2d9d7d8deece6d7d8d4cad3d0d1ccd1d8e8e3cdcbcdcabdc6cdcecbd1e4dfc9c8c1c6c1bdafc7cac8de"
        "e8d9d6d1cacfd3cfd5d2d6e6dec9cccbc2b6bdc1cbc8cae0e0c7c7c4bbbba1babebfc6dfe7d9d4d0c8cdcfcdd3d2d3e5"
        "dbc3c2c6bdb6babbc3c3c1daf2eaebe8e6e7e9e7eaeae8f2fffff6efeddce1e7e0f0fffffffff6eee7e0dbe2e1f0ffff"
    ),
    "boston": (
        "ede6dbe4d7dedad1e3daebeef1ead4e7e3c9e6e4d5e3e7dff8e1f2f6d8f2e9e7f6d8f5f8f1e9d2e6decfe6e5d2e1e7de"
        "edd5dde3cbe4d9d9e2cae3eeeee0d7e4c4ddd9dbdcd1e6eaebe4cbded9cfdedbccd7e0daf4d4e9eed2eddfddeed2eef4"
        "f6f4daeeeed9f0efdaeef1e1ebe3dbe2d1d9e0dee4dbe5edfffff2eceadfe0e2dcebfffffffff2ebe9e1e0e0daeaffff"
    ),
}
"""Fingerprints of maps: `fingerprint(error_map(*real(name)))`, looked at on 2026-11-24."""
