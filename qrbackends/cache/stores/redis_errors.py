"""What a store says of the errors of redis-py."""

import re
import ssl


def is_replica(error: Exception) -> bool:
    """Whether Redis refused to write because it is a replica; Redis 6 says so within a script's error."""
    from redis.exceptions import ReadOnlyError

    return isinstance(error, ReadOnlyError) or "-READONLY " in str(error)


def translated(error: Exception) -> Exception:
    """Return a store's error for one of redis-py, without its text, which may quote what was sent."""
    from redis import exceptions as theirs

    kind = type(error).__name__
    tls = _tls_error(error)
    if tls is not None:
        return ConnectionError(f"TLS with Redis failed ({type(tls).__name__})")
    match error:
        case theirs.AuthenticationError() | theirs.AuthorizationError():
            return RuntimeError(f"Redis does not accept the user or the password ({kind})")
        case theirs.ConnectionError() | theirs.TimeoutError() | OSError():
            return ConnectionError(f"Redis does not answer ({kind})")
        case theirs.ResponseError():
            return RuntimeError(_refusal(error, kind))
    return RuntimeError(f"Redis did not understand, or was not understood ({kind})")


def _refusal(error: Exception, kind: str) -> str:
    from redis import exceptions as theirs

    text = str(error)
    in_script = re.search(r": -([A-Z]+) ", text)  # as Redis 6 tells of what failed within a script
    code = in_script[1] if in_script else text.partition(" ")[0]
    known = f"{kind}, {code}" if code.isalpha() and code.isupper() else kind
    if is_replica(error):
        return f"this Redis is a replica, which cannot be written ({kind})"
    if isinstance(error, theirs.MovedError):
        return f"this Redis is a node of a cluster, and another node has the key ({kind})"
    if (
        isinstance(error, theirs.NoPermissionError)
        or "ACL failure" in text
        or "can't run this command" in text
    ):
        return f"the user has no right to do this in Redis ({kind})"
    if "DB index is out of range" in text:
        return f"Redis has no database with the number in the URL ({kind})"
    return f"Redis refused the operation ({known})"


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Return the error of TLS from which an error of redis-py came."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error
