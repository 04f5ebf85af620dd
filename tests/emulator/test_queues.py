"""The queues."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qrbackends.emulator.services.queues import Queue


@given(st.text())
def test_a_queue_moves_a_little_at_every_poll_and_the_same_way_for_the_same_seed(seed: str) -> None:
    queue, again = Queue(seed), Queue(seed)
    lengths = [queue.length] + [queue.poll() for _ in range(300)]
    assert lengths == [again.length] + [again.poll() for _ in range(300)]
    assert min(lengths) >= 0
    steps = {abs(after - before) for before, after in pairwise(lengths)}
    assert steps == {1, 2}


def test_queues_stay_near_their_usual_length() -> None:
    for number in range(20):
        queue = Queue(f"home/{number}")
        home = queue.length
        assert max(abs(queue.poll() - home) for _ in range(5000)) < home + 60


def test_wait_times_follow_the_length() -> None:
    queue = Queue("x")
    waits = queue.wait_times()
    assert 0 <= waits["p50"] <= waits["average"] <= waits["p95"]
    queue.length = 0
    assert set(queue.wait_times().values()) == {0}
