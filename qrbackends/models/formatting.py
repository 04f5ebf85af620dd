"""Numbers as texts for people."""

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
