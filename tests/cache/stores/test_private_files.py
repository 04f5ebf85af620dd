"""Files of one user, in a directory where another user plants links."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from qrbackends import FileStore
from qrbackends.cache.stores import file
from qrbackends.cache.stores.private_files import created, make_private

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="there are no modes here"),
]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the same user, whose mode is nobody's business."""
    made = tmp_path / "victim"
    made.write_text("readable by all")
    made.chmod(0o644)
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def plant(path: Path, end: str, victim: Path) -> bytes:
    """Put a link to the victim in place of a store's file; for the store itself, the victim is a store."""
    if end == "":
        victim.unlink()
        path.rename(victim)
        victim.chmod(0o644)
    Path(f"{path}{end}").symlink_to(victim)
    return victim.read_bytes()


def test_a_file_is_made_private_and_a_planted_link_is_not_followed(tmp_path: Path, victim: Path) -> None:
    make_private(tmp_path / "missing")
    own = tmp_path / "own"
    own.write_bytes(b"")
    own.chmod(0o666)
    make_private(own)
    assert mode(own) == 0o600
    planted = tmp_path / "planted"
    planted.symlink_to(victim)
    with pytest.raises(PermissionError, match="cannot be kept from other users"):
        make_private(planted)
    assert mode(victim) == 0o644


def test_a_file_is_not_made_through_a_planted_link(tmp_path: Path, victim: Path) -> None:
    for name, target in (("there", victim), ("dangling", tmp_path / "elsewhere")):
        (tmp_path / name).symlink_to(target)
        assert not created(tmp_path / name)
    assert not (tmp_path / "elsewhere").exists()
    assert mode(victim) == 0o644


@pytest.mark.parametrize("end", ["", "-journal", "-wal", "-shm"])
async def test_a_link_that_is_planted_after_the_check_changes_nothing_elsewhere(
    tmp_path: Path, victim: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check` sees nothing, as if the link had been planted just after it."""
    path = tmp_path / "answers.sqlite"
    async with FileStore(path, timeout=30) as store:
        await store.put("s", "n", b"value", 60)
    content = plant(path, end, victim)
    monkeypatch.setattr(file, "check", lambda _: None)
    async with FileStore(path, timeout=30) as store:
        with pytest.raises(OSError, match=r"not used as a cache|cannot be used"):
            await store.open()
    assert mode(victim) == 0o644
    assert await asyncio.to_thread(victim.read_bytes) == content
