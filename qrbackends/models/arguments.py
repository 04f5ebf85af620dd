"""Arguments that have to be documents: what is said of those that are something else."""

from inspect import isawaitable

from ..errors import InvalidRequest


def check_document(name: str, value: object, kind: type[object], *, optional: bool = False) -> None:
    """Raise `InvalidRequest` unless an argument is of the type that it has to be, such as a document's.

    Args:
        name: the argument's name.
        value: the argument.
        kind: its type.
        optional: whether it may be None.
    """
    if not isinstance(value, kind) and not (optional and value is None):
        hint = "; await it first" if isawaitable(value) else ""
        raise InvalidRequest(f"{name} has to be a {kind.__name__}, not {type(value).__name__:.80}{hint}")
