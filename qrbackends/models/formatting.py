"""Numbers as texts for people, and texts of the service as visible ones."""

DASH = "–"
"""Shown in place of a value that is not known."""


def scaled(value: float | None, scale: float, digits: int = 1) -> str:
    """Return an SI value as text in a smaller unit, of which `scale` make one SI unit."""
    return DASH if value is None else f"{value * scale:.{digits}f}"


def probability(value: float | None) -> str:
    """Return an error probability with three significant digits, such as `2.31e-3`."""
    if value is None:
        return DASH
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    if not exponent:  # infinity
        return mantissa
    return f"{mantissa}e{int(exponent)}" if value else "0"


def visible(text: str, longest: int) -> str:
    """Return a text of any characters as one of at most `longest` visible ones.

    Those that are not printable, such as control, bidirectional and zero-width characters, are escaped as in
    Python's literals; a text that is cut ends with `…`.
    """
    head = text[:longest]
    if head.isprintable():
        return text if len(text) <= longest else f"{head[:-1]}…"
    escaped = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in head)
    return escaped if len(text) <= longest >= len(escaped) else f"{escaped[: longest - 1]}…"
