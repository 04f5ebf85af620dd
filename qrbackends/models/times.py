"""Times as the service writes them."""

from datetime import UTC, datetime
from typing import overload


@overload
def aware(when: datetime) -> datetime: ...
@overload
def aware(when: None) -> None: ...
def aware(when: datetime | None) -> datetime | None:
    """Return `when` with a time zone: UTC where it has none, as the service's times without one are UTC."""
    return when if when is None or when.tzinfo is not None else when.replace(tzinfo=UTC)
