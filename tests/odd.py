"""Where the odd values of a body are, as an error or the answer itself tells."""

from qrbackends.errors import DecodeError
from qrbackends.models import BackendDefaults
from qrbackends.protocol.answers import parse
from qrbackends.protocol.requests import Request


def odd_places(request: Request, body: bytes) -> tuple[str, ...]:
    """Return the JSON path of each odd value in a well-formed body, those of an unreadable body included."""
    try:
        answer = parse(request, 200, {}, body)
    except DecodeError as error:
        assert not error.malformed  # noqa: PT017
        assert error.path in str(error)  # noqa: PT017
        assert error.__context__ is None  # noqa: PT017
        return (error.path,)
    if isinstance(answer, BackendDefaults):
        return ()
    assert len(answer.left_out) == answer.left_out_count
    assert all(one.at.startswith(one.path) for one in answer.left_out)
    return tuple(one.at for one in answer.left_out)
