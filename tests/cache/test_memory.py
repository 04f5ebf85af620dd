"""The memory tier: bounded, fair, and forgetful on time."""

import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends import Memory, Request
from qrbackends.cache.entry import Entry
from qrbackends.cache.memory import Key, clock_of

from ..internals import epochs


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def key(scope: str, name: str) -> Key:
    return scope, Request("properties", name)


def put(memory: Memory, where: Key, size: int = 10, lives: float = 100.0) -> Entry:
    now = memory.clock()
    entry = Entry(where, now, now + lives / 2, now + lives, size)
    memory.put(memory.epoch(where), entry)
    return entry


def test_what_is_put_is_got_until_it_expires(clock: Clock) -> None:
    memory = Memory(clock=clock)
    entry = put(memory, key("s", "a"))
    clock.now = 99.0
    assert memory.get(key("s", "a")) is entry
    assert (len(memory), memory.bytes) == (1, 10)
    clock.now = 100.0
    assert memory.get(key("s", "a")) is None
    assert (memory.bytes, memory.evictions) == (0, 0)
    put(memory, key("s", "a"))
    assert memory.bytes == 10


def test_the_least_recently_used_leave_first(clock: Clock) -> None:
    memory = Memory(30, share=1.0, clock=clock)
    for name in "abc":
        put(memory, key("s", name))
    memory.get(key("s", "a"))
    put(memory, key("s", "d"))
    assert [name for name in "abcd" if memory.get(key("s", name))] == ["a", "c", "d"]
    assert (memory.bytes, memory.evictions) == (30, 1)


def test_what_is_too_large_is_not_kept_and_harms_nothing(clock: Clock) -> None:
    memory = Memory(30, share=1.0, clock=clock)
    put(memory, key("s", "a"))
    put(memory, key("s", "b"), 31)
    assert memory.get(key("s", "b")) is None
    assert memory.get(key("s", "a")) is not None
    nothing = Memory(0, clock=clock)
    put(nothing, key("s", "a"))
    assert len(nothing) == 0


def test_one_scope_takes_no_more_than_its_share(clock: Clock) -> None:
    memory = Memory(100, share=0.5, clock=clock)
    put(memory, key("quiet", "a"))
    for number in range(50):
        put(memory, key("loud", str(number)))
    assert memory.get(key("quiet", "a")) is not None
    assert (memory.bytes, memory.evictions) == (60, 45)
    assert memory.get(key("loud", "45")) is not None
    assert memory.get(key("loud", "44")) is None


def test_a_new_answer_takes_the_old_one_s_place(clock: Clock) -> None:
    memory = Memory(clock=clock)
    put(memory, key("s", "a"), 10)
    newer = put(memory, key("s", "a"), 20)
    assert memory.get(key("s", "a")) is newer
    assert memory.bytes == 20


def test_removing_counts_and_spoils_what_is_under_way(clock: Clock) -> None:
    memory = Memory(clock=clock)
    for scope in ("s", "t"):
        for name in "ab":
            put(memory, key(scope, name))
    epoch = memory.epoch(key("s", "a"))
    assert memory.remove(["s"], lambda request: request.backend == "a") == 1
    assert epoch.over
    memory.put(epoch, Entry("old", 0.0, 1.0, 2.0, 1))
    assert memory.get(key("s", "a")) is None
    assert memory.epoch(key("s", "a")) is not epoch
    assert memory.remove(["s", "t", "unknown"], lambda _: True) == 3
    assert memory.bytes == 0


def test_an_epoch_is_shared_until_a_new_one_is_asked_for(clock: Clock) -> None:
    memory = Memory(clock=clock)
    first = memory.epoch(key("s", "a"))
    assert memory.epoch(key("s", "a")) is first
    second = memory.new_epoch(key("s", "a"))
    assert (first.over, second.over) == (True, False)
    assert memory.epoch(key("s", "a")) is second
    del first, second
    assert not epochs(memory), "they leave with those who hold them"


@pytest.mark.parametrize("make", [lambda: Memory(-1), lambda: Memory(share=0), lambda: Memory(share=1.1)])
def test_what_makes_no_sense_is_refused(make: Callable[[], Memory]) -> None:
    with pytest.raises(ValueError, match="has to be"):
        make()


def test_nothing_expires_half_way() -> None:
    ticks = iter(range(10_000))
    memory = Memory(100, share=0.2, clock=lambda: next(ticks))  # every look at it takes a second
    for number in range(300):
        put(memory, key("s", str(number % 5)), lives=number % 9)
    assert memory.bytes <= 20


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "get", "pass", "remove"]),
            st.sampled_from("stu"),
            st.sampled_from("abcd"),
            st.integers(0, 60),
        ),
        max_size=60,
    )
)
def test_the_accounts_are_right_whatever_happens(steps: list[tuple[str, str, str, int]]) -> None:
    clock = Clock()
    memory = Memory(100, share=0.5, clock=clock)
    for what, scope, name, number in steps:
        if what == "put":
            put(memory, key(scope, name), number, lives=number or 1)
        elif what == "get":
            memory.get(key(scope, name))
        elif what == "pass":
            clock.now += number
        else:
            memory.remove([scope], lambda request, name=name: request.backend == name)  # type: ignore[misc]
        kept = {
            (scope, name): entry.size
            for scope in "stu"
            for name in "abcd"
            if (entry := memory.get(key(scope, name)))
        }
        assert memory.bytes == sum(kept.values()) <= 100
        for scope in "stu":
            assert sum(size for (own, _), size in kept.items() if own == scope) <= 50


@pytest.mark.parametrize("sizes", [(10, 0), (0, 10), (0, 0)])
def test_an_entry_may_take_nothing(clock: Clock, sizes: tuple[int, int]) -> None:
    memory = Memory(clock=clock)
    for name, size in zip("ab", sizes, strict=True):
        put(memory, key("s", name), size)
    assert (len(memory), memory.bytes) == (2, sum(sizes))
    assert memory.remove(["s"], lambda request: request.backend == "a") == 1
    clock.now = 100.0
    put(memory, key("s", "c"), 7)  # the other has expired
    assert (len(memory), memory.bytes) == (1, 7)


# --- the clock


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    """A night of sleep, as the clocks of each system tell it."""
    clocks: dict[str, Any] = {
        "Linux": SimpleNamespace(
            CLOCK_BOOTTIME=7,
            CLOCK_MONOTONIC=1,
            clock_gettime={7: 30_000.0, 1: 5.0}.get,
            monotonic=lambda: 5.0,
        ),
        "macOS": SimpleNamespace(CLOCK_MONOTONIC=6, clock_gettime={6: 30_000.0}.get, monotonic=lambda: 5.0),
        "Windows": SimpleNamespace(monotonic=lambda: 30_000.0),
    }
    for system, clock in clocks.items():
        assert clock_of(clock)() == 30_000.0, system
    before, now, after = clock_of(time)(), Memory().clock(), clock_of(time)()
    assert before <= now <= after, "it is the one that is used"


def test_the_clock_cannot_be_replaced(clock: Clock) -> None:
    memory = Memory(clock=clock)
    with pytest.raises(AttributeError):
        memory.clock = lambda: 0.0  # type: ignore[misc]
    assert memory.clock is clock


# --- statistics


def test_reading_the_statistics_removes_nothing(clock: Clock) -> None:
    memory = Memory(clock=clock)
    entry = put(memory, key("s", "a"), lives=100.0)
    clock.now = 200.0
    assert (len(memory), memory.bytes, memory.evictions) == (0, 0, 0)
    clock.now = 50.0  # only so can be seen that the entry is still there
    assert memory.get(key("s", "a")) is entry
    assert (len(memory), memory.bytes) == (1, 10)


def test_statistics_are_right_in_any_thread_while_entries_come_and_go() -> None:
    loop, now = threading.get_ident(), 0.0

    def clock() -> float:
        nonlocal now
        if threading.get_ident() == loop:
            now += 1.0
        return now

    memory, errors, done = Memory(100, share=0.5, clock=clock), [], threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert 0 <= memory.bytes <= 100
                assert 0 <= len(memory) <= 100
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=read) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for number in range(1000):
            put(memory, key("stu"[number % 3], str(number % 40)), 1 + number % 20, lives=3 + number % 50)
            memory.get(key("s", str(number % 7)))
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    assert errors == []
    assert memory.remove("stu", lambda _: True) >= 0
    assert (len(memory), memory.bytes) == (0, 0)
    put(memory, key("s", "a"), 50)
    assert memory.bytes == 50, "nothing is accounted twice"
