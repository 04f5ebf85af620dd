"""Integers as the service may send them."""

from typing import Annotated, TypeAlias

from msgspec import Meta

Integer: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of 64 bits; a larger one fits into no table, and not even into a float."""
