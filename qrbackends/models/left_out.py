"""What all documents have: whether they are emulated, and what was left out of them as it was odd."""

from typing import ClassVar, Final

from .shown import Shown

MOST_TOLD: Final = 100
"""The parts of one document that `left_out` tells of; `left_out_count` has them all."""


class LeftOut(Shown, frozen=True, gc=False):
    """A part of a document that was left out.

    Attributes:
        path: the JSON path of the part, such as `$.qubits[3][0]`.
        at: the JSON path of the wrong value: of the part itself, or of a value in it.
        reason: what is wrong with the value.
        name: the part's own field `name`, such as `T1`, or None.
    """

    path: str
    at: str
    reason: str
    name: str | None = None


class Document(Shown, frozen=True, dict=True):
    """A document of the service; what is odd in an answer is left out of it, and told here.

    These attributes are no fields: they are not encoded, and documents that differ in them only are equal.

    Attributes:
        emulated: whether an emulator sent it, and not IBM's service; filled in by the client.
        left_out: at most 100 parts that were left out, elements of arrays before optional fields; empty for
            nearly every document.
        left_out_count: the number of parts that were left out.
    """

    emulated: ClassVar[bool] = False
    left_out: ClassVar[tuple[LeftOut, ...]] = ()
    left_out_count: ClassVar[int] = 0
