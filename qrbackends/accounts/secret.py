"""Credentials, kept out of reprs, logs, exceptions and pickles."""

import hmac
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeAlias

from ..errors import AccountError

LEAST_SEARCHED = 8
"""The length from which on a secret is searched for in texts: shorter ones occur in words by chance."""


_QUOTATION_MARKS = "\"'`“”‘’«»"


class Secret:
    """A text that its repr does not show and that cannot be pickled; only `reveal()` returns it.

    Two secrets are compared by value, in constant time.

    Args:
        text: printable ASCII characters, at least one.

    Raises:
        AccountError: the text is empty, or has other characters.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable():
            ends = odd_ends(text) if isinstance(text, str) else ""
            problem = "a credential has to be a non-empty text of printable ASCII characters"
            raise AccountError(f"{problem}; {ends}" if ends else problem)
        self._text = text

    def prefixed(self, text: str) -> "Secret":
        """Return a secret that consists of `text` and this secret's text."""
        return Secret(text + self._text)

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text, other._text)

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled; load the account anew in each process")


def odd_ends(text: str) -> str:
    """Return what a credential begins or ends with that belongs to none, as part of a sentence; or nothing.

    Such characters come along when a credential is copied or read from a file.
    """
    ends = (("begins", text[:1]), ("ends", text[-1:]))
    found = [f"it {where} with {what}" for where, one in ends if (what := _stray(one))]
    return " and ".join(found)


def _stray(character: str) -> str | None:
    if character in ("\r", "\n"):
        return "a line break"
    if character.isspace():
        return "white space"
    return "a quotation mark" if character and character in _QUOTATION_MARKS else None


Bearer: TypeAlias = tuple[str, float]
"""A bearer token and the time at which it expires, in Unix seconds."""

BearerProvider: TypeAlias = Callable[[], Awaitable[Bearer]]
"""An async callable that returns a new bearer token."""
