"""The documents as others would model them."""

from typing import Any

import pydantic
from msgspec import Struct


class PydanticNduv(pydantic.BaseModel):
    date: str
    name: str
    unit: str
    value: float


class PydanticGate(pydantic.BaseModel):
    gate: str
    qubits: list[int | str]
    parameters: list[PydanticNduv]
    name: str | None = None


class PydanticProperties(pydantic.BaseModel):
    backend_name: str
    backend_version: str
    last_update_date: Any
    qubits: list[list[PydanticNduv]]
    gates: list[PydanticGate]
    general: list[PydanticNduv]


class PydanticConfiguration(pydantic.BaseModel, extra="allow"):
    backend_name: str
    backend_version: str
    n_qubits: int
    basis_gates: list[str]
    coupling_map: list[list[int]] | None = None


class MinimalNduv(Struct, frozen=True, gc=False):
    """The least that keeps what is measured."""

    date: str
    name: str
    unit: str
    value: float


class MinimalGate(Struct, frozen=True, gc=False):
    gate: str
    qubits: tuple[int, ...]
    parameters: tuple[MinimalNduv, ...]
    name: str | None = None


class MinimalProperties(Struct, frozen=True, gc=False):
    backend_name: str
    backend_version: str
    last_update_date: str
    qubits: tuple[tuple[MinimalNduv, ...], ...]
    gates: tuple[MinimalGate, ...]
    general: tuple[MinimalNduv, ...]
