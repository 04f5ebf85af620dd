"""The scale of all device maps: visible on both backgrounds, even, and not flattened by outliers."""

from itertools import pairwise
from math import dist

import pytest

from qrbackends.analysis.colorscale import (
    FAULTY,
    PAPERS,
    UNKNOWN,
    ColorScale,
    color_at,
    contrast,
    ink_on,
    luminance,
)

PLACES = [step / 100 for step in range(101)]


def oklab(color: str) -> tuple[float, float, float]:
    """Return a colour in B. Ottosson's OKLab, from sRGB and not from how the scale makes its colours."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    r, g, b = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # a known pair of its techniques
    assert contrast("#ffffff", "#ffffff") == 1


@pytest.mark.parametrize("paper", PAPERS)
def test_each_colour_can_be_told_from_each_background(paper: str) -> None:
    assert min(contrast(color, paper) for color in (*map(color_at, PLACES), UNKNOWN, FAULTY)) >= 3


def test_each_number_can_be_read_on_each_colour() -> None:
    assert min(contrast(color, ink_on(color)) for color in map(color_at, PLACES)) >= 4.5


def test_equal_steps_look_equally_large() -> None:
    steps = [dist(*map(oklab, map(color_at, pair))) for pair in pairwise(PLACES[::10])]
    assert max(steps) / min(steps) < 1.15
    lights = [luminance(color_at(place)) for place in PLACES[::10]]
    assert lights == sorted(lights), "in grey, too, worse is lighter"


def test_outliers_do_not_flatten_the_rest() -> None:
    usual = [0.001 * 1.02**step for step in range(100)]
    alone, among = ColorScale(usual, high_is_good=False), ColorScale([*usual, 0.4, 0.9], high_is_good=False)
    assert (alone.beyond, among.beyond, among.extreme) == (0, 2, 0.9)
    assert [among.color(one) for one in usual] == [alone.color(one) for one in usual]
    assert among.color(0.4) == among.color(0.9) == color_at(1.0)
    assert [tick.value for tick in among.ticks] == pytest.approx(
        [usual[0], (usual[0] * usual[-1]) ** 0.5, usual[-1]]
    )


@pytest.mark.parametrize("high_is_good", [False, True])
def test_the_best_is_at_one_end_and_the_worst_at_the_other(high_is_good: bool) -> None:
    scale = ColorScale([1.0, 2.0, 4.0], high_is_good=high_is_good)
    places = [scale.place(one) for one in (1.0, 2.0, 4.0)]
    assert places == pytest.approx([1.0, 0.5, 0.0] if high_is_good else [0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    "values", [[], [0.0], [0.0, 0.0, 1.0], [1e-3] * 9, [1e308, 5e-324], [1e-3] * 9 + [1.0]]
)
def test_any_values_have_colours(values: list[float]) -> None:
    for high_is_good in (False, True):
        scale = ColorScale(values, high_is_good=high_is_good)
        assert all(0 <= scale.place(value) <= 1 for value in values)
        assert all(scale.color(value).startswith("#") for value in values)
