"""Lists, saves and deletes accounts in the official client's file, and says which one is the default.

The functions read and write files, and wait for up to 5 s for another program that changes the same one:
async programs call them in a thread.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..errors import AccountError
from .account_file import Entries, changed, fields_of, formatted, is_true, read
from .saved import (
    CHANNELS,
    DEFAULT_PATH,
    SavedFields,
    account_of,
    decoded,
    default_name,
    entry_of,
    name_of_default,
)
from .secret import LEAST_SEARCHED, Secret
from .urls import CLOUD_URL

_MARK = "is_default_account"


class SavedAccount(Struct, frozen=True):
    """A saved account without its key.

    Attributes:
        name: its name in the file.
        channel: `ibm_quantum_platform` or `ibm_cloud`, two names of one service.
        instance: the CRN or name of an instance, `auto`, or None.
        region: the region in which instances are looked up, or None for all.
        plans: the plans that an instance may have, in order of preference; empty for all.
        tags: the tags of which an instance has all.
        is_default: whether it is the account that is used where no account is named.
        problem: why it cannot be used, or None; its other attributes are then empty.
    """

    name: str
    channel: str | None = None
    instance: str | None = None
    region: str | None = None
    plans: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    is_default: bool = False
    problem: str | None = None


def list_accounts(
    path: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None
) -> tuple[SavedAccount, ...]:
    """Return the saved accounts in the order of the file; none if there is no file.

    Args:
        path: the file of saved accounts; left out, the official client's.
        environ: the variables, of which `QISKIT_IBM_CHANNEL` is read; left out, those of the process.

    Raises:
        AccountError: the file cannot be read.
    """
    file = _file(path)
    entries = read(file) or {}
    default = name_of_default(entries, _channel(environ))
    return tuple(_shown(name, entry, file, is_default=name == default) for name, entry in entries.items())


def save_account(
    api_key: Secret | str,
    name: str | None = None,
    *,
    instance: str | None = None,
    region: str | None = None,
    plans: Sequence[str] = (),
    tags: Sequence[str] = (),
    channel: str | None = None,
    url: str = CLOUD_URL,
    private_endpoint: bool = False,
    verify: bool = True,
    proxies: Mapping[str, str] | None = None,
    default: bool = False,
    overwrite: bool = False,
    path: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> str:
    """Save an account, as the official client does, and return its name; it is not tried out.

    The official client takes no glob for `instance`, and both clients use `region`, `plans` and `tags` only
    where no `instance` is saved, or `auto`.

    Args:
        api_key: an IBM Cloud API key.
        name: its name; left out, `default-ibm-quantum-platform` or `default-ibm-cloud`, as the channel is.
        instance: the CRN or name of an instance; left out, instances are looked up.
        region: the region in which instances are looked up.
        plans: the plans that an instance may have, in order of preference.
        tags: the tags of which an instance has all.
        channel: `ibm_quantum_platform` or `ibm_cloud`, two names of one service; left out,
            `QISKIT_IBM_CHANNEL`, or else the first.
        url: the root address of the cloud.
        private_endpoint: whether to use the regions' private endpoints.
        verify: whether TLS certificates are verified.
        proxies: proxy address by scheme of the request, such as `{"https": "http://proxy:3128"}`.
        default: whether it becomes the account that is used where no account is named.
        overwrite: whether it may take the place of an account with this name.
        path: the file of saved accounts; left out, the official client's. It is created if it is missing.
        environ: the variables, of which `QISKIT_IBM_CHANNEL` is read; left out, those of the process.

    Raises:
        AccountError: an argument is not valid, there is such an account, or the file cannot be changed.
    """
    key = api_key if isinstance(api_key, Secret) else Secret(api_key)
    channel = channel or _channel(environ) or CHANNELS[0]
    fields: dict[str, Any] = {
        "channel": channel,
        "instance": instance or None,
        "plans_preference": _listed("plans", plans),
        "private_endpoint": private_endpoint,
        "proxies": {"urls": proxies} if proxies else None,
        "region": region or None,
        "tags": _listed("tags", tags),
        "url": url,
        "verify": None if verify is True else verify,
    }
    _check(fields, key)
    name = default_name(channel) if name is None else name
    if not isinstance(name, str) or not name or not name.isprintable() or key.reveal() in name:
        raise AccountError("an account's name has to be a printable text, and not its key")
    given = {field: value for field, value in fields.items() if value is not None}
    with changed(file := _file(path)) as entries:
        before = entries.get(name)
        if before is not None and not overwrite:
            raise AccountError(f"{file} has an account {name!r} already; it is replaced only if asked to")
        stays = before is not None and _is_marked(fields_of(before) or {})
        mark = {_MARK: True} if default or stays else {}
        entries[name] = _entry({**given, **mark, "token": key.reveal()})
        decoded(entries[name], name, file)  # JSON cannot hold every text
        if mark:
            _mark(entries, name)
    return name


def delete_account(name: str, path: str | os.PathLike[str] | None = None) -> None:
    """Delete a saved account.

    Args:
        name: its name.
        path: the file of saved accounts; left out, the official client's.

    Raises:
        AccountError: there is no such account, or the file cannot be changed.
    """
    with _existing(name, path) as entries:
        del entries[name]


def use_account(name: str, path: str | os.PathLike[str] | None = None) -> None:
    """Make a saved account the one that is used where no account is named, also by the official client.

    Args:
        name: its name.
        path: the file of saved accounts; left out, the official client's.

    Raises:
        AccountError: there is no such account, it cannot be used, or the file cannot be changed.
    """
    with _existing(name, path) as entries:
        account_of(decoded(entries[name], name, _file(path)))
        _mark(entries, name)


@contextmanager
def _existing(name: str, path: str | os.PathLike[str] | None) -> Iterator[Entries]:
    """Do as `changed` does, for a file that has an account of this name."""
    file = _file(path)
    entry_of(read(file) or {}, name, file)  # no file is created for what is not there
    with changed(file) as entries:
        entry_of(entries, name, file)  # another program may have deleted it meanwhile
        yield entries


def _file(path: str | os.PathLike[str] | None) -> Path:
    return Path(DEFAULT_PATH if path is None else path)


def _channel(environ: Mapping[str, str] | None) -> str | None:
    return (os.environ if environ is None else environ).get("QISKIT_IBM_CHANNEL")


def _listed(name: str, texts: Sequence[str]) -> list[str] | None:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise AccountError(f"{name} has to be a list of texts")
    return list(texts) or None


def _entry(fields: dict[str, Any]) -> msgspec.Raw:
    """Return an entry of the file, laid out as the official client does."""
    text = json.dumps(fields, indent=4, sort_keys=True)
    return msgspec.Raw(text.replace("\n", "\n    ").encode())


def _check(fields: dict[str, Any], key: Secret) -> None:
    """Raise an AccountError for an account that nobody could use."""
    try:
        saved = msgspec.convert(fields, SavedFields)
    except msgspec.ValidationError as error:
        raise AccountError(f"the account cannot be saved: {error}") from None  # it names types, and no values
    account_of(replace(saved, token=key.reveal()))


def _shown(name: str, entry: msgspec.Raw, file: Path, *, is_default: bool) -> SavedAccount:
    token = ""

    def hidden(text: str | None) -> str | None:
        """Return a text without the key, which somebody may have put into another field, too."""
        return text.replace(token, "***") if text and len(token) >= LEAST_SEARCHED else text

    try:
        saved = decoded(entry, name, file)
        token = saved.token or ""
        account_of(saved)
    except AccountError as error:
        return SavedAccount(name, is_default=is_default, problem=hidden(error.message))
    return SavedAccount(
        name,
        saved.channel or CHANNELS[0],
        hidden(saved.instance),
        hidden(saved.region),
        tuple(hidden(plan) or "" for plan in saved.plans_preference or ()),
        tuple(hidden(tag) or "" for tag in saved.tags or ()),
        is_default,
    )


def _mark(entries: Entries, name: str) -> None:
    """Mark one account as the default, and no other."""
    for other, entry in entries.items():
        fields = fields_of(entry)
        if fields is None:
            continue
        if other == name:
            fields[_MARK] = msgspec.Raw(b"true")
        elif _is_marked(fields):
            del fields[_MARK]
        else:
            continue
        entries[other] = msgspec.Raw(formatted(fields, depth=1))


def _is_marked(fields: Entries) -> bool:
    return _MARK in fields and is_true(fields[_MARK])
