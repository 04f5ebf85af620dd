"""Accounts: credentials, and the service instances and addresses that they are used for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ssl import CERT_REQUIRED, SSLContext
from typing import Final, NoReturn, TypeAlias
from urllib.parse import urljoin, urlsplit

from ..errors import AccountError
from .secret import LEAST_SEARCHED, BearerProvider, Secret
from .urls import CATALOG_URL, CLOUD_URL, SEARCH_URL, checked_proxy, checked_url

_STAGING_CLOUD = "test.cloud.ibm.com"
_GLOBAL_REGION = "us-east"  # its host name does not contain the region
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
EMULATED_KEY: Final = "emulated-"
"""The beginning of an emulator's API keys, which IBM Cloud does not know."""

_KEY: Final = re.compile(r"[\w-]{40,}")  # IBM Cloud's have 44 characters
_SHOWN: Final = 140  # characters of a refused CRN; a good one has some 120
_CRN_TEXT = re.compile(r"[\x21-\x7e]{1,512}")  # it becomes a header: visible ASCII, no spaces


@dataclass(frozen=True, slots=True)
class Instance:
    """A service instance: it decides which backends an account may use.

    Args:
        crn: its Cloud Resource Name, `crn:v1:bluemix:public:quantum-computing:REGION:a/ACCOUNT:GUID::`. Other
            services' emulators leave out the last field, which is empty.
        url: the base address of its API, such as `http://127.0.0.1:8101/api/v1`; left out, it is derived
            from `cloud_url` and the region.
        private_endpoint: whether to use the region's private endpoint.
        cloud_url: the root address of the cloud; one with `experimental` in it is the base address itself.

    Raises:
        AccountError: the CRN or an address is not well-formed.
    """

    crn: str
    url: str | None = None
    private_endpoint: bool = False
    cloud_url: str = CLOUD_URL

    def __post_init__(self) -> None:
        parts = self.crn.split(":") if isinstance(self.crn, str) else []
        well_formed = len(parts) in (9, 10) and parts[0] == "crn" and _CRN_TEXT.fullmatch(self.crn)
        if not well_formed or not _LABEL.fullmatch(parts[5]):
            raise AccountError(
                f"{_shortened(self.crn)} is not the CRN of an instance{_what_is_wrong(self.crn)}; "
                "it looks like crn:v1:bluemix:public:quantum-computing:us-east:a/ACCOUNT:GUID:: "
                "and is shown on the Instances page of the IBM Quantum Platform"
            )
        object.__setattr__(self, "url", None if self.url is None else checked_url(self.url))
        object.__setattr__(self, "cloud_url", checked_url(self.cloud_url))

    @property
    def region(self) -> str:
        """The region, such as `us-east`: the CRN's sixth field."""
        return self.crn.split(":")[5]

    @property
    def staging(self) -> bool:
        """Whether it belongs to the staging cloud: the CRN's third field."""
        return self.crn.split(":")[2] == "staging"

    @property
    def base_url(self) -> str:
        """The base address of its Backends API, without a slash at its end."""
        if self.url is not None:
            return self.url
        if "experimental" in self.cloud_url:  # by this the official client takes it for the API's address
            return urljoin(f"{self.cloud_url}/", ".").rstrip("/")
        root = urlsplit(self.cloud_url)
        if self.private_endpoint:
            prefix = f"private.{self.region}."
        else:
            prefix = "" if self.region == _GLOBAL_REGION else f"{self.region}."
        return f"{root.scheme}://{prefix}quantum.{root.netloc}/api/v1"


def _shortened(crn: object) -> str:
    """Return a CRN that is refused, with its beginning and its end, where most mistakes are."""
    if isinstance(crn, str) and _KEY.fullmatch(crn):
        return "what looks like an API key"
    shown = repr(crn)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN // 2]}…{shown[-_SHOWN // 2 :]}"


def _what_is_wrong(crn: object) -> str:
    """Return what the most frequent mistakes in a CRN are, as the next part of a sentence, or nothing."""
    if not isinstance(crn, str) or "crn:" not in crn:
        return ""
    parts = crn.split(":")
    if "," in crn or crn.count("crn:") > 1:
        return ": it seems to be several, and only one is taken"
    if crn != crn.strip(" \t\r\n'\""):
        return ": it begins or ends with a blank or a quote"
    if len(parts) == 8:
        return ": the two colons at its end are missing"
    if len(parts) not in (9, 10):
        return f": it has {len(parts)} fields instead of 10, which colons separate"
    return "" if _LABEL.fullmatch(parts[5]) else f": its sixth field, {parts[5]!r:.40}, is no region"


AnInstance: TypeAlias = Instance | str | None
"""An instance of the account: itself, its CRN or its name; None where the client chooses."""


@dataclass(frozen=True, slots=True)
class InstanceSearch:
    """Which instances are used for an account that names none: all that match every condition given here.

    Args:
        name: the instance's name or CRN. If no instance has this name, it is a glob, such as `lab-*`.
        regions: the regions in which it may be, such as `us-east`.
        plans: the plans that it may have, such as `open` or `premium`, in order of preference; case does
            not matter. Left out, free and trial instances come first, then paid ones.
        tags: tags of which it has all; case does not matter.
        cloud_url: the root address of the cloud, from which the instances' addresses are derived; one with
            `experimental` in it is the base address of all.
        private_endpoint: whether to use the regions' private endpoints.
        endpoints: by region, the base address of the Backends API, in place of the derived one.

    Raises:
        AccountError: an argument has a wrong type, or an address is not well-formed.
    """

    name: str | None = None
    regions: Sequence[str] = ()
    plans: Sequence[str] = ()
    tags: Sequence[str] = ()
    cloud_url: str = CLOUD_URL
    private_endpoint: bool = False
    endpoints: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("regions", "plans", "tags"):
            values = getattr(self, name)
            if isinstance(values, str) or not all(isinstance(value, str) for value in values):
                raise AccountError(f"{name} has to be a list of texts")
            put(self, name, tuple(values))
        put(self, "cloud_url", checked_url(self.cloud_url))
        put(self, "endpoints", {region: checked_url(url) for region, url in dict(self.endpoints).items()})

    def instance(self, crn: str) -> Instance:
        """Return the instance with this CRN, at the address that this search gives it.

        Raises:
            AccountError: it is not the CRN of an instance.
        """
        found = Instance(crn, private_endpoint=self.private_endpoint, cloud_url=self.cloud_url)
        url = self.endpoints.get(found.region)
        return found if url is None else Instance(crn, url=url)


@dataclass(frozen=True)
class Account:
    """Credentials, and the instances that they are used for.

    Args:
        api_key: an IBM Cloud API key. It is sent to IAM only, in exchange for bearer tokens.
        token: a bearer token, or an async callable that returns a token and when it expires in Unix
            seconds, `math.inf` for never. It runs in the event loop, so it must not block; whatever it
            raises is an error of the call. Exactly one of `api_key` and `token` has to be given.
        instances: the service instances, in order of preference; left out, they are looked up.
        search: which instances to look up, if `instances` is left out.
        iam_url: the address of IAM; left out, it is derived from the instances.
        search_url: the address of Global Search, which lists an account's instances.
        catalog_url: the address of Global Catalog, which lists their plans.
        proxies: proxy address by scheme of the request, such as `{"https": "http://proxy:3128"}`.
        verify: whether TLS certificates are verified; an `ssl.SSLContext` may contain further certificate
            authorities or a client certificate.
        identity: for a token from a callable, a secret text that stands for the tokens' owner, the same in
            every process that acts for this owner. Cached answers are shared by processes that have the
            same `identity`; without it, they stay in their client.
        source: where the credential is from, such as `QISKIT_IBM_TOKEN`; errors about it say so.

    Raises:
        AccountError: an argument is missing or not well-formed.
    """

    api_key: Secret | str | None = None
    token: Secret | str | BearerProvider | None = None
    instances: Sequence[Instance] = ()
    search: InstanceSearch = field(default_factory=InstanceSearch)
    iam_url: str | None = None
    search_url: str = SEARCH_URL
    catalog_url: str = CATALOG_URL
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)  # may contain a password
    verify: bool | SSLContext = True
    identity: Secret | str | None = None
    source: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        self._check_credentials()
        instances = tuple(self.instances) if isinstance(self.instances, Iterable) else (None,)
        if not all(isinstance(instance, Instance) for instance in instances):
            raise AccountError("instances have to be a list of Instance objects: [Instance(crn='crn:v1:…')]")
        put(self, "instances", instances)
        if len({instance.crn for instance in self.instances}) != len(self.instances):
            raise AccountError("an instance is named twice")
        for name in ("iam_url", "search_url", "catalog_url"):
            if getattr(self, name) is not None:
                put(self, name, checked_url(getattr(self, name)))
        if not isinstance(self.search, InstanceSearch):
            raise AccountError("search has to be an InstanceSearch")
        if not isinstance(self.verify, (bool, SSLContext)):
            raise AccountError("verify has to be True, False or an ssl.SSLContext")
        put(self, "proxies", {key: checked_proxy(key, url) for key, url in dict(self.proxies).items()})

    def _check_credentials(self) -> None:
        for name in ("api_key", "token", "identity"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, self._secret(name, value))
            elif not (value is None or isinstance(value, Secret) or (name == "token" and callable(value))):
                instances = isinstance(value, Iterable | Instance)
                hint = (
                    ": give instances by name, Account(api_key, instances=[Instance(…)])" if instances else ""
                )
                raise AccountError(f"{name} cannot be a {type(value).__name__}{hint}")
        if (self.api_key is None) == (self.token is None):
            raise AccountError("an account needs an api_key or a token, and not both")
        if isinstance(self.api_key, Secret) and len(self.api_key.reveal()) < LEAST_SEARCHED:
            raise AccountError(f"an API key has {LEAST_SEARCHED} characters or more; this one is shorter")
        if self.identity is not None and not callable(self.token):
            raise AccountError("identity goes with a token from a callable; keys and tokens have one")

    def _secret(self, name: str, text: str) -> Secret:
        try:
            return Secret(text)
        except AccountError as error:
            of = f"the {name} of {self.source}" if self.source else f"the {name}"
            problem = f"{of}: {error.message}"
        raise AccountError(problem)

    @cached_property
    def iam(self) -> str:
        """The address of IAM: `iam_url`, or else the one that belongs to the instances' cloud."""
        if self.iam_url is not None:
            return self.iam_url
        first = self.instances[0] if self.instances else None
        where = first or self.search
        cloud = _STAGING_CLOUD if first and first.staging else where.cloud_url.partition("://")[2]
        return f"https://{'private.' if where.private_endpoint else ''}iam.{cloud}"

    @property
    def emulated(self) -> bool:
        """Whether its API key is an emulator's, so that nothing that it reads is IBM's."""
        return isinstance(self.api_key, Secret) and self.api_key.reveal().startswith(EMULATED_KEY)

    @property
    def verified(self) -> bool:
        """Whether the server's certificate and its name are checked."""
        if isinstance(self.verify, SSLContext):
            return self.verify.verify_mode is CERT_REQUIRED and self.verify.check_hostname
        return self.verify

    def __reduce__(self) -> NoReturn:
        raise TypeError("an account holds secrets and is not pickled; load it anew in each process")
