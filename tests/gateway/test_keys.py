"""The gateway's keys: their file, and the tokens that are signed for them."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from qrbackends.accounts import replacing
from qrbackends.gateway.keys import KeyFile, Keyring, KeysError

CRN = (
    "crn:v1:bluemix:public:quantum-computing:us-east:a/"
    + "0" * 32
    + ":12345678-0000-0000-0000-000000000000::"
)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "settings" / "keys.json")


def test_the_file_is_private_and_holds_no_key(file: KeyFile) -> None:
    key = file.add("cluster", [CRN], 5)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    text = file.path.read_text()
    assert key not in text
    assert key.rpartition("-")[2] not in text
    _, (kept,) = file.read()
    assert (kept.name, kept.instances, kept.rate) == ("cluster", (CRN,), 5)
    assert len(kept.digest) == 64


def test_the_file_is_replaced_as_that_of_accounts_is(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole, with its owner and permissions, and not where it could be another's file."""
    file.add("one")
    before, listing = file.path.read_bytes(), [file.path.name]
    file.path.chmod(0o400 if os.geteuid() == 0 else 0o600)
    assert not file.revoke("two")
    assert file.path.read_bytes() == before
    file.add("two")
    assert stat.S_IMODE(file.path.stat().st_mode) == (0o400 if os.geteuid() == 0 else 0o600)
    before = file.path.read_bytes()
    with monkeypatch.context() as full:
        full.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(KeysError, match="cannot be changed: No space left"):
            file.add("three")
    assert (file.path.read_bytes(), [one.name for one in file.path.parent.iterdir()]) == (before, listing)
    lock = file.path.with_name(f"{file.path.name}.lock")
    lock.touch()
    monkeypatch.setattr(replacing, "_PATIENCE", 0.0)
    with pytest.raises(KeysError, match=f"another program is changing .*remove {lock.name}"):
        file.revoke("one")
    lock.unlink()
    link = KeyFile(file.path.with_name("link.json"))
    link.path.symlink_to(file.path)
    with pytest.raises(KeysError, match="symbolic link"):
        link.add("three")
    assert file.path.read_bytes() == before


def test_no_two_keys_are_alike_and_names_are_used_once(file: KeyFile) -> None:
    keys = {file.add(f"name {number}") for number in range(20)}
    assert len({key[-20:] for key in keys}) == 20
    with pytest.raises(KeysError, match="already"):
        file.add("name 3")
    assert file.revoke("name 3")
    assert not file.revoke("name 3")
    assert file.add("name 3") not in keys
    _, kept = file.read()
    assert file.revoke(kept[0].id)
    assert len(file.read()[1]) == 19


def test_a_key_is_known_by_all_of_its_characters(file: KeyFile) -> None:
    key = file.add("one")
    ring = Keyring(file)
    assert ring.key(key) is not None
    for wrong in (
        "",
        key[:-1],
        key + "x",
        key.swapcase(),
        key.replace("-", "", 1),
        "\udcff" + key,
        "x" * 10_000,
    ):
        assert ring.key(wrong) is None
        assert ring.exchange(wrong) is None


def test_tokens_are_jwts_and_good_for_the_gateways_with_the_same_file(file: KeyFile) -> None:
    now = [1000.0]
    key = file.add("one")
    first, second = (Keyring(file, clock=lambda: now[0]) for _ in range(2))
    granted = first.exchange(key)
    assert granted is not None
    token = granted["access_token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["iat"], claims["exp"]) == (1000, 2200)
    assert second.subject(token) == first.subject(token) == claims["sub"]
    assert Keyring(clock=lambda: now[0]).subject(token) is None  # of another gateway
    now[0] = 2199.9
    assert second.subject(token) is not None
    now[0] = 2200.0
    assert second.subject(token) is None


def test_changes_of_the_file_take_effect(file: KeyFile) -> None:
    now = [1000.0]
    ring = Keyring(file, clock=lambda: now[0])
    assert len(ring) == 0
    key = file.add("one")
    assert ring.key(key) is None  # it looks once a second
    now[0] += 1.5
    assert ring.key(key) is not None
    token = (ring.exchange(key) or {})["access_token"]
    file.path.write_text("{")  # half of a file
    now[0] += 1.5
    assert ring.subject(token) is None
    file.path.unlink()
    now[0] += 1.5
    assert len(ring) == 0


def test_a_file_that_others_can_read_or_plant_is_not_used(file: KeyFile, tmp_path: Path) -> None:
    file.add("one")
    file.path.chmod(0o640)
    with pytest.raises(KeysError, match="chmod 600"):
        Keyring(file)
    file.path.chmod(0o600)
    assert len(Keyring(file)) == 1
    with pytest.raises(KeysError, match="directory"):
        Keyring(KeyFile(tmp_path))


@pytest.mark.parametrize(
    ("mode", "user", "group", "is_used"),
    [
        (0o440, 0, 0, True),
        (0o460, 0, 0, False),
        (0o444, 0, 0, False),
        (0o440, 0, 5, False),
        (0o440, 7, 0, False),
    ],
)
def test_a_credential_of_systemd_is_used(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch, mode: int, user: int, group: int, is_used: bool
) -> None:
    """It is root's, and an access list lets the service's user read it, which looks like a group's right."""
    file.add("one")
    fields = list(file.path.stat())
    fields[0], fields[4], fields[5] = stat.S_IFREG | mode, user, group
    monkeypatch.setattr(os, "fstat", lambda _: os.stat_result(fields))
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    if is_used:
        assert len(file.read()[1]) == 1
    else:
        with pytest.raises(KeysError, match="others can read"):
            file.read()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"signing": "zz", "keys": []}', '{"signing": "00", "keys": [{}]}']
)
def test_a_damaged_file_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeysError, match="remove it to begin anew"):
        Keyring(KeyFile(path))


def test_a_throw_away_key_is_marked_where_all_is_emulated() -> None:
    ring, emulated = Keyring(), Keyring(emulated=True)
    assert (ring.throw_away or "").startswith("qrbackends-gateway-")
    assert (emulated.throw_away or "").startswith("emulated-")
    assert emulated.key(emulated.throw_away or "") is not None
    assert emulated.key(ring.throw_away or "") is None
