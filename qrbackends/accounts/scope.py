"""Scopes: a cached answer is used only for the credential, instance and address it was fetched with."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from .account import Account, Instance
from .secret import Secret

_ID = b"qrbackends/scope/v1"
_SEAL = b"qrbackends/seal/v1"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Scope:
    """One instance, as one credential sees it.

    Attributes:
        id: 64 hexadecimal digits, a hash of credential, instance, address and API version. It is the same
            in every process that uses the same four, and none of them can be computed from it.
        instance: the instance.
        key: authenticates answers that are stored outside this process; None if no other process can have
            the same key.
        crn: the instance's CRN.
        region: the instance's region.
        base_url: the base address of the instance's Backends API.
    """

    id: str
    instance: Instance = field(compare=False)
    key: bytes | None = field(repr=False, compare=False)
    crn: str = field(init=False, repr=False, compare=False)
    region: str = field(init=False, repr=False, compare=False)
    base_url: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("crn", "region", "base_url"):  # derived once, as every call needs them
            object.__setattr__(self, name, getattr(self.instance, name))


class Scopes:
    """The scopes of one account.

    Args:
        account: the account. With a token from a callable and without an `identity`, the scopes are random,
            and so not shared with any other client.
        api_version: the `IBM-API-Version` that requests ask for.
    """

    def __init__(self, account: Account, api_version: str) -> None:
        self._api_version = api_version
        self._verified = account.verified
        self._scopes: WeakValueDictionary[Instance, Scope] = WeakValueDictionary()  # instances come and go
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
    def key(self) -> bytes | None:
        """The key by which stored answers of all scopes are authenticated; None if they are random."""
        return self._key

    @property
    def credential(self) -> str:
        """64 hexadecimal digits that stand for the credential, which cannot be computed from them."""
        return self._fingerprint

    def of(self, instance: Instance) -> Scope:
        """Return the scope of an instance."""
        scope = self._scopes.get(instance)
        if scope is None:
            parts = [instance.base_url, self._api_version, instance.crn, self._fingerprint]
            if not self._verified:  # another server may have answered: kept apart from verified answers
                parts.append("unverified")
            digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
            scope = self._scopes[instance] = Scope(digest, instance, self._key)
        return scope
