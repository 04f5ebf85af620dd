"""Credentials, kept out of reprs, logs, exceptions and pickles."""

import hmac
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeAlias

from ..errors import AccountError

LEAST_SEARCHED = 8
"""The length from which on a secret is searched for in texts: shorter ones occur in words by chance."""


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
            raise AccountError("a credential has to be a non-empty text of printable ASCII characters")
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


Bearer: TypeAlias = tuple[str, float]
"""A bearer token and the time at which it expires, in Unix seconds."""

BearerProvider: TypeAlias = Callable[[], Awaitable[Bearer]]
"""An async callable that returns a new bearer token."""
