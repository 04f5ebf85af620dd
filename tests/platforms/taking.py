"""What `windows` and `macos` take this system's parts away with."""

from typing import Any


def missing(module: Any, *names: str) -> None:
    """Delete those of these names that a module has."""
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


def instead(module: Any, **values: Any) -> None:
    """Set names of a module or a class."""
    for name, value in values.items():
        setattr(module, name, value)
