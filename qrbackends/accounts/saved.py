"""Accounts from the environment, and from the file in which the official client saves them."""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace as narrowed
from pathlib import Path
from typing import TypedDict

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..errors import AccountError
from ..messages.suggestions import suggested
from .account import Account, Instance, InstanceSearch
from .account_file import is_true, read
from .urls import CLOUD_URL, checked_url

DEFAULT_PATH = Path("~/.qiskit/qiskit-ibm.json")

_HOW = (
    "set QISKIT_IBM_TOKEN to an API key (QISKIT_IBM_INSTANCE is optional: a CRN or name, for one instance "
    "only), save an account with `qrbackends accounts save`, or pass Account(api_key=…) in Python; or try "
    "--emulator, in Python qrbackends.emulator.Emulator, which needs none"
)
_KEY = re.compile(r"[\w-]{40,}")  # IBM Cloud's have 44 characters

CHANNELS = ("ibm_quantum_platform", "ibm_cloud")
"""Two names of one service, the newer one first."""


class _Proxies(Struct, frozen=True):
    urls: dict[str, str] | None = None
    username_ntlm: str | None = None
    password_ntlm: str | None = None


class _Heading(Struct, frozen=True):
    channel: str | None = None
    is_default_account: msgspec.Raw = msgspec.Raw(b"false")


class SavedFields(Struct, frozen=True):
    """The fields of a saved account that are used."""

    token: str | None = None
    channel: str | None = None
    instance: str | None = None
    url: str | None = None
    private_endpoint: bool | None = None
    region: str | None = None
    plans_preference: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    verify: bool | None = None
    proxies: _Proxies | None = None

    def __repr__(self) -> str:
        return "<a saved account>"  # debuggers and crash reports show it: no token here


class Narrowing(TypedDict, total=False):
    """What may be asked for in code in place of what an account says of its instances."""

    instance: str | None
    region: str | None
    plans: Sequence[str]
    tags: Sequence[str]


def load_account(
    name: str | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    instance: str | None = None,
    region: str | None = None,
    plans: Sequence[str] = (),
    tags: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Account:
    """Return the account given by the arguments, by the environment, or by the saved accounts, in this order.

    Args:
        name: the name of a saved account. Left out, the environment is used if it has a token (unless
            `path` is given), and otherwise the default account of the file.
        path: the file of saved accounts; left out, `~/.qiskit/qiskit-ibm.json`.
        instance: the CRN or name of an instance, in place of the one that the account names; a name may be
            a glob, such as `lab-*`.
        region: the region, in place of the account's; an instance that the account names has to be in it.
        plans: the plans that an instance may have, in order of preference, in place of the account's.
        tags: the tags of which an instance has all, in place of the account's.
        environ: the variables, of which `QISKIT_IBM_TOKEN`, `QISKIT_IBM_INSTANCE`, `QISKIT_IBM_URL`,
            `QISKIT_IBM_CHANNEL`, `IAM_URL`, `GLOBAL_SEARCH_URL` and `GLOBAL_CATALOG_URL` are read; left
            out, those of the process.

    Raises:
        AccountError: there is no such account, it is incomplete, or the file cannot be read.
    """
    environment = _environment(os.environ if environ is None else environ)
    saved, source = environment.account, "QISKIT_IBM_TOKEN, which goes before saved accounts"
    if name is not None or path is not None or saved.token is None:
        file = Path(path if path is not None else DEFAULT_PATH)
        entries = read(file)
        if entries is None:
            raise AccountError(_none_found(name, file, is_in_environment=saved.token is not None))
        chosen = _chosen(entries, name, saved.channel, file)
        saved, source = decoded(entry_of(entries, chosen, file), chosen, file), _of_file(chosen, file)
    if not isinstance(instance, str | None):
        raise AccountError("instance has to be the CRN or name of an instance")
    account = account_of(replace(saved, instance=instance) if instance else saved, environment, source)
    return _narrowed(account, (region,) if region else (), plans, tags)


def _none_found(name: str | None, file: Path, *, is_in_environment: bool) -> str:
    """Return where an account was looked for in vain, and what to do."""
    with suppress(RuntimeError):  # the user has no home directory
        file = file.expanduser()
    about = f"the account {_shown(name)} was looked for in" if name is not None else "there is no file"
    unset = "" if is_in_environment or name is not None else "QISKIT_IBM_TOKEN is not set, and "
    where = f"{unset}{about} {file}" + (", which is not there" if name is not None else "")
    return f"no account found: {where}; {_HOW}"


class _Environment(Struct, frozen=True):
    """The variables that are used; no others are kept."""

    account: SavedFields = SavedFields()
    iam_url: str | None = None
    search_url: str | None = None
    catalog_url: str | None = None


def _environment(environ: Mapping[str, str]) -> _Environment:
    def value(name: str) -> str | None:
        return environ.get(name) or None

    return _Environment(
        SavedFields(
            token=value("QISKIT_IBM_TOKEN"),
            channel=value("QISKIT_IBM_CHANNEL"),
            instance=value("QISKIT_IBM_INSTANCE"),
            url=value("QISKIT_IBM_URL"),
        ),
        iam_url=value("IAM_URL"),
        search_url=value("GLOBAL_SEARCH_URL"),
        catalog_url=value("GLOBAL_CATALOG_URL"),
    )


def _chosen(saved: Mapping[str, msgspec.Raw], name: str | None, channel: str | None, file: Path) -> str:
    chosen = name_of_default(saved, channel) if name is None else name
    if chosen is None:
        there = ", ".join(key for key, entry in saved.items() if _heading(entry)) or "none"
        wanted = channel or "the IBM Quantum Platform"
        raise AccountError(f"{file} has no account for {wanted}; it has: {there}; {_HOW}")
    return chosen


def _of_file(name: str, file: Path) -> str:
    """Return the source of a saved account's key, as a part of a sentence."""
    return f"the saved account {_shown(name)} in {file}"


def entry_of(saved: Mapping[str, msgspec.Raw], name: str, file: Path) -> msgspec.Raw:
    """Return the entry of an account.

    Raises:
        AccountError: there is none with this name; the message tells the names that there are.
    """
    if name not in saved:
        names = ", ".join(key for key, entry in saved.items() if _heading(entry))
        problem = f"{file} has no account {_shown(name)}; it has: {names or 'none'}"
        raise AccountError(suggested(problem, name, saved))
    return saved[name]


def _shown(name: str) -> str:
    """Return the name of an account as errors show it, but not a key that somebody took for one."""
    if _KEY.fullmatch(name):
        return "by that name (it looks like an API key)"
    return repr(name)


def name_of_default(saved: Mapping[str, msgspec.Raw], channel: str | None) -> str | None:
    """Return the name of the account that is used where none is named, or None if there is none.

    Args:
        saved: the entries of the file.
        channel: the channel that the environment names.
    """
    headings = {key: heading for key, entry in saved.items() if (heading := _heading(entry))}
    usable = {key: one.channel for key, one in headings.items() if one.channel in (*CHANNELS, None)}
    own = channel or CHANNELS[0]
    same = [key for key, one in usable.items() if one == own]
    order = [  # the official client's: a marked account of any channel comes before the environment's channel
        *(key for key in usable if is_true(headings[key].is_default_account)),
        *(key for key in same if key == default_name(own)),
        *same[-1:],
        *(name for name in map(default_name, CHANNELS) if name in usable),
        *(() if channel else tuple(usable)[-1:]),  # where the official client finds none
    ]
    return order[0] if order else None


def default_name(channel: str) -> str:
    """Return the name under which the official client saves a channel's account if it is given none."""
    return f"default-{channel.replace('_', '-')}"


def _heading(entry: msgspec.Raw) -> _Heading | None:
    """Return the fields by which an account is chosen; None for an entry that is not well-formed."""
    try:
        return msgspec.json.decode(entry, type=_Heading)
    except msgspec.DecodeError:
        return None


def decoded(entry: msgspec.Raw, name: str, file: Path) -> SavedFields:
    """Return the fields of an entry.

    Raises:
        AccountError: they are not as the official client writes them.
    """
    try:
        return msgspec.json.decode(entry, type=SavedFields)
    except msgspec.DecodeError:
        problem = f"the account {name!r} in {file} is not as the official client writes them"
    raise AccountError(problem)


def account_of(
    saved: SavedFields, environment: _Environment | None = None, source: str | None = None
) -> Account:
    """Return the account that is saved in these fields; the environment may give addresses of its own.

    Args:
        saved: the fields.
        environment: the environment.
        source: where they are from, which errors about the key say.

    Raises:
        AccountError: it is incomplete, or is not supported.
    """
    if saved.channel not in (*CHANNELS, None):
        problem = f"the channel {saved.channel!r} is not one of {', '.join(CHANNELS)}"
        raise AccountError(suggested(problem, saved.channel, CHANNELS))
    if not saved.token:
        raise AccountError("the account has no token; save it anew with an IBM Cloud API key")
    if saved.proxies and (saved.proxies.username_ntlm or saved.proxies.password_ntlm):
        raise AccountError(
            "the account asks for NTLM proxy authentication, which is not supported: run a local proxy that "
            "does it, such as cntlm or px, and save the account anew with that proxy and without NTLM"
        )
    own = environment or _Environment()
    root = checked_url(saved.url or CLOUD_URL)
    cloud = root.partition("://")[2]
    return Account(
        api_key=saved.token,
        instances=_instances(saved, root),
        search=_search(saved, root),
        iam_url=own.iam_url,
        search_url=own.search_url or f"https://api.global-search-tagging.{cloud}",
        catalog_url=own.catalog_url or f"https://globalcatalog.{cloud}/api/v1",
        proxies=(saved.proxies.urls if saved.proxies else None) or {},
        verify=saved.verify is not False,
        source=source,
    )


def _instances(saved: SavedFields, root: str) -> tuple[Instance, ...]:
    """Return the instance if it is given by its CRN; otherwise none, and it is looked up."""
    if not saved.instance or not saved.instance.startswith("crn:"):
        return ()
    return (Instance(crn=saved.instance, cloud_url=root, private_endpoint=saved.private_endpoint is True),)


def _search(saved: SavedFields, root: str) -> InstanceSearch:
    """Return which instances to look up; as in the official client, a name overrides all other conditions."""
    private = saved.private_endpoint is True
    if saved.instance not in (None, "", "auto"):
        return InstanceSearch(saved.instance, cloud_url=root, private_endpoint=private)
    return InstanceSearch(
        regions=(saved.region,) if saved.region else (),
        plans=saved.plans_preference or (),
        tags=saved.tags or (),
        cloud_url=root,
        private_endpoint=private,
    )


def _narrowed(account: Account, regions: Sequence[str], plans: Sequence[str], tags: Sequence[str]) -> Account:
    """Return the account with what was asked for in code in place of what it says itself."""
    instances = () if plans or tags else account.instances  # only a look-up tells an instance's plan and tags
    if regions and any(one.region not in regions for one in instances):
        problem = f"the account's instance is in {instances[0].region}, not in {regions[0]}"
        raise AccountError(suggested(problem, regions[0], [one.region for one in instances]))
    search = account.search
    search = narrowed(
        search, regions=regions or search.regions, plans=plans or search.plans, tags=tags or search.tags
    )
    return narrowed(account, instances=instances, search=search)
