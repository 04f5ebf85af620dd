"""The language of the fleet's filter: `qubits>100 2q<3e-3 heron ibm_*`.

All of its terms, between spaces, have to hold. A term is a word, which any cell has to contain; a word with
`*` or `?`, which a whole text has to match; or a comparison with a column. Case does not matter. The same
language is in `static/filter.js`; a test holds them together.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from .columns import BY_KEY, Value

LONGEST: Final = 500
"""Characters of a filter; the rest is not read."""

_MOST = 32  # terms; a page is filtered for each visitor
_TERM = re.compile(r"([a-z0-9_]+)(<=|>=|!=|=|<|>)(.+)")
_NUMBER = re.compile(r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]{1,3})?)([a-zµ%]*)")
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}
_TIMES = {"": 1.0, "us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}  # in microseconds
_AGES = {"": 3600.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "y": 31557600.0}  # in seconds
_PARTS = {"": 1.0, "%": 0.01}
_COUNTS = {"": 1.0, "k": 1e3}
_UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    "t1": _TIMES,
    "t2": _TIMES,
    "age": _AGES,
    "readout": _PARTS,
    "2q": _PARTS,
}


class Filtered(NamedTuple):
    """What a filter looks at in a row: the values of its columns, and its texts in lower case."""

    values: Mapping[str, Value]
    texts: Sequence[str]

    @classmethod
    def of(cls, values: Mapping[str, Value], texts: Iterable[str]) -> "Filtered":
        """Return what a filter looks at in a row with texts in any case."""
        return cls(values, tuple(text.lower() for text in texts))


class Filter(NamedTuple):
    """A filter that was read.

    Attributes:
        tests: what a row has to pass.
        problems: a sentence for each term that could not be read, and does not count.
    """

    tests: tuple[Callable[[Filtered], bool], ...]
    problems: tuple[str, ...]

    def __call__(self, row: Filtered) -> bool:
        """Return whether a row passes."""
        return all(test(row) for test in self.tests)


def parsed(text: str) -> Filter:
    """Return the filter that a text means."""
    tests, problems = [], []
    terms = text[:LONGEST].lower().split()
    if len(terms) > _MOST:
        problems.append(f"Only the first {_MOST} terms count.")
    for term in terms[:_MOST]:
        found = _TERM.fullmatch(term)
        test = _word(term) if found is None else _comparison(*found.groups())
        if isinstance(test, str):
            problems.append(test)
        else:
            tests.append(test)
    return Filter(tuple(tests), tuple(problems))


def _word(word: str) -> Callable[[Filtered], bool]:
    if "*" in word or "?" in word:
        pattern = word.replace("[", "[[]")
        return lambda row: any(fnmatchcase(text, pattern) for text in row.texts)
    return lambda row: any(word in text for text in row.texts)


def _comparison(key: str, sign: str, wanted: str) -> Callable[[Filtered], bool] | str:
    """Return what compares a column, or a sentence about why that is not possible."""
    column = BY_KEY.get(key)
    if column is None:
        return f"There is no column {key}; there are {', '.join(BY_KEY)}."
    if not column.is_number:
        return _text_comparison(key, sign, wanted)
    found, units = _NUMBER.fullmatch(wanted), _UNITS.get(key, _COUNTS)
    if found is None or found[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        return f"{key}{sign}{wanted} needs a number, such as {key}{sign}100; units are {known}."
    number, compare = float(found[1]) * units[found[2]], _COMPARE[sign]

    def test(row: Filtered) -> bool:
        value = row.values[key]
        return isinstance(value, float) and compare(value, number)

    return test


def _text_comparison(key: str, sign: str, wanted: str) -> Callable[[Filtered], bool] | str:
    if sign not in ("=", "!="):
        return f"{key} is a text: compare it with = or !=."
    pattern = wanted.replace("[", "[[]")

    def test(row: Filtered) -> bool:
        return fnmatchcase(str(row.values[key] or "").lower(), pattern) is (sign == "=")

    return test
