"""IAM's tokens: well-formed JWTs, signed with a secret of whoever issues them."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import msgspec


class Signer:
    """Signs tokens, and reads those that it has signed.

    Args:
        issuer: the name of the issuer in the tokens.
        secret: the secret that signs; whoever has the same one accepts the tokens.
        clock: the time in Unix seconds.
    """

    def __init__(self, issuer: str, secret: bytes, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._secret = secret
        self._clock = clock

    def grant(self, subject: str, lifetime: int, number: str) -> dict[str, Any]:
        """Return IAM's answer with a new token.

        Args:
            subject: whom the token is for.
            lifetime: seconds from now to its expiry.
            number: what tells it from all others.
        """
        issued = int(self._clock())
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "jti": number,
            "iat": issued,
            "exp": issued + lifetime,
        }
        return {
            "access_token": self._signed(claims),
            "refresh_token": "not_supported",
            "token_type": "Bearer",
            "expires_in": lifetime,
            "expiration": issued + lifetime,
            "scope": "ibm openid",
        }

    def claims(self, token: str) -> Mapping[str, Any] | None:
        """Return the claims of a token that it has signed; None of any other, and of one that has expired.

        The token's own header counts for nothing: there is one algorithm, HMAC with SHA-256.
        """
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(sent(signed)).encode(), sent(signature)):
            return None
        payload = signed.partition(".")[2]
        claims: dict[str, Any] = msgspec.json.decode(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
        return claims if self._clock() < claims["exp"] else None

    def _signed(self, claims: dict[str, Any]) -> str:
        header = {"alg": "HS256", "kid": self._issuer, "typ": "JWT"}
        signed = ".".join(_base64url(msgspec.json.encode(part)) for part in (header, claims))
        return f"{signed}.{self._signature(signed.encode())}"

    def _signature(self, signed: bytes) -> str:
        return _base64url(hmac.digest(self._secret, signed, hashlib.sha256))


def sent(text: str) -> bytes:
    """Return the bytes of a header or form field, which may not be UTF-8."""
    return text.encode(errors="surrogateescape")


def _base64url(data: bytes) -> str:
    """Return data in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
