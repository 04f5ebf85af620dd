"""Accounts in the environment and on disk, in the official client's format."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from .account import CLOUD_URL, Account, Instance, checked_url
from .errors import AccountError

DEFAULT_PATH = Path("~/.qiskit/qiskit-ibm.json")

_CHANNELS = ("ibm_quantum_platform", "ibm_cloud")  # both lead to the same service


class _Proxies(Struct, frozen=True):
    urls: dict[str, str] | None = None
    username_ntlm: str | None = None
    password_ntlm: str | None = None


class _Saved(Struct, frozen=True):
    token: str | None = None
    channel: str | None = None
    instance: str | None = None
    url: str | None = None
    private_endpoint: bool | None = None
    verify: bool | None = None
    proxies: _Proxies | None = None
    is_default_account: bool | None = None


def load_account(
    name: str | None = None,
    path: str | os.PathLike[str] | None = None,
    *,
    instance: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Account:
    """Return the account that the arguments, the environment or the saved accounts name, in this order.

    Args:
        name: a saved account's name. Left out, the environment is asked first (unless `path` is given),
            then the file's default account.
        path: the file of saved accounts; left out, `~/.qiskit/qiskit-ibm.json`.
        instance: a CRN, instead of the instance that the account names.
        environ: where `QISKIT_IBM_TOKEN`, `QISKIT_IBM_INSTANCE`, `QISKIT_IBM_URL`, `QISKIT_IBM_CHANNEL`,
            `IAM_URL`, `GLOBAL_SEARCH_URL` and `GLOBAL_CATALOG_URL` are read.

    Raises:
        AccountError: there is no such account, or it is incomplete.
    """
    channel = environ.get("QISKIT_IBM_CHANNEL") or None
    if name is None and path is None and environ.get("QISKIT_IBM_TOKEN"):
        saved = _Saved(
            token=environ["QISKIT_IBM_TOKEN"],
            channel=channel,
            instance=environ.get("QISKIT_IBM_INSTANCE") or None,
            url=environ.get("QISKIT_IBM_URL") or None,
        )
    else:
        file = Path(path if path is not None else DEFAULT_PATH)
        saved = _pick(_read(file), name, channel, file)
    return _account(saved if instance is None else replace(saved, instance=instance), environ)


def _read(file: Path) -> dict[str, _Saved]:
    try:
        content = file.expanduser().read_bytes()
    except FileNotFoundError:
        problem = (
            f"no account: set QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE, save one in {file} with the "
            "official client, or pass Account(api_key=…, instances=[Instance(crn=…)])"
        )
    except OSError as error:
        problem = f"{file} cannot be read: {error.strerror}"
    except (ValueError, RuntimeError):  # a NUL in it; the home directory of nobody
        problem = f"{str(file)!r} is not the path of a file"
    else:
        try:
            return msgspec.json.decode(content, type=dict[str, _Saved])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The parser's own words may quote the file, and with it a key.
            problem = f"{file} is not a JSON object of saved accounts"
    raise AccountError(problem)


def _pick(saved: dict[str, _Saved], name: str | None, channel: str | None, file: Path) -> _Saved:
    if name is not None:
        if name not in saved:
            raise AccountError(f"{file} has no account {name!r}; it has: {', '.join(saved) or 'none'}")
        return saved[name]
    wanted = (channel,) if channel else (*_CHANNELS, None)
    usable = [key for key, account in saved.items() if account.channel in wanted]
    if not usable:
        raise AccountError(f"{file} has no account for {channel or 'the IBM Quantum Platform'}")

    def rank(key: str) -> tuple[bool, bool, bool, int]:
        """Order accounts as the official client does."""
        own = saved[key].channel or _CHANNELS[0]
        return (
            not saved[key].is_default_account,
            own != _CHANNELS[0],
            key != f"default-{own.replace('_', '-')}",
            -usable.index(key),
        )

    return saved[min(usable, key=rank)]


def _account(saved: _Saved, environ: Mapping[str, str]) -> Account:
    if saved.channel not in (*_CHANNELS, None):
        raise AccountError(f"the channel {saved.channel!r} is none of {', '.join(_CHANNELS)}")
    if not saved.token:
        raise AccountError("the account has no token; save it anew with an IBM Cloud API key")
    if saved.proxies and (saved.proxies.username_ntlm or saved.proxies.password_ntlm):
        raise AccountError("the account asks for NTLM proxy authentication, which is not supported")
    root = checked_url(saved.url or CLOUD_URL)
    cloud = root.partition("://")[2]
    return Account(
        api_key=saved.token,
        instances=_instances(saved, root),
        iam_url=environ.get("IAM_URL") or None,
        search_url=environ.get("GLOBAL_SEARCH_URL") or f"https://api.global-search-tagging.{cloud}",
        catalog_url=environ.get("GLOBAL_CATALOG_URL") or f"https://globalcatalog.{cloud}/api/v1",
        proxies=(saved.proxies.urls if saved.proxies else None) or {},
        verify=saved.verify is not False,
    )


def _instances(saved: _Saved, root: str) -> tuple[Instance, ...]:
    if saved.instance in (None, "", "auto"):
        return ()
    if not saved.instance.startswith("crn:"):
        raise AccountError(
            f"the account names its instance {saved.instance!r:.80}; give the instance's CRN instead, "
            "as the Instances page of the IBM Quantum Platform shows it"
        )
    return (Instance(crn=saved.instance, cloud_url=root, private_endpoint=saved.private_endpoint is True),)
