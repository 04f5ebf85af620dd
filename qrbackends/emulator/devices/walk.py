"""How a calibrated value changes with time: around a mean of its own, with a slow drift and noise.

The value is a pure function of the seed and the hour, so that the value of any hour can be computed without
those of the hours before.
"""

from math import sin, sqrt, tau
from random import Random

# Hours: about a day, a week, and the time between cool-downs. No one divides another: no state recurs.
_PERIODS = (23.93, 161.8, 1013.0)
_OMEGAS = tuple(tau / period for period in _PERIODS)

# Standard deviations of the mean, of the drift and of the noise; the variances add up to 1.
_MEAN, _DRIFT, _NOISE = sqrt(0.86), sqrt(0.11), sqrt(0.03)
_DRIFT_SCALE = _DRIFT * sqrt(2 / len(_PERIODS))  # a sine has the variance 1/2
_NOISE_SCALE = _NOISE * sqrt(3)  # a uniform distribution over [-1, 1) has the variance 1/3

_MASK = (1 << 64) - 1


class Walk:
    """A value that changes with time around its own mean; over all walks it has mean 0 and variance 1.

    Args:
        random: draws the mean, and the phases of the drift.
        cadence: hours between two measurements; the value stays the same between them.
    """

    __slots__ = ("_cadence", "_key", "_mean", "_phases")

    def __init__(self, random: Random, cadence: int) -> None:
        self._mean = random.gauss(0.0, 1.0) * _MEAN
        self._phases = (random.random() * tau, random.random() * tau, random.random() * tau)
        self._key = random.getrandbits(64)
        self._cadence = cadence

    def measured(self, hour: int) -> int:
        """Return the hour of the last measurement at or before `hour`."""
        return hour - (hour + self._key) % self._cadence

    def at(self, hour: int) -> float:
        """Return the value of the last measurement at or before `hour`."""
        measured = hour - (hour + self._key) % self._cadence
        a, b, c = self._phases
        u, v, w = _OMEGAS
        drift = sin(u * measured + a) + sin(v * measured + b) + sin(w * measured + c)
        return self._mean + _DRIFT_SCALE * drift + _NOISE_SCALE * _noise(self._key, measured)


def _noise(key: int, hour: int) -> float:
    """Return a number in [-1, 1), uniform over the hours (the finaliser of splitmix64; needs no state)."""
    mixed = (key + hour * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return (mixed ^ (mixed >> 31)) / (1 << 63) - 1.0
