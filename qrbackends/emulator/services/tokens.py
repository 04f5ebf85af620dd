"""The emulated IAM's keys and tokens."""

import hmac
import secrets
from collections.abc import Callable
from typing import Any

from ...surface.tokens import Signer, sent


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
        # not from the seed: nobody else shall be able to sign
        self._signer = Signer("emulator", secrets.token_bytes(32), self._clock)
        self._generation = 0
        self._serial = 0

    def knows(self, key: str) -> bool:
        """Return whether `key` is one of its API keys."""
        found = False
        for known in self.keys:
            found |= hmac.compare_digest(known.encode(), sent(key))
        return found

    def exchange(self, key: str) -> dict[str, Any] | None:
        """Return IAM's answer, with a new token; None if `key` is none of its API keys."""
        return self.issue(key) if self.knows(key) else None

    def issue(self, key: str) -> dict[str, Any]:
        """Return IAM's answer, with a new token, for one of its API keys."""
        self._serial += 1
        subject = f"key-{self.keys.index(key)}"
        return self._signer.grant(subject, self.lifetime, f"{self._generation}.{self._serial}")

    def subject(self, token: str) -> str | None:
        """Return whom a token was issued for; None if it is none of its own, expired, or was revoked."""
        claims = self._signer.claims(token)
        if claims is None or int(claims["jti"].partition(".")[0]) != self._generation:
            return None
        return str(claims["sub"])

    def accepts(self, token: str) -> bool:
        """Return whether it issued the token, which has neither expired nor been revoked."""
        return self.subject(token) is not None

    def revoke_all(self) -> None:
        """Refuse all tokens issued until now."""
        self._generation += 1
