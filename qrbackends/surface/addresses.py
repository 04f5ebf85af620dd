"""Where a server of the service's language is, as it is printed and told."""

from collections.abc import Mapping
from dataclasses import replace

from msgspec import Struct

from ..accounts.account import Account, Instance, InstanceSearch


class InstanceAddress(Struct, frozen=True):
    """A service instance, and the base address of its Backends API."""

    crn: str
    region: str
    url: str


class Addresses(Struct, frozen=True):
    """Where an emulator or a gateway is, and the key and instances that it accepts.

    Attributes:
        regions: by region, the base address of its Backends API.
        iam_url: the address of IAM.
        search_url: the address of Global Search.
        catalog_url: the address of Global Catalog.
        api_key: an API key, which is good for nothing else; empty where none may be told.
        instances: the instances that have backends.
    """

    regions: Mapping[str, str]
    iam_url: str
    search_url: str
    catalog_url: str
    api_key: str
    instances: tuple[InstanceAddress, ...]

    def account(self, search: InstanceSearch | None = None) -> Account:
        """Return an account with the key and all instances.

        Args:
            search: which instances to look up; if given, the account names none.

        Raises:
            AccountError: an address, the key or a CRN is not well-formed.
        """
        named = () if search else self.instances
        return Account(
            api_key=self.api_key,
            instances=[Instance(one.crn, url=one.url) for one in named],
            search=replace(search or InstanceSearch(), endpoints=self.regions),
            iam_url=self.iam_url,
            search_url=self.search_url,
            catalog_url=self.catalog_url,
        )
