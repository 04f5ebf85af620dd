"""What is said of input that is not as it should be: which field, and why."""

import re
from collections.abc import Collection, Iterable

import msgspec

from ...messages.suggestions import instead, nearest

_WHERE = re.compile(r"(?P<why>.*) - at (?:`key` in )?`\$\.?(?P<path>.*)`", re.DOTALL)
_CHOICE = re.compile(r"Invalid (?:enum )?value '(?P<given>.*)'")
_FIELD = re.compile(r"(?:missing required|contains unknown) field `(?P<name>[^`]*)`")


class UnknownName(ValueError):
    """There is nothing of that name.

    Attributes:
        field: what was named: `backend`, `region` or `fault`.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NoSuchBackend(UnknownName):
    """The fleet has no backend of that name, or none was named."""

    def __init__(self, message: str) -> None:
        super().__init__("backend", message)


def known_backend(name: str, known: Iterable[str]) -> str:
    """Return the name if it is among the known ones.

    Raises:
        NoSuchBackend: it is not; the error has the name that is most like it.
    """
    names = set(known)
    if name in names:
        return name
    raise NoSuchBackend(f"the fleet has no backend {name!r:.100}; {instead(name, sorted(names), 'it has')}")


def located(error: msgspec.ValidationError, words: Collection[str]) -> tuple[str, str]:
    """Return the path of the field that an error is about, such as `action.seconds`, and what is wrong.

    Args:
        error: the error.
        words: the words among which there is a choice.
    """
    match = _WHERE.fullmatch(str(error))
    path, why = (match["path"], match["why"]) if match else ("", str(error))
    if (field := _FIELD.search(why)) is not None:
        path = f"{path}.{field['name']}".lstrip(".")
    if (choice := _CHOICE.fullmatch(why)) is not None:
        near = nearest(choice["given"], words)
        why += f"; did you mean '{near[0]}'?" if near else ""
    return path, why
