"""When a region is left alone, and when it is asked again."""

import pytest

from qrbackends import CircuitOpen
from qrbackends.circuit import Circuit


def opened(now: float = 100.0) -> Circuit:
    circuit = Circuit("eu-de", failures=3, rest=8.0)
    for _ in range(3):
        circuit.failed(now, circuit.enter(now))
    return circuit


def refused(circuit: Circuit, now: float) -> float:
    with pytest.raises(CircuitOpen, match="eu-de failed") as caught:
        circuit.enter(now)
    return caught.value.retry_after


def test_failures_in_a_row_open_it_and_an_answer_in_between_does_not() -> None:
    circuit = Circuit("eu-de", failures=3, rest=8.0)
    for _ in range(5):
        circuit.failed(1.0, circuit.enter(1.0))
        circuit.failed(1.0, circuit.enter(1.0))
        circuit.succeeded()
    assert circuit.enter(1.0) is False


def test_open_it_tells_when_it_is_asked_again() -> None:
    circuit = opened()
    assert refused(circuit, 100.0) == 2.0
    assert refused(circuit, 101.5) == 0.5


def test_one_probe_finds_out() -> None:
    circuit = opened()
    assert circuit.enter(102.0) is True
    assert refused(circuit, 102.0) == 0.0
    circuit.succeeded()
    assert circuit.enter(102.0) is False
    assert circuit.enter(102.0) is False


def test_pauses_grow_up_to_the_longest() -> None:
    circuit, now = opened(), 100.0
    for pause in (2.0, 4.0, 8.0, 8.0):
        assert refused(circuit, now) == pause
        now += pause
        circuit.failed(now, circuit.enter(now))


def test_a_probe_whose_caller_left_makes_room_for_another() -> None:
    circuit = opened()
    probe = circuit.enter(102.0)
    circuit.abandoned(probe)
    assert circuit.enter(102.0) is True


def test_what_was_under_way_when_it_opened_counts_only_if_it_succeeds() -> None:
    circuit = opened()
    circuit.failed(101.0, False)
    circuit.abandoned(False)
    assert refused(circuit, 101.0) == 1.0
    circuit.succeeded()
    assert circuit.enter(101.0) is False
