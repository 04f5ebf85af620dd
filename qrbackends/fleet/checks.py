"""Checks of the conditions by which backends are chosen; what they raise says what to give instead."""

from math import inf
from typing import Any

from ..errors import InvalidRequest
from ..models.integers import is_number, whole


def check_count(name: str, value: object) -> None:
    """Raise `InvalidRequest` unless a value is None or a whole number, 0 or more."""
    number = whole(value)
    is_right = value is None or (number is not None and number >= 0)
    _check(is_right, name, "a whole number, 0 or more", value)


def check_amount(name: str, value: object) -> None:
    """Raise `InvalidRequest` unless a value is None or a number, 0 or more."""
    _check(_is_within(value, inf), name, "a number, 0 or more", value)


def check_probability(name: str, value: object) -> None:
    """Raise `InvalidRequest` unless a value is None or a number from 0 to 1."""
    _check(_is_within(value, 1.0), name, "a probability from 0 to 1", value)


def check_choice(name: str, value: object) -> None:
    """Raise `InvalidRequest` unless a value is None, True or False."""
    _check(value is None or isinstance(value, bool), name, "True, False or None", value)


def check_callable(name: str, value: object, example: str) -> None:
    """Raise `InvalidRequest` unless a value can be called."""
    _check(callable(value), name, f"a function, such as {example}", value)


def check_where(value: object) -> None:
    """Raise `InvalidRequest` unless a value is None or can be called."""
    if value is not None:
        check_callable("where", value, "lambda one: one.queue_length < 5")


def _is_within(value: Any, most: float) -> bool:
    return value is None or (is_number(value) and 0 <= value <= most)


def _check(is_right: bool, name: str, what: str, value: object) -> None:
    if not is_right:
        raise InvalidRequest(f"{name} has to be {what}, and not {value!r:.80}")
