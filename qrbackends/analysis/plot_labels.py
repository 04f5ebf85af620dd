"""Names beside the points of a plot, placed so that none covers another name or a point."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Final, NamedTuple, TypeAlias

POINTS_PER_INCH: Final = 72.0

_SIZE = 7  # points: the font
_HALF_DIGIT, _HALF_LINE = 2.1, 4.5  # points: half of what a character takes across, and a line upward
_CELL = 20.0  # points
_DISTANCE = 3  # points between a circle and its name
_OFFSETS: Final = [  # where a name may be, in its own sizes, the best place first
    (far * across, far * up)
    for far in (1.0, 1.8, 2.8, 4.0)
    for across, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 1), (0.8, -1), (-0.8, 1), (-0.8, -1))
]
_LINE: Final = {"arrowstyle": "-", "color": "#777777", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0}

_Box: TypeAlias = tuple[float, float, float, float]  # pixels: left, bottom, right, top


class LabelledPoint(NamedTuple):
    """A circle in a plot, and its name.

    Attributes:
        x, y: its centre, in the units of the axes.
        radius: in points.
        name: what is written beside it.
    """

    x: float
    y: float
    radius: float
    name: str


def label(figure: Any, axes: Any, points: Sequence[LabelledPoint]) -> int:
    """Write the name of each point beside it, and return the number of names for which there is no room.

    A line leads from a name that is not next to its point.

    Args:
        figure: the matplotlib figure; its layout is computed.
        axes: the axes in it, complete but for the names.
        points: those that come first are named first.
    """
    figure.draw_without_rendering()
    pixel = figure.dpi / POINTS_PER_INCH  # pixels in a point
    centres: Any = axes.transData.transform([(point.x, point.y) for point in points]).tolist()
    taken = _Boxes(_CELL * pixel)
    for (x, y), point in zip(centres, points, strict=True):
        taken.add(_box(x, y, point.radius * pixel, point.radius * pixel))
    frame = axes.get_window_extent()
    nameless = 0
    for (x, y), point in zip(centres, points, strict=True):
        half_width, half_height = _HALF_DIGIT * len(point.name) * pixel, _HALF_LINE * pixel
        away = (point.radius + _DISTANCE) * pixel
        for across, up in _OFFSETS:
            right, above = across * (half_width + away), up * (half_height + away)
            box = _box(x + right, y + above, half_width, half_height)
            inside = frame.x0 < box[0] and box[2] < frame.x1 and frame.y0 < box[1] and box[3] < frame.y1
            if inside and not taken.overlap(box):
                taken.add(box)
                axes.annotate(
                    point.name,
                    (point.x, point.y),
                    xytext=(right / pixel, above / pixel),
                    textcoords="offset points",
                    ha="center",
                    va="center",
                    fontsize=_SIZE,
                    parse_math=False,
                    zorder=4,
                    arrowprops=_LINE if max(abs(across), abs(up)) > 1.0 else None,
                )
                break
        else:
            nameless += 1
    return nameless


class _Boxes:
    """Boxes by the square cells that they touch, so that few have to be compared."""

    def __init__(self, cell: float) -> None:
        self._cell = cell
        self._boxes: defaultdict[tuple[int, int], list[_Box]] = defaultdict(list)

    def add(self, box: _Box) -> None:
        for cell in self._cells(box):
            self._boxes[cell].append(box)

    def overlap(self, box: _Box) -> bool:
        return any(_overlap(box, other) for cell in self._cells(box) for other in self._boxes.get(cell, ()))

    def _cells(self, box: _Box) -> Iterable[tuple[int, int]]:
        left, bottom, right, top = (int(edge // self._cell) for edge in box)
        return product(range(left, right + 1), range(bottom, top + 1))


def _box(x: float, y: float, half_width: float, half_height: float) -> _Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
