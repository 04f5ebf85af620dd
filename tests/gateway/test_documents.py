"""What the gateway keeps of an answer, and what that takes."""

import msgspec
import pytest

from qrbackends import Account, Instance, Request
from qrbackends.accounts.scope import Scopes
from qrbackends.gateway.documents import kept_size, read, statuses_in
from qrbackends.transport.pool import Response

from ..traced_memory import taken

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"
SCOPE = Scopes(Account(token="secret", instances=[Instance(CRN)]), "2026-03-15").of(Instance(CRN))


@pytest.mark.parametrize("count", [1, 70, 11_000])
def test_the_statuses_of_a_list_are_accounted_for(count: int) -> None:
    devices = [{"name": str(one), "status": {"name": ""}, "queue_length": one} for one in range(count)]
    body = msgspec.json.encode({"devices": devices})
    real, made = taken(lambda: statuses_in(body, True))
    assert len(made) == count
    accounted = kept_size(body, read(Request("backends"), SCOPE, Response(200, {}, body)), b"")
    assert real <= accounted <= 1.3 * real + 1400


def test_other_documents_take_their_bytes_on_the_wire() -> None:
    body = msgspec.json.encode({"backend_name": "alpha", "text": "x" * 10_000})
    kept = read(Request("properties", "alpha"), SCOPE, Response(200, {}, body))
    assert kept_size(body, kept, b"packed") < 2000
