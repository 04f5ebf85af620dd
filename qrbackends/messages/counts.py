"""Numbers of things: `1 job`, `2 jobs`."""


def noun(number: float | None, one: str, more: str | None = None) -> str:
    """Return a noun in the form that follows a number; `more` is its plural, by default with an `s`."""
    return one if number == 1 else more or f"{one}s"


def counted(number: int, one: str, more: str | None = None) -> str:
    """Return a number and its noun, with commas between thousands."""
    return f"{number:,} {noun(number, one, more)}"
