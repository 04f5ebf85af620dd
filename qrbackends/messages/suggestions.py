"""What is said of a name that there is not: the known names that are most like it."""

import heapq
import re
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from itertools import islice, takewhile
from typing import Final

from ..errors import NotFound
from .counts import noun

_MOST_KNOWN: Final = 10_000  # names that are looked at
_LONGEST: Final = 64  # characters of a name; to compare two longer ones may take milliseconds
_COMPARED: Final = 32  # names that are compared in full
_SUGGESTED: Final = 3
_LISTED: Final = 20
_LIKE: Final = 0.6  # how like two names have to be, from 0 to 1, as for `difflib.get_close_matches`
_MUCH_ALIKE: Final = 0.75  # although a part that they share does not count
_AS_PART: Final = 0.85
_FARTHER: Final = 0.15  # how much less like it than the nearest one another name may be
_SEPARATORS = re.compile(r"[-_ :./]+")


def nearest(name: object, known: Iterable[str]) -> tuple[str, ...]:
    """Return the known names that are most like a name, at most 3 of them and the nearest first.

    Case and separators do not count, nor does a beginning that both names share, such as `ibm_`, unless all
    of the names is much alike. A part between separators may stand for a name: `boston` for `ibm_boston`.
    What is no text, has control characters or is longer than 64 characters is like none: names may come from
    a network, and many of them, so that the time is bounded.
    """
    asked = _plain(name)
    if asked is None:
        return ()
    plain = {one: form for one in islice(known, _MOST_KNOWN) if (form := _plain(one)) is not None}
    same = [one for one, form in plain.items() if form == asked]
    if same:
        return tuple(sorted(same)[:_SUGGESTED])
    found = _by_part(asked, plain)
    if found is None:
        return ()
    pairs = _pairs(asked)
    for one in heapq.nlargest(_COMPARED, plain, key=lambda one: _common(pairs, _pairs(plain[one]))):
        if likeness := _likeness(asked, plain[one]):
            found[one] = max(likeness, found.get(one, 0.0))
    least = max(found.values(), default=0.0) - _FARTHER
    ordered = sorted(found, key=lambda one: (-found[one], one))
    return tuple(one for one in ordered[:_SUGGESTED] if found[one] >= least)


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a question such as `did you mean ibm_boston?`.

    It is an empty text if no known name is like it, or if it is known itself.
    """
    return _question(_meant(name, known))


def _meant(name: object, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names that are most like one that is not known; none for one that is."""
    names = nearest(name, known)
    return () if name in names else names


def _question(names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ""
    *others, last = names
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def instead(name: object, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return `did_you_mean`; if no known name is like it, say which there are, after `otherwise` if given."""
    names = list(islice(known, _MOST_KNOWN))
    question = did_you_mean(name, names)
    if question:
        return question
    shown = [one for one in names if _plain(one) is not None]
    more = f" and {len(shown) - _LISTED:,} more" if len(shown) > _LISTED else ""
    begin = otherwise or noun(len(shown), "there is", "there are")
    return f"{begin} {', '.join(shown[:_LISTED]) or 'none'}{more}"


def suggested(text: str, name: object, known: Iterable[str]) -> str:
    """Return a text with `did_you_mean` at its end, if a known name is like the one that was asked for."""
    return with_question(text, _meant(name, known))


def with_question(text: str, names: Iterable[str]) -> str:
    """Return a text with the question at its end whether one of these names was meant, if there are any."""
    question = _question(names)
    return f"{text}; {question}" if question else text


def suggest(error: NotFound, known: Collection[str]) -> None:
    """Add the known names that are most like the backend's to an error, unless it has some, or is known."""
    if error.backend is None or error.suggestions or error.backend in known:
        return
    error.suggestions = nearest(error.backend, known)
    if error.suggestions:
        add(error, _question(error.suggestions))


def retract(error: NotFound) -> None:
    """Take the names that `suggest` added out of an error."""
    if error.suggestions:
        error.message = error.message.removesuffix(f"; {_question(error.suggestions)}")
        error.args, error.suggestions = (error.message,), ()


def add(error: NotFound, hint: str) -> None:
    """Add a hint to the end of an error's message."""
    error.message = f"{error.message.rstrip('.')}; {hint}"
    error.args = (error.message,)


def _plain(name: object) -> str | None:
    """Return a name by which it is compared, or None for one that is compared with none."""
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST or not name.isprintable():
        return None
    return _SEPARATORS.sub("_", name.casefold()).strip("_") or None


def _by_part(asked: str, plain: dict[str, str]) -> dict[str, float] | None:
    """Return the names of which this is a part, or that are a part of it; None if these are most names."""
    found = [one for one, form in plain.items() if _is_part(asked, form) or _is_part(form, asked)]
    few = len(found) <= max(_SUGGESTED, len(plain) // 2)
    return dict.fromkeys(found, _AS_PART) if few else None


def _is_part(part: str, name: str) -> bool:
    return f"_{part}_" in f"_{name}_"


def _pairs(name: str) -> set[tuple[str, str]]:
    """Return the pairs of neighbouring characters: what they have in common is found quickly."""
    return set(zip(f"_{name}", f"{name}_", strict=True))


def _common(some: set[tuple[str, str]], others: set[tuple[str, str]]) -> float:
    return len(some & others) / (len(some) + len(others))


def _likeness(one: str, other: str) -> float:
    """Return how like two names are, from 0 to 1; 0 if they are not like enough."""
    whole = _ratio(one, other)
    some, others = one.split("_"), other.split("_")
    pairs = zip(some[:-1], others[:-1], strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    rest = _ratio("_".join(some[shared:]), "_".join(others[shared:])) if shared else whole
    return whole if whole >= _MUCH_ALIKE or rest >= _LIKE else 0.0


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other, autojunk=False).ratio()
