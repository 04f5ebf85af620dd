"""What the tests of stores share."""

from collections.abc import Iterator

import pytest

from qrbackends.cache.stores.sealed import Lease

from ...internals import renewing


@pytest.fixture(autouse=True)
def _leases_end_with_their_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No lease is renewed in the tests that follow, where it would find its store closed, and log that."""
    begun: list[Lease] = []
    begin = Lease.begin

    def noted(lease: Lease) -> None:
        begin(lease)
        begun.append(lease)

    monkeypatch.setattr(Lease, "begin", noted)
    yield
    for lease in begun:
        task = renewing(lease)
        if not task.done() and not task.get_loop().is_closed():
            task.cancel()
