"""What the gateway keeps of an answer, and what that takes."""

import gc
import tracemalloc

import msgspec
import pytest

from qrbackends import Account, Instance, Request
from qrbackends.accounts.scope import Scopes
from qrbackends.gateway.documents import kept_size, read, statuses_in
from qrbackends.transport.pool import Response

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"
SCOPE = Scopes(Account(token="secret", instances=[Instance(CRN)]), "2026-03-15").of(Instance(CRN))


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
    accounted = kept_size(body, read(Request("backends"), SCOPE, Response(200, {}, body)), b"")
    assert taken <= accounted <= taken + 0.3 * taken + 1400


def test_other_documents_take_their_bytes_on_the_wire() -> None:
    body = msgspec.json.encode({"backend_name": "alpha", "text": "x" * 10_000})
    kept = read(Request("properties", "alpha"), SCOPE, Response(200, {}, body))
    assert kept_size(body, kept, b"packed") < 2000
