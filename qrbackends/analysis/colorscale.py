"""Values as colours: the one scale of all device maps, whoever draws them.

The colours go from blue, the best value, over purple to orange, the worst one. They lie on a line of equal
chroma in OKLab (B. Ottosson, 2020), with equal steps in lightness and hue, so that equal steps on the scale
look equally large; blue to yellow is the direction that people with impaired colour vision see, too. Each has
a contrast of 3:1 or more (WCAG 2.2, 1.4.11) to white and to the board's dark background.

The scale is logarithmic. It ends where Tukey's whiskers do, at the outermost values within 1.5 interquartile
ranges of the quartiles, so that a few outliers leave the other values their colours.
"""

from collections.abc import Sequence
from functools import cache
from math import cos, log, radians, sin, sqrt
from statistics import quantiles
from typing import Final, NamedTuple

PAPERS: Final = ("#ffffff", "#0d1117")
"""The backgrounds on which all colours can be told from the background: light and dark."""

UNKNOWN: Final = "#7a7f87"
"""The colour of what is not known; it also has another shape, as it is dotted."""

FAULTY: Final = "#d03050"
"""The colour of what is out of order; it also has another shape, as it is hollow and crossed."""

_STEPS = 255
_LIGHTNESS, _CHROMA, _HUES = (0.51, 0.67), 0.14, (262.0, 425.0)  # in OKLCH; hues in degrees
_WHISKER = 1.5  # interquartile ranges
_SMALLEST, _LARGEST = 1e-100, 1e300  # of the values on a logarithmic scale, on which 0 has no place
_INK = 0.179  # the luminance at which black and white are equally easy to read


class Tick(NamedTuple):
    """A number at a colour scale: its place, from 0 for the best colour to 1 for the worst, and its value.

    Attributes:
        place: from 0 to 1.
        value: in the unit of the scale's values.
    """

    place: float
    value: float


class ColorScale:
    """A logarithmic scale from values to colours.

    Args:
        values: the values that count; zeros have the colour of the best ones.
        high_is_good: whether the best value is the highest one.

    Attributes:
        ticks: the ends of the scale and its middle.
        beyond: how many values are worse than the scale's end; they have the worst colour.
        extreme: the worst of all values.
    """

    def __init__(self, values: Sequence[float], *, high_is_good: bool) -> None:
        known = sorted(min(max(value, _SMALLEST), _LARGEST) for value in values)
        low, high = _whiskers([value for value in known if value > _SMALLEST] or [1.0])
        if low == high:
            low, high = low / 2, min(high * 2, _LARGEST)
        self._best, self._worst = (high, low) if high_is_good else (low, high)
        self.ticks = (Tick(0.0, self._best), Tick(0.5, sqrt(low) * sqrt(high)), Tick(1.0, self._worst))
        self.beyond = sum(value < low if high_is_good else value > high for value in known)
        self.extreme = (known[0] if high_is_good else known[-1]) if known else self._worst

    def place(self, value: float) -> float:
        """Return a value's place on the scale, from 0 for the best colour to 1 for the worst."""
        best, worst = log(self._best), log(self._worst)
        part = (log(max(value, _SMALLEST)) - best) / (worst - best)
        return min(max(part, 0.0), 1.0)

    def color(self, value: float) -> str:
        """Return a value's colour, such as `#3762b5`."""
        return color_at(self.place(value))


def color_at(place: float) -> str:
    """Return the colour at a place from 0, the best, to 1, the worst."""
    return _colors()[round(_STEPS * min(max(place, 0.0), 1.0))]


def ink_on(color: str) -> str:
    """Return black or white, whichever is easier to read on a colour; the contrast is 4.5:1 or more."""
    return "#000000" if luminance(color) > _INK else "#ffffff"


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance of a colour such as `#3762b5`, from 0 to 1 (WCAG 2.2)."""
    channels = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _whiskers(known: Sequence[float]) -> tuple[float, float]:
    """Return the outermost of these positive values, in ascending order, that are no outliers."""
    if len(known) < 4:
        return known[0], known[-1]
    lower, _, upper = quantiles(map(log, known), n=4, method="inclusive")
    reach = _WHISKER * (upper - lower)
    inside = [value for value in known if lower - reach <= log(value) <= upper + reach] or known
    return inside[0], inside[-1]


@cache
def _colors() -> tuple[str, ...]:
    return tuple(_oklch(step / _STEPS) for step in range(_STEPS + 1))


def _oklch(part: float) -> str:
    lightness = _LIGHTNESS[0] + (_LIGHTNESS[1] - _LIGHTNESS[0]) * part
    hue = radians(_HUES[0] + (_HUES[1] - _HUES[0]) * part)
    a, b = _CHROMA * cos(hue), _CHROMA * sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(max(one, 0.0), 1.0))):02x}" for one in linear)


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
