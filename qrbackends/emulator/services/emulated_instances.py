"""The service instances of the emulated account; the same seed gives the same ones."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ...surface.cloud import Plan
from ...surface.wire import as_uuid


@dataclass(frozen=True, slots=True)
class EmulatedInstance:
    """A service instance in Global Search.

    Attributes:
        crn: its Cloud Resource Name.
        name: its name.
        region: its region.
        plan: its plan.
        tags: its tags.
        usable: whether it has an allocation of backends; Global Search also lists instances without one.
    """

    crn: str
    name: str
    region: str
    plan: Plan
    tags: tuple[str, ...]
    usable: bool = True


PLANS = tuple(
    Plan(as_uuid(hashlib.sha256(f"plan/{name or 'archived'}".encode()).hexdigest()), name, pricing)
    for name, pricing in (
        ("Open", "free"),
        ("Pay-As-You-Go", "paygo"),
        ("Premium", "subscription"),
        ("Flex", "paid"),
        ("", ""),
    )
)


def make_instances(seed: str, regions: Sequence[str], count: int, unusable: int) -> list[EmulatedInstance]:
    """Return the instances: for each region, `count` usable ones and `unusable` others."""
    account = hashlib.sha256(f"{seed}/account".encode()).hexdigest()[:32]
    made = []
    for number in range(count + unusable):
        for region in regions:
            guid = as_uuid(hashlib.sha256(f"{seed}/instance/{region}/{number}".encode()).hexdigest())
            made.append(
                EmulatedInstance(
                    crn=f"crn:v1:bluemix:public:quantum-computing:{region}:a/{account}:{guid}::",
                    name=f"emulated-{region}-{number + 1}",
                    region=region,
                    plan=PLANS[number % len(PLANS)],
                    tags=("emulated", f"batch:{number // 100}"),
                    usable=number < count,
                )
            )
    return made
