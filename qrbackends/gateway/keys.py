"""The gateway's own API keys: in a private file, hashed, and the tokens that are signed for them."""

import hashlib
import hmac
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final

import msgspec

from ..accounts.account import EMULATED_KEY
from ..accounts.replacing import replacing
from ..surface.tokens import Signer, sent

LIFETIME: Final = 1200
"""Seconds from the issue of a token to its expiry."""

_PREFIX: Final = "qrbackends-gateway-"
_ID = 8  # characters
_LOOKED: Final = 1.0  # seconds between two looks whether the file has changed


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an API key; the key itself is not.

    Attributes:
        id: tells it from all others; tokens and logs have it.
        name: what its owner is called.
        digest: the SHA-256 of the key, in hexadecimal. Keys are random and long, so none can be guessed.
        created: when it was made, an RFC 3339 date and time.
        instances: the CRNs of the instances that it may use; empty for all of the account.
        rate: requests per second that it may send on average; 0 for any number.
    """

    id: str
    name: str
    digest: str
    created: str
    instances: tuple[str, ...] = ()
    rate: float = 0.0

    def may_use(self, crn: str) -> bool:
        """Return whether it may use an instance."""
        return not self.instances or crn in self.instances


class _File(msgspec.Struct):
    signing: str
    keys: list[Key]


class KeysError(Exception):
    """The file of keys cannot be used; the message says what to do."""


def new_key(
    name: str, instances: Sequence[str] = (), rate: float = 0.0, *, emulated: bool = False
) -> tuple[Key, str]:
    """Return what is kept of a new key, and the key itself."""
    made = secrets.token_hex(_ID // 2)
    text = f"{EMULATED_KEY if emulated else _PREFIX}{made}-{secrets.token_urlsafe(32)}"
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Key(made, name, _digest(text), created, tuple(instances), rate), text


class KeyFile:
    """A file of keys, and of the secret that signs their tokens, which only its owner can read.

    Args:
        path: the file; it and its directory are made when the first key is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[bytes, tuple[Key, ...]]:
        """Return the secret that signs tokens, and the keys; there are none without a file.

        Raises:
            KeysError: others can read the file or could have planted it, or it is damaged.
        """
        try:
            with self.path.open("rb") as file:
                self._check(os.fstat(file.fileno()))
                text = file.read()
        except FileNotFoundError:
            return b"", ()
        except OSError as error:
            raise KeysError(f"{self.path}: {error.strerror}") from None
        try:
            found = msgspec.json.decode(text, type=_File)
            return bytes.fromhex(found.signing), tuple(found.keys)
        except (msgspec.MsgspecError, ValueError):
            raise KeysError(f"{self.path} is no file of keys, or damaged; remove it to begin anew") from None

    def add(self, name: str, instances: Sequence[str] = (), rate: float = 0.0) -> str:
        """Add a key and return it; it cannot be shown again.

        Raises:
            KeysError: there is a key of this name, or the file cannot be used.
        """
        with replacing(self.path, KeysError) as (new, _):
            signing, keys = self.read()
            if any(key.name == name for key in keys):
                raise KeysError(f"there is a key of the name {name!r:.80} already; revoke it first")
            key, text = new_key(name, instances, rate)
            new.write(_text(signing or secrets.token_bytes(32), (*keys, key)))
        return text

    def revoke(self, name: str) -> bool:
        """Remove the key of this name or id, and return whether there was one; its tokens end with it.

        Raises:
            KeysError: the file cannot be used.
        """
        with replacing(self.path, KeysError) as (new, _):
            signing, keys = self.read()
            left = tuple(key for key in keys if name not in (key.name, key.id))
            if len(left) < len(keys):
                new.write(_text(signing, left))
        return len(left) < len(keys)

    def mark(self) -> tuple[int, int, int] | None:
        """Return what differs after each change of the file; None if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _check(self, status: os.stat_result) -> None:
        if hasattr(os, "geteuid"):
            if status.st_uid not in (os.geteuid(), 0):
                raise KeysError(f"{self.path} belongs to another user")
            others = 0o077
            if os.geteuid() and status.st_uid == status.st_gid == 0:
                others = 0o037  # systemd lets a service read a credential by an ACL, whose mask is shown here
            if stat.S_IMODE(status.st_mode) & others:
                raise KeysError(f"others can read {self.path}: chmod 600 {self.path}")


class Keyring:
    """The keys that a gateway accepts, and the tokens that it signs for them.

    A change of the file takes effect within a second: a new key is accepted, and a revoked one is refused
    together with its tokens. Gateways with the same file accept each other's tokens.

    Args:
        file: the file of keys; None for one key of this keyring's own, which ends with it.
        emulated: whether that key is marked as an emulator's.
        clock: the time in Unix seconds.

    Attributes:
        throw_away: the key of the keyring's own; None with a file.

    Raises:
        KeysError: the file cannot be used.
    """

    def __init__(
        self,
        file: KeyFile | None = None,
        *,
        emulated: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._clock = clock
        self._looked = -inf
        self._mark: object = None
        self.throw_away: str | None = None
        self._keys: dict[str, Key] = {}
        self._signer = Signer("qrbackends", secrets.token_bytes(32), clock)
        if file is None:
            key, self.throw_away = new_key("loopback", emulated=emulated)
            self._keys[key.id] = key
        else:
            self._read(file)

    def __len__(self) -> int:
        return len(self._current())

    def exchange(self, key: str) -> dict[str, Any] | None:
        """Return IAM's answer, with a new token; None if there is no such key."""
        known = self.key(key)
        return None if known is None else self._signer.grant(known.id, LIFETIME, secrets.token_hex(8))

    def key(self, text: str) -> Key | None:
        """Return what is known of a key, or None."""
        begin, _, _ = text.removeprefix(_PREFIX).removeprefix(EMULATED_KEY).partition("-")
        known = self._current().get(begin)
        if known is None or not hmac.compare_digest(known.digest, _digest(text)):
            return None
        return known

    def subject(self, token: str) -> str | None:
        """Return the id of the key that a token was issued for; None if it is not valid now."""
        key, _ = self.bearer(token)
        return None if key is None else key.id

    def bearer(self, token: str) -> tuple[Key | None, float]:
        """Return the key that a token was issued for, and when the token expires; None if it is not valid."""
        keys = self._current()
        claims = self._signer.claims(token)
        return (None, 0.0) if claims is None else (keys.get(claims["sub"]), float(claims["exp"]))

    def holds(self, key: Key, expires: float) -> bool:
        """Return whether a key is still as it was, and a token of it has not expired, in Unix seconds."""
        return self._current().get(key.id) is key and self._clock() < expires

    def of(self, subject: str) -> Key | None:
        """Return the key with an id, or None."""
        return self._current().get(subject)

    def _current(self) -> dict[str, Key]:
        if self._file is not None and not 0 <= self._clock() - self._looked < _LOOKED:
            self._looked = self._clock()
            if self._file.mark() != self._mark:
                try:
                    self._read(self._file)
                except KeysError:  # as one that is damaged: nobody is let in, until it is well again
                    self._keys, self._mark = {}, None
        return self._keys

    def _read(self, file: KeyFile) -> None:
        mark = file.mark()
        signing, keys = file.read()
        self._keys = {key.id: key for key in keys}
        if signing:
            self._signer = Signer("qrbackends", signing, self._clock)
        self._mark = mark


def _text(signing: bytes, keys: Sequence[Key]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_File(signing.hex(), list(keys))), indent=2) + b"\n"


def _digest(text: str) -> str:
    return hashlib.sha256(sent(text)).hexdigest()
