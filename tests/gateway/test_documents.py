"""What the gateway keeps of an answer, and what that takes."""

import gc
import tracemalloc

import msgspec
import pytest

from qrbackends.gateway.documents import KeptDocument, kept_size, statuses_in


@pytest.mark.parametrize("count", [1, 70, 11_000])
def test_the_statuses_of_a_list_are_accounted_for(count: int) -> None:
    devices = [{"name": str(one), "status": {"name": ""}, "queue_length": one} for one in range(count)]
    body = msgspec.json.encode({"devices": devices})
    statuses_in(body, True)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = statuses_in(body, True)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(made) == count
    accounted = kept_size(body, KeptDocument(body, True, is_list=True), b"")
    assert taken <= accounted <= taken + 0.3 * taken + 1400


def test_other_documents_take_their_bytes_on_the_wire() -> None:
    body = msgspec.json.encode({"backend_name": "alpha", "text": "x" * 10_000})
    assert kept_size(body, KeptDocument(body, True), b"packed") < 2000
