"""The service instances of an account: those that it names, or those that match its search."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ..accounts.account import Instance, InstanceSearch
from ..errors import AccountError
from ..messages.counts import noun
from ..messages.suggestions import suggested

UNKNOWN: Final = "unknown"
"""A plan, or a pricing type, that the catalog does not name."""

_PRICES: Final = ("free", "trial", "paygo", "paid", "subscription")  # by preference, as in IBM's client
_SHOWN = 20  # the most instances that an error names


class ServiceInstance(Struct, frozen=True):
    """A service instance as Global Search and Global Catalog describe it.

    Attributes:
        instance: its CRN and address.
        name: the name that its owner gave it.
        plan: the plan, such as `open` or `premium`; `unknown` if the catalog does not name it.
        pricing: the pricing type, such as `free` or `paygo`; `unknown` if the catalog does not name it.
        tags: the tags that its owner gave it.
    """

    instance: Instance
    name: str = ""
    plan: str = UNKNOWN
    pricing: str = UNKNOWN
    tags: tuple[str, ...] = ()


def named(instances: Sequence[Instance], known: Sequence[ServiceInstance]) -> tuple[ServiceInstance, ...]:
    """Return the instances that the account names, with their names, plans and tags if known."""
    by_crn = {one.instance.crn: one for one in known}
    return tuple(
        replace(by_crn[one.crn], instance=one) if one.crn in by_crn else ServiceInstance(one)
        for one in instances
    )


def matching(search: InstanceSearch, known: Sequence[ServiceInstance]) -> tuple[ServiceInstance, ...]:
    """Return the instances that match the search, in the official client's order of preference.

    Raises:
        AccountError: no instance matches.
    """
    fitting = [one for one in _of_name(search.name, known) if _matches(search, one)]
    plans = [plan.lower() for plan in search.plans]
    if plans:
        chosen = sorted((one for one in fitting if one.plan in plans), key=lambda one: plans.index(one.plan))
    else:
        chosen = sorted(fitting, key=lambda one: _PRICES.index(one.pricing) if one.pricing in _PRICES else 9)
    if chosen:
        return tuple(chosen)
    raise _no_match(search, known)


def _no_match(search: InstanceSearch, known: Sequence[ServiceInstance]) -> AccountError:
    """Return the error that says which instances there are, and what is like what was asked for."""
    names = () if search.name is None else (search.name,)
    wanted = {"name": names, "region": search.regions, "plan": search.plans, "tag": search.tags}
    conditions = (
        f"{noun(len(values), key)} {' or '.join(map(repr, values))}"
        for key, values in wanted.items()
        if values
    )
    asked = ", ".join(conditions) or "any at all"
    seen = ", ".join(f"{one.name} ({one.instance.region}, {one.plan})" for one in known[:_SHOWN]) or "none"
    problem = f"the account can see no instance with {asked}; it can see: {seen}"
    there: tuple[tuple[Sequence[str | None], Sequence[str]], ...] = (
        (() if _of_name(search.name, known) else (search.name,), [one.name for one in known]),
        (search.regions, [one.instance.region for one in known]),
        ([plan.lower() for plan in search.plans], [one.plan for one in known]),
        ([tag.lower() for tag in search.tags], [tag.lower() for one in known for tag in one.tags]),
    )
    for missing, known_names in there:
        for name in missing:
            problem = suggested(problem, name, known_names)
    return AccountError(problem)


def _of_name(name: str | None, known: Sequence[ServiceInstance]) -> Sequence[ServiceInstance]:
    """Return the instances with this name or CRN; if there is none, those with a name that matches it."""
    if name is None:
        return known
    exact = [one for one in known if name in (one.name, one.instance.crn)]
    return exact or [one for one in known if fnmatchcase(one.name, name)]


def _matches(search: InstanceSearch, one: ServiceInstance) -> bool:
    tags = {tag.lower() for tag in one.tags}
    in_region = not search.regions or one.instance.region in search.regions
    return in_region and tags.issuperset(tag.lower() for tag in search.tags)
