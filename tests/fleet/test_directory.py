"""Which instance has which backend: the last known lists, asked for once."""

import asyncio
import gc
from collections.abc import Callable
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from qrbackends import (
    Account,
    AccountError,
    AuthenticationFailed,
    Backend,
    ClientClosed,
    Fetched,
    Forbidden,
    Instance,
    InstanceUnavailable,
    NotFound,
    QRBackendsError,
    Request,
    ServerError,
    Timeout,
)
from qrbackends.accounts.scope import Scope, Scopes
from qrbackends.cache.entry import Source
from qrbackends.fleet.directory import Directory
from qrbackends.models import BackendsResponse, DeviceStatus
from qrbackends.service.instances import ServiceInstance

from ..internals import kept_scopes, listed_instances
from ..waiting import until

pytestmark = pytest.mark.anyio

LIST = Request("backends")


def instance(name: str, region: str = "us-east") -> Instance:
    return Instance(f"crn:v1:bluemix:public:quantum-computing:{region}:a/account:{name}::")


A, B, C = instance("a"), instance("b", "eu-de"), instance("c")


class Service:
    """Three instances' lists, each of names or an error, and how often each was asked."""

    def __init__(self, **lists: list[str] | Callable[[], QRBackendsError]) -> None:
        self.lists = lists
        self.asked: list[str] = []
        self.fetched: dict[str, tuple[float, Source]] = {}  # age and source of the lists

    async def fetch(
        self, request: Request, scope: Scope, deadline: float | None = None, **how: Any
    ) -> Fetched[BackendsResponse]:
        instance = scope.instance
        name = instance.crn.split(":")[7]
        self.asked.append(name)
        await anyio.lowlevel.checkpoint()
        listed = self.lists[name]
        if not isinstance(listed, list):
            raise listed().about(region=instance.region)
        devices = tuple(
            Backend(n, DeviceStatus("online"), 0, region=instance.region, instance=instance.crn)
            for n in listed
        )
        return Fetched(BackendsResponse(devices), *self.fetched.get(name, (0.0, "origin")))


def directory(service: Service, *instances: Instance) -> Directory:
    account = Account(token="t", instances=instances or (A, B, C))
    return Directory(account, Scopes(account, "2026-04-15"), service.fetch)


async def find(known: Directory, backend: str, until: float = inf) -> Instance:
    """Ask as the client does: the lists that are known first."""
    request = Request("status", backend)
    return (known.route(request) or await known.find(request, None, until)).instance


def forbidden() -> QRBackendsError:
    return Forbidden("no right", 403)


def broken() -> QRBackendsError:
    return ServerError("broken", 500)


async def test_the_list_has_every_instance_s_backends_in_the_account_s_order() -> None:
    listed = (await directory(Service(a=["x", "y"], b=["z"], c=[])).list(LIST)).value
    assert [(b.name, b.region, b.instance) for b in listed] == [
        ("x", "us-east", A.crn),
        ("y", "us-east", A.crn),
        ("z", "eu-de", B.crn),
    ]
    assert listed.errors == ()


async def test_a_failed_instance_does_not_hide_the_others() -> None:
    listed = (await directory(Service(a=["x"], b=forbidden, c=["y"])).list(LIST)).value
    assert [b.name for b in listed] == ["x", "y"]
    assert [type(error) for error in listed.errors] == [Forbidden]


async def test_only_if_every_instance_failed_is_an_error_raised() -> None:
    with pytest.raises(Forbidden):
        await directory(Service(a=forbidden, b=forbidden, c=forbidden)).list(LIST)
    with pytest.raises(InstanceUnavailable, match="no instance could be listed") as caught:
        await directory(Service(a=forbidden, b=broken, c=forbidden)).list(LIST)
    assert [type(error) for error in caught.value.errors] == [Forbidden, ServerError, Forbidden]


async def test_a_backend_is_found_in_the_first_instance_that_lists_it() -> None:
    service = Service(a=["x"], b=["x", "y"], c=["y"])
    finder = directory(service)
    assert await find(finder, "x") == A
    assert await find(finder, "y") == B
    assert sorted(service.asked) == ["a", "b", "c"], "the lists are fetched once"


async def test_many_callers_cost_one_round_of_lists() -> None:
    service = Service(a=["x"], b=["y"], c=["z"])
    finder = directory(service)
    found = await asyncio.gather(*(find(finder, name) for name in ["x", "y", "z"] * 300))
    assert found == [A, B, C] * 300
    assert sorted(service.asked) == ["a", "b", "c"]


async def test_one_instance_needs_no_list() -> None:
    service = Service(a=[])
    assert await find(directory(service, A), "anything") == A
    assert service.asked == []


async def test_an_unknown_backend_is_asked_for_anew_and_then_not_found() -> None:
    service = Service(a=["x"], b=[], c=[])
    finder = directory(service)
    await finder.list(LIST)
    with pytest.raises(NotFound, match="no instance of the account lists this backend") as caught:
        await find(finder, "new")
    assert (caught.value.backend, caught.value.status, caught.value.attempts) == ("new", 404, 0)
    service.lists["c"] = ["new"]
    assert await find(finder, "new") == C


async def test_the_last_known_list_is_used_however_old() -> None:
    service = Service(a=["x"], b=["y"], c=[])
    finder = directory(service)
    await finder.list(LIST)
    service.lists |= {"a": broken, "b": broken, "c": broken}
    with pytest.raises(ServerError):
        await finder.list(LIST)
    assert await find(finder, "y") == B


async def test_not_found_is_not_said_while_an_instance_is_unlisted() -> None:
    finder = directory(Service(a=["x"], b=broken, c=[]))
    with pytest.raises(InstanceUnavailable, match="eu-de") as caught:
        await find(finder, "y")
    assert caught.value.backend == "y"
    assert [type(error) for error in caught.value.errors] == [ServerError]


async def test_age_and_source_of_a_list_are_those_of_its_oldest_part() -> None:
    service = Service(a=["x"], b=["y"], c=forbidden)
    service.fetched = {"a": (7.0, "stale"), "b": (2.0, "memory")}
    listed = await directory(service).list(LIST)
    assert (listed.age, listed.source) == (7.0, "stale")


async def test_an_old_list_is_believed_for_what_it_has_and_not_for_what_it_lacks() -> None:
    service = Service(a=["x"], b=["y"], c=[])
    service.fetched = {"b": (70.0, "stale")}
    finder = directory(service)
    assert await find(finder, "y") == B
    with pytest.raises(InstanceUnavailable, match=r"\[eu-de\]: its list is 70 s old"):
        await find(finder, "new")


async def test_failures_are_not_remembered() -> None:
    service = Service(a=["x"], b=broken, c=[])
    finder = directory(service)
    with pytest.raises(InstanceUnavailable):
        await find(finder, "y")
    service.lists["b"] = ["y"]
    assert await find(finder, "y") == B


async def test_a_backend_that_moved_is_found_where_it_is_now() -> None:
    service = Service(a=["x"], b=[], c=[])
    finder = directory(service)
    assert await find(finder, "x") == A
    service.lists |= {"a": [], "b": ["x"]}
    await finder.list(LIST)
    assert await find(finder, "x") == B


async def test_an_instance_is_named_by_itself_or_its_crn() -> None:
    finder, status = directory(Service()), Request("status", "x")
    scope = finder.scopes[1]
    assert scope.instance == B
    assert finder.route(status, B) == scope
    assert finder.route(status, B.crn) == scope
    with pytest.raises(AccountError, match="none of the account's instances; there are crn:"):
        finder.route(status, instance("stranger"))


class Slow(Service):
    """A service whose instance b answers when the test lets it."""

    def __init__(self, **lists: list[str] | Callable[[], QRBackendsError]) -> None:
        super().__init__(**lists)
        self.answers = asyncio.Event()

    async def fetch(
        self, request: Request, scope: Scope, deadline: float | None = None, **how: Any
    ) -> Fetched[BackendsResponse]:
        instance = scope.instance
        if instance.crn.split(":")[7] == "b":
            self.asked.append("b")
            await self.answers.wait()
            self.asked.remove("b")
        return await super().fetch(request, scope, deadline, **how)


async def test_a_slow_instance_does_not_delay_those_before_it() -> None:
    finder = directory(Slow(a=["x"], b=["y"], c=["z"]))
    assert await find(finder, "x") == A
    await finder.aclose()


async def test_a_slow_instance_is_not_waited_for_longer_than_its_share() -> None:
    service = Slow(a=["x"], b=["y"], c=["z"])
    finder = directory(service)
    assert await find(finder, "z", anyio.current_time() + 0.4) == C
    assert await find(finder, "z") == C, "what its list said is known from then on"
    with pytest.raises(InstanceUnavailable, match="its list takes too long") as caught:
        await find(finder, "nowhere", anyio.current_time() + 0.1)
    assert [type(error) for error in caught.value.errors] == [Timeout]
    assert sorted(service.asked) == ["a", "b", "c"], "and none is asked twice while one is under way"
    service.answers.set()
    assert await find(finder, "y") == B
    await finder.aclose()


async def test_no_other_regions_list_is_waited_for_once_one_has_the_backend() -> None:
    here, there = instance("c"), instance("a", "eu-de")
    service = Slow(a=["x"], b=["y"], c=["x", "z"])
    finder = directory(service, instance("b", "eu-gb"), here, there)
    with anyio.fail_after(30):
        assert await find(finder, "z") == here
        assert await find(finder, "x") == here, "which goes before the other"
    await finder.aclose()


async def test_an_earlier_instance_of_the_same_region_is_waited_for() -> None:
    service = Slow(a=["x"], b=["x"], c=["x"])
    slow, quick = instance("b"), instance("c")
    finder = directory(service, slow, quick)
    finding = asyncio.create_task(find(finder, "x"))
    await until(lambda: "c" in service.asked)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not finding.done()
    service.answers.set()
    with anyio.fail_after(30):
        assert await finding == slow
    await finder.aclose()


async def test_a_list_that_failed_is_asked_for_anew_while_another_is_under_way() -> None:
    service = Slow(a=broken, b=["y"], c=["z"])
    finder = directory(service)
    assert await find(finder, "z") == C
    service.lists["a"] = ["x"]
    assert await find(finder, "x") == A
    await finder.aclose()


@pytest.mark.parametrize("failure", [lambda: NotFound("no such path", 404), broken])
async def test_not_found_is_not_said_when_nothing_could_be_listed(
    failure: Callable[[], QRBackendsError],
) -> None:
    with pytest.raises(InstanceUnavailable):
        await find(directory(Service(a=failure, b=failure, c=failure)), "x")


class Changing:
    """A discovery whose every look-up finds another instance, and one that stays."""

    def __init__(self) -> None:
        self.looks = 0
        self.found: tuple[ServiceInstance, ...] = ()

    async def instances(
        self, deadline: float | None = None, *, refresh: bool = False
    ) -> tuple[ServiceInstance, ...]:
        self.looks += 1
        self.found = ServiceInstance(A, "stays"), ServiceInstance(instance(f"i{self.looks}"), "changes")
        return self.found

    def known(self) -> tuple[ServiceInstance, ...]:
        return self.found


async def test_instances_that_come_and_go_leave_nothing() -> None:
    service = Service(a=["x"], **{f"i{number}": ["x", f"y{number}"] for number in range(1, 51)})
    account, scopes = Account(token="t"), Scopes(Account(token="t"), "2026-04-15")
    finder = Directory(account, scopes, service.fetch, Changing())  # type: ignore[arg-type]
    request = Request("status", "x")
    staying = None
    for number in range(1, 51):
        await finder.list(LIST)
        assert (await find(finder, "x"), await find(finder, f"y{number}")) == (A, instance(f"i{number}"))
        scope = finder.route(request, "stays")
        assert staying in (None, scope)
        staying = scope
        assert finder.route(request, "changes") is finder.scopes[1]
    gc.collect()
    known = {one.crn for one in finder.scopes}
    assert listed_instances(finder) == known
    assert kept_scopes(scopes) == known


async def test_a_useless_account_is_told_as_it_is() -> None:
    def refused() -> QRBackendsError:
        return AuthenticationFailed("IAM refused the API key")

    with pytest.raises(AuthenticationFailed):
        await find(directory(Service(a=refused, b=refused, c=refused)), "x")


async def test_closing_ends_the_search() -> None:
    finder = directory(Slow(a=["x"], b=["y"], c=["z"]))
    searching = asyncio.create_task(find(finder, "y"))
    await anyio.wait_all_tasks_blocked()
    await finder.aclose()
    with pytest.raises(ClientClosed):
        await searching
