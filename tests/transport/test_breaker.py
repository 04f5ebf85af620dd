"""When the circuit breaker opens, and when it lets requests pass again."""

import pytest

from qrbackends import CircuitOpen
from qrbackends.transport.breaker import CircuitBreaker


def opened(now: float = 100.0) -> CircuitBreaker:
    circuit = CircuitBreaker("eu-de", failures=3, rest=8.0)
    for _ in range(3):
        circuit.failed(now, now, circuit.enter(now))
    return circuit


def refused(circuit: CircuitBreaker, now: float) -> float:
    with pytest.raises(CircuitOpen, match="eu-de failed") as caught:
        circuit.enter(now)
    return caught.value.retry_after


def test_failures_in_a_row_open_it_and_an_answer_in_between_does_not() -> None:
    circuit = CircuitBreaker("eu-de", failures=3, rest=8.0)
    for _ in range(5):
        circuit.failed(1.0, 1.0, circuit.enter(1.0))
        circuit.failed(1.0, 1.0, circuit.enter(1.0))
        circuit.succeeded()
    assert circuit.enter(1.0) is False


def test_while_open_it_says_when_requests_pass_again() -> None:
    circuit = opened()
    assert refused(circuit, 100.0) == 2.0
    assert refused(circuit, 101.5) == 0.5


def test_one_probe_at_a_time() -> None:
    circuit = opened()
    assert circuit.enter(102.0) is True
    assert refused(circuit, 102.0) == 1.0, "soon, and not at once"
    circuit.succeeded()
    assert circuit.enter(102.0) is False
    assert circuit.enter(102.0) is False


def test_pauses_grow_up_to_the_longest() -> None:
    circuit, now = opened(), 100.0
    for pause in (2.0, 4.0, 8.0, 8.0):
        assert refused(circuit, now) == pause
        now += pause
        circuit.failed(now, now, circuit.enter(now))


def test_another_probe_follows_one_whose_caller_left() -> None:
    circuit = opened()
    probe = circuit.enter(102.0)
    circuit.abandoned(probe)
    assert circuit.enter(102.0) is True


def test_requests_sent_before_it_opened_count_only_if_they_succeed() -> None:
    circuit = opened()
    circuit.failed(101.0, 99.0, False)
    circuit.abandoned(False)
    assert refused(circuit, 101.0) == 1.0
    circuit.succeeded()
    assert circuit.enter(101.0) is False


def test_failures_of_requests_in_flight_together_are_one() -> None:
    circuit = CircuitBreaker("eu-de", failures=3, rest=8.0)
    for number in range(50):
        circuit.failed(1.0 + number / 100, 0.9, False)
    assert circuit.enter(2.0) is False
    for number in range(50):  # sent again after it, and again
        circuit.failed(2.5 + number / 100, 2.0, False)
    assert circuit.enter(3.0) is False
    circuit.failed(4.0, 3.0, False)
    assert refused(circuit, 4.0) == 2.0


def test_who_may_not_pass_is_told_what_failed_last() -> None:
    circuit = CircuitBreaker("eu-de", failures=2, rest=8.0)
    circuit.failed(1.0, 1.0, False, why="a timeout")
    circuit.failed(2.0, 2.0, False, why="no connection: refused")
    refusal = circuit.refusal(3.0)
    assert str(refusal) == (
        "eu-de failed 2 times in a row (no connection: refused), so nothing was sent; "
        "it is asked again in 1.0 s"
    )


def test_timeouts_count_each() -> None:
    circuit = CircuitBreaker("eu-de", failures=3, rest=8.0)
    for _ in range(3):
        circuit.failed(15.0, 0.0, False, timed_out=True)
    assert refused(circuit, 15.0) == 2.0


def test_one_broken_document_does_not_open_it_and_two_do() -> None:
    circuit = CircuitBreaker("eu-de", failures=3, rest=8.0)
    for now in range(50):
        circuit.failed(now, now, circuit.enter(now), "/a")
    assert circuit.enter(50.0) is False
    circuit.failed(50.0, 50.0, False, "/b")
    assert refused(circuit, 50.0) == 2.0


def test_where_one_failure_is_enough_it_may_be_of_anything() -> None:
    circuit = CircuitBreaker("eu-de", failures=1, rest=8.0)
    circuit.failed(1.0, 1.0, circuit.enter(1.0), "/a")
    assert refused(circuit, 1.0) == 2.0
