"""IAM's tokens: well-formed JWTs, signed with a secret of the issuer."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any

import msgspec


class Issuer:
    """Issues tokens for its API keys, and checks tokens by their signature.

    Args:
        keys: the API keys for which it issues tokens.
        lifetime: seconds from issue to expiry.
        clock: the time in Unix seconds.
    """

    def __init__(self, keys: tuple[str, ...], lifetime: int, clock: Callable[[], float]) -> None:
        self.keys = keys
        self.lifetime = lifetime
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget all tokens: recognise none that was issued until now, and number them from 1 again."""
        self._secret = secrets.token_bytes(32)  # not from the seed: nobody else shall be able to sign
        self._generation = 0
        self._serial = 0

    def knows(self, key: str) -> bool:
        """Return whether `key` is one of its API keys."""
        found = False
        for known in self.keys:
            found |= hmac.compare_digest(known.encode(), _sent(key))
        return found

    def issue(self, key: str) -> dict[str, Any]:
        """Return IAM's answer, with a new token, for one of its API keys."""
        issued = int(self._clock())
        self._serial += 1
        expires = issued + self.lifetime
        claims = {
            "iss": "emulator",
            "sub": f"key-{self.keys.index(key)}",
            "jti": f"{self._generation}.{self._serial}",
            "iat": issued,
            "exp": expires,
        }
        return {
            "access_token": self._sign(claims),
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "expiration": expires,
            "scope": "ibm openid",
        }

    def accepts(self, token: str) -> bool:
        """Return whether it issued the token, which has neither expired nor been revoked."""
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(_sent(signed)).encode(), _sent(signature)):
            return False
        payload = signed.partition(".")[2]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        generation = int(claims["jti"].partition(".")[0])
        return generation == self._generation and bool(self._clock() < claims["exp"])

    def revoke_all(self) -> None:
        """Refuse all tokens issued until now."""
        self._generation += 1

    def _sign(self, claims: dict[str, Any]) -> str:
        header = {"alg": "HS256", "kid": "emulator", "typ": "JWT"}
        signed = ".".join(_base64url(msgspec.json.encode(part)) for part in (header, claims))
        return f"{signed}.{self._signature(signed.encode())}"

    def _signature(self, signed: bytes) -> str:
        return _base64url(hmac.digest(self._secret, signed, hashlib.sha256))


def _sent(text: str) -> bytes:
    """Return the bytes of a header or form field, which may not be UTF-8."""
    return text.encode(errors="surrogateescape")


def _base64url(data: bytes) -> str:
    """Return data in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
