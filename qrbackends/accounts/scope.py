"""Who may read what is cached: every entry belongs to the scope in which it was fetched."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from .account import Account, Instance
from .secret import Secret

_ID = b"qrbackends/scope/v1"
_SEAL = b"qrbackends/seal/v1"


@dataclass(frozen=True, slots=True)
class Scope:
    """One instance, seen with one credential.

    Attributes:
        id: 64 hexadecimal digits; the same wherever the same credential asks the same instance at the same
            address in the same version. It tells nothing about any of them.
        key: authenticates what is stored outside this process; None where no other could hold it.
    """

    id: str
    key: bytes | None = field(repr=False, compare=False)


class Scopes:
    """The scopes of one account.

    Args:
        account: whose. An account with a token provider and without an `identity` shares nothing: its
            scopes are its own.
        api_version: the version that is asked for.
    """

    def __init__(self, account: Account, api_version: str) -> None:
        self._api_version = api_version
        self._verified = account.verified
        self._scopes: dict[Instance, Scope] = {}
        token = account.token
        secret = account.api_key or (token if isinstance(token, Secret) else account.identity)
        if isinstance(secret, Secret):
            credential = secret.reveal().encode()
            self._fingerprint = hmac.digest(credential, _ID, hashlib.sha256).hex()
            self._key: bytes | None = hmac.digest(credential, _SEAL, hashlib.sha256)
        else:
            self._fingerprint = secrets.token_hex(32)
            self._key = None

    @property
    def shareable(self) -> bool:
        """Whether another process can have the same scopes."""
        return self._key is not None

    @property
    def credential(self) -> str:
        """64 hexadecimal digits that stand for the credential, and tell nothing about it."""
        return self._fingerprint

    def of(self, instance: Instance) -> Scope:
        """Return the scope of an instance."""
        scope = self._scopes.get(instance)
        if scope is None:
            parts = [instance.base_url, self._api_version, instance.crn, self._fingerprint]
            if not self._verified:  # anybody may have answered
                parts.append("unverified")
            digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
            scope = self._scopes[instance] = Scope(digest, self._key)
        return scope
