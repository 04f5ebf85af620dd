"""The usage of an instance, which clients read before they run jobs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from .emulated_instances import EmulatedInstance

_PERIOD = timedelta(days=28)
_LIMIT = 600  # seconds per period, of the plan that costs nothing


def usage_of(instance: EmulatedInstance, now: float) -> dict[str, Any]:
    """Return the body of `GET /instances/usage`: some of the plan's time is used up; only free plans end.

    Args:
        instance: the instance.
        now: the Unix time, in seconds.
    """
    end = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    usage: dict[str, Any] = {
        "instance_id": instance.crn,
        "plan_id": instance.plan.id,
        "usage_period": {"start_time": _text(end - _PERIOD), "end_time": _text(end)},
        "usage_consumed_seconds": int(instance.crn.split(":")[7][:4], 16) % _LIMIT,
    }
    if instance.plan.pricing == "free":
        usage |= {"usage_limit_seconds": _LIMIT, "usage_limit_reached": False}
    return usage


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")
