"""How calibrated values wander: slowly, around a value of their own, and the same way every time.

A walk is a pure function of its seed and the hour, so that any past hour can be asked for without going
through the hours in between.
"""

from math import sin, sqrt, tau
from random import Random

# Hours: the day, the week and the cool-downs, none a multiple of another, so that no state comes back.
_PERIODS = (23.93, 161.8, 1013.0)
_OMEGAS = tuple(tau / period for period in _PERIODS)

# The shares of variance of what stays, what drifts and what jumps from hour to hour; together they are 1.
_STAYS, _DRIFTS, _JUMPS = sqrt(0.86), sqrt(0.11), sqrt(0.03)
_DRIFT_SCALE = _DRIFTS * sqrt(2 / len(_PERIODS))
_JUMP_SCALE = _JUMPS * sqrt(3)

_MASK = (1 << 64) - 1


class Walk:
    """A value with mean 0 and variance 1 over all walks, that reverts to its own mean over time.

    Args:
        random: where its own mean and its phases are drawn from.
        cadence: it is measured anew every so many hours only.
    """

    __slots__ = ("_cadence", "_key", "_mean", "_phases")

    def __init__(self, random: Random, cadence: int) -> None:
        self._mean = random.gauss(0.0, 1.0) * _STAYS
        self._phases = (random.random() * tau, random.random() * tau, random.random() * tau)
        self._key = random.getrandbits(64)
        self._cadence = cadence

    def measured(self, hour: int) -> int:
        """Return the hour of the last measurement, at or before `hour`."""
        return hour - (hour + self._key) % self._cadence

    def at(self, hour: int) -> float:
        """Return the value as measured last."""
        measured = hour - (hour + self._key) % self._cadence
        a, b, c = self._phases
        u, v, w = _OMEGAS
        drift = sin(u * measured + a) + sin(v * measured + b) + sin(w * measured + c)
        return self._mean + _DRIFT_SCALE * drift + _JUMP_SCALE * _noise(self._key, measured)


def _noise(key: int, hour: int) -> float:
    """A number in [-1, 1) from a 64-bit mix (the finaliser of splitmix64): no state, no replay."""
    mixed = (key + hour * 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return (mixed ^ (mixed >> 31)) / (1 << 63) - 1.0
