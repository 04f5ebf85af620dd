"""Saved accounts, listed, saved, deleted and chosen in the official client's file."""

import json
import os
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qrbackends import AccountError, Secret
from qrbackends.accounts import (
    SavedAccount,
    account_file,
    delete_account,
    list_accounts,
    replacing,
    save_account,
    use_account,
)
from qrbackends.accounts.saved import load_account

from .test_saved import CLOUD, CRN, EU, KEY, LEGACY, PLATFORM, entry, key_of, write
from .test_saved import file as file
from .test_saved import official as official

OTHER_KEY = "0ther-k3y-of-the-realm"

ODD = """{
  "zeta" : {"token":"%s", "channel" : "ibm_cloud","future":{"deep":[1.0,1e400,-0, 12345678901234567890]} },
  "no object": [1,
     2],
  "\\u00fc \\" \\\\": null,
  "alpha": {
        "token": "%s", "is_default_account": true, "unknown": "\\ud83d\\ude00\\u0000",
        "channel": "ibm_quantum_platform"
  }
}
""" % (KEY, KEY)  # noqa: UP031  # braces


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


# --- the official client reads what we wrote, and the other way round


def check_no_change(file: Path, why: str) -> None:
    """Check that none of the functions that change a file changes this one, and that they say why."""
    for change in (
        lambda: save_account(OTHER_KEY, path=file),
        lambda: use_account("a", file),
        lambda: delete_account("a", file),
    ):
        with pytest.raises(AccountError, match=why):
            change()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"name": "work", "instance": CRN}, {"name": "work", "instance": CRN}),
        ({"instance": EU, "private_endpoint": True}, {"instance": EU, "private_endpoint": True}),
        ({"channel": CLOUD, "url": "https://test.cloud.ibm.com"},) * 2,
        ({"verify": False, "default": True}, {"verify": False, "set_as_default": True}),
        (
            {"region": "eu-de", "plans": ["open", "flex"], "tags": ["a"], "instance": "auto"},
            {"region": "eu-de", "plans_preference": ["open", "flex"], "tags": ["a"], "instance": "auto"},
        ),
        ({"name": '\u00fc "quoted"'}, {"name": '\u00fc "quoted"'}),
    ],
    ids=repr,
)
def test_an_account_is_saved_byte_by_byte_as_the_official_client_does(
    official: Any, file: Path, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    name = save_account(KEY, path=file, **ours)
    reference = file.with_name("theirs.json")
    official.save(token=KEY, filename=str(reference), **{"name": None, **theirs})
    assert file.read_bytes() == reference.read_bytes()
    assert official.get(filename=str(file), name=name).token == KEY
    assert [one.name for one in list_accounts(reference)] == [name]


def test_proxies_are_saved_as_the_official_client_does(official: Any, file: Path) -> None:
    from qiskit_ibm_runtime.proxies import ProxyConfiguration

    urls = {"https": "http://user:hunter2@proxy:3128"}
    save_account(KEY, "a", proxies=urls, path=file)
    official.save(token=KEY, name="b", proxies=ProxyConfiguration(urls=urls), filename=str(file))
    saved = json.loads(file.read_text())
    assert saved["a"] == saved["b"]
    assert official.get(filename=str(file), name="a").proxies.urls == urls
    assert "hunter2" not in repr(list_accounts(file))


SAVING = st.tuples(st.just("save"), st.sampled_from("abc"), st.sampled_from([PLATFORM, CLOUD]), st.booleans())
DELETING = st.tuples(st.just("delete"), st.sampled_from("abc"))
USING = st.tuples(st.just("use"), st.sampled_from("abc"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(steps=st.lists(st.tuples(st.one_of(SAVING, DELETING, USING), st.booleans()), max_size=6))
def test_both_clients_change_one_file_in_turn(official: Any, file: Path, steps: list[Any]) -> None:
    """Whoever changes it, both read the same of it, and none loses what the other saved."""
    file.unlink(missing_ok=True)
    expected: dict[str, str] = {}
    for number, ((what, name, *how), by_us) in enumerate(steps):
        if what == "save":
            channel, default = how
            key = f"key-number-{number}"
            if by_us:
                save_account(key, name, channel=channel, default=default, overwrite=True, path=file)
            else:
                official.save(
                    token=key,
                    name=name,
                    channel=channel,
                    set_as_default=default or None,
                    overwrite=True,
                    filename=str(file),
                )
            expected[name] = key
        elif name not in expected:
            with pytest.raises(AccountError, match=f"no account '{name}'"):
                (delete_account if what == "delete" else use_account)(name, file)
        elif what == "delete":
            delete_account(name, file) if by_us else official.delete(filename=str(file), name=name)
            del expected[name]
        else:
            use_account(name, file)
            assert official.get(filename=str(file)).token == expected[name]
    listed = {one.name: one for one in list_accounts(file, environ={})}
    theirs = official.list(filename=str(file)) if file.exists() else {}
    assert {name: one.token for name, one in theirs.items()} == expected
    assert {name: one.channel for name, one in listed.items()} == {
        n: one.channel for n, one in theirs.items()
    }
    if expected:
        chosen = key_of(load_account(path=file, environ={}))
        assert [expected[name] for name, one in listed.items() if one.is_default] == [chosen]


# --- what is not changed stays as it is


@pytest.mark.parametrize(
    ("change", "changed", "order"),
    [
        (lambda file: save_account(OTHER_KEY, "new", path=file), {"new"}, [*json.loads(ODD), "new"]),
        (
            lambda file: save_account(OTHER_KEY, "zeta", overwrite=True, path=file),
            {"zeta"},
            [*json.loads(ODD)],
        ),
        (lambda file: use_account("zeta", file), {"zeta", "alpha"}, [*json.loads(ODD)]),
        (lambda file: delete_account("zeta", file), {"zeta"}, [*json.loads(ODD)][1:]),
    ],
    ids=["save", "overwrite", "use", "delete"],
)
def test_other_entries_keep_their_bytes_and_their_order(
    file: Path, change: Callable[[Path], Any], changed: set[str], order: list[str]
) -> None:
    file.write_text(ODD)
    before = account_file.read(file)
    change(file)
    after = account_file.read(file)
    assert before is not None
    assert after is not None
    assert list(after) == order
    for name in set(order) - changed:
        assert bytes(after[name]) == bytes(before[name])
        assert bytes(before[name]) in file.read_bytes()


def test_the_fields_of_a_changed_entry_keep_their_bytes_too(file: Path) -> None:
    file.write_text(ODD)
    use_account("zeta", file)
    text = file.read_text()
    assert '"future": {"deep":[1.0,1e400,-0, 12345678901234567890]}' in text
    assert r'"unknown": "\ud83d\ude00\u0000"' in text
    saved = json.loads(text)
    assert list(saved["zeta"]) == ["token", "channel", "future", "is_default_account"]
    assert list(saved["alpha"]) == ["token", "unknown", "channel"]


def test_a_replaced_account_stays_the_default_but_keeps_no_fields(file: Path) -> None:
    write(file, {"a": entry(is_default_account=True, instance=CRN, region="eu-de"), "b": entry("b")})
    save_account(OTHER_KEY, "a", overwrite=True, path=file)
    assert key_of(load_account(path=file, environ={})) == OTHER_KEY
    assert "instance" not in json.loads(file.read_text())["a"]
    save_account(OTHER_KEY, "b", overwrite=True, default=True, path=file)
    assert [one.name for one in list_accounts(file, environ={}) if one.is_default] == ["b"]


def test_an_account_is_replaced_only_if_asked_to(file: Path) -> None:
    write(file, {"a": entry()})
    content = file.read_bytes()
    with pytest.raises(AccountError, match="'a' already"):
        save_account(OTHER_KEY, "a", path=file)
    assert file.read_bytes() == content
    assert names_in(file.parent) == [file.name]


# --- what is listed


def test_the_list_shows_no_key_and_hides_no_account(file: Path) -> None:
    write(
        file,
        {
            "mine": entry(instance=CRN, plans_preference=["open"], tags=["x"], region="eu-de"),
            "old": entry(channel=LEGACY),
            "odd": [1],
            "odder": entry(verify="ca.pem"),
            "ntlm": entry(proxies={"username_ntlm": "u", "password_ntlm": "hunter2"}),
            "short": {"token": "k"},
            "pasted": entry(instance=f"{KEY} ", tags=[KEY]),
            "pasted too": entry(channel=KEY),
        },
    )
    listed = list_accounts(file, environ={})
    assert [one.name for one in listed] == list(json.loads(file.read_text()))
    assert listed[0] == SavedAccount("mine", PLATFORM, CRN, "eu-de", ("open",), ("x",))
    problems = {one.name: one.problem for one in listed if one.problem}
    assert {name: (problem or "").split(":")[0][-30:] for name, problem in problems.items()}.keys() == {
        "old",
        "odd",
        "odder",
        "ntlm",
        "short",
        "pasted too",
    }
    assert [one.name for one in listed if one.is_default] == ["pasted"]
    assert KEY not in repr(listed)
    assert "hunter2" not in repr(listed)


def test_a_file_that_is_not_there_lists_nothing_and_is_not_made(file: Path) -> None:
    assert list_accounts(file) == ()
    for change in (delete_account, use_account):
        with pytest.raises(AccountError, match="no account 'a'; it has: none"):
            change("a", file)
    assert names_in(file.parent) == []


def test_the_channel_of_the_environment_counts_in_the_list(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, {"a": entry("a"), "b": entry("b", CLOUD)})
    assert [one.name for one in list_accounts(file) if one.is_default] == ["a"]
    monkeypatch.setenv("QISKIT_IBM_CHANNEL", CLOUD)
    assert [one.name for one in list_accounts(file) if one.is_default] == ["b"]


def test_an_account_that_cannot_be_used_does_not_become_the_default(file: Path) -> None:
    write(file, {"old": entry(channel=LEGACY), "odd": [KEY]})
    content = file.read_bytes()
    for name in ("old", "odd"):
        with pytest.raises(AccountError) as caught:
            use_account(name, file)
        assert KEY not in str(caught.value)
    assert file.read_bytes() == content


# --- what is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"api_key": "short"},
        {"api_key": ""},
        {"api_key": f"{KEY}\n"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": KEY},
        {"instance": "crn:of nothing"},
        {"instance": 7},
        {"instance": "\ud800"},
        {"tags": ["\udfff"]},
        {"region": 7},
        {"plans": "open"},
        {"tags": [7]},
        {"tags": 7},
        {"proxies": 7},
        {"proxies": "http://proxy"},
        {"name": 7},
        {"channel": LEGACY},
        {"channel": "local"},
        {"url": f"https://u:{KEY}@x"},
        {"verify": f"{KEY}.pem"},
        {"proxies": {"https": f"ftp://u:{KEY}@x"}},
        {"private_endpoint": "yes"},
    ],
    ids=repr,
)
def test_what_nobody_could_use_is_not_saved(file: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(AccountError) as caught:
        save_account(**{"api_key": KEY, "path": file, **wrong})
    assert KEY not in str(caught.value)
    assert names_in(file.parent) == []


@pytest.mark.parametrize("content", ["", "[]", "{", f'{{"a": {{"token": "{KEY}"', "\ufeff{}"])
def test_a_file_that_is_not_understood_is_left_alone(file: Path, content: str) -> None:
    file.write_text(content)
    for change in (lambda: save_account(OTHER_KEY, path=file), lambda: delete_account("a", file)):
        with pytest.raises(AccountError, match="is not a JSON object") as caught:
            change()
        assert KEY not in "".join(traceback.format_exception(caught.value))
    assert file.read_text() == content
    assert names_in(file.parent) == [file.name]


@pytest.mark.parametrize(
    "odd",
    ["NaN", "-Infinity", '"\\ud800"', '{"\\udfff": 1e400}', '[{"deep": [NaN, "\\ud83d\\ude00\\udc00"]}]'],
)
def test_what_only_python_takes_for_json_is_read_and_left_alone(official: Any, file: Path, odd: str) -> None:
    content = json.dumps({"a": entry("a", future="?"), "b": entry("b", CLOUD, is_default_account=True)})
    file.write_text(content.replace('"?"', odd))
    for name in ("a", "b", None):
        assert key_of(load_account(name, file, environ={})).rstrip(".") == (name or "b")
        assert official.get(filename=str(file), name=name).token.rstrip(".") == (name or "b")
    assert [(one.name, one.is_default, one.problem) for one in list_accounts(file, environ={})] == [
        ("a", False, None),
        ("b", True, None),
    ]
    before = file.read_bytes()
    check_no_change(file, "can be read, but not changed")
    assert file.read_bytes() == before
    assert names_in(file.parent) == [file.name]


def test_half_of_a_character_in_a_key_is_no_part_of_a_key(file: Path) -> None:
    file.write_text('{"a": {"token": "%s\\ud800"}, "b\\ud800": {"token": "%s"}}' % (KEY, KEY))  # noqa: UP031
    with pytest.raises(AccountError, match="printable ASCII"):
        load_account("a", file, environ={})
    assert key_of(load_account("b\ufffd", file, environ={})) == KEY


@pytest.mark.parametrize("mark", ["1e400", "7" * 5000, "[" * 900 + "]" * 900, '"no"', "-0.0", "[]", "null"])
def test_a_mark_of_any_kind_is_one_if_python_takes_it_for_true(file: Path, mark: str) -> None:
    marked = mark not in ("-0.0", "[]", "null")
    file.write_text(
        json.dumps({"b": entry("b", is_default_account="?"), "z": entry("z")}).replace('"?"', mark)
    )
    assert [one.is_default for one in list_accounts(file, environ={})] == [marked, not marked]
    use_account("z", file)
    assert [one.is_default for one in list_accounts(file, environ={})] == [False, True]
    assert (mark in file.read_text()) is not marked, "the mark is gone, and nothing else"
    save_account(OTHER_KEY, "b", default=True, overwrite=True, path=file)
    assert [one.is_default for one in list_accounts(file, environ={})] == [True, False]


@pytest.mark.parametrize("of_environment", ["ibm_cloud", "ibm_quantum_platform", "", None])
def test_the_channel_of_the_environment_is_saved_as_the_official_client_does(
    official: Any, file: Path, monkeypatch: pytest.MonkeyPatch, of_environment: str | None
) -> None:
    monkeypatch.delenv("QISKIT_IBM_TOKEN", raising=False)
    if of_environment is None:
        monkeypatch.delenv("QISKIT_IBM_CHANNEL", raising=False)
    else:
        monkeypatch.setenv("QISKIT_IBM_CHANNEL", of_environment)
    reference = file.with_name("theirs.json")
    for name in (None, "work"):
        save_account(KEY, name, path=file)
        official.save(token=KEY, name=name, filename=str(reference))
    assert json.loads(file.read_text()) == json.loads(reference.read_text())
    assert key_of(load_account("work", file)) == KEY
    delete_account(next(name for name in json.loads(file.read_text()) if name != "work"), file)
    assert key_of(load_account(path=file)) == KEY, "it is found again with the same environment"


def test_a_channel_of_the_environment_that_is_none_is_not_saved(file: Path) -> None:
    with pytest.raises(AccountError, match="'local'"):
        save_account(KEY, path=file, environ={"QISKIT_IBM_CHANNEL": "local"})
    save_account(KEY, channel=CLOUD, path=file, environ={"QISKIT_IBM_CHANNEL": "local"})


def test_a_secret_is_taken_and_no_traceback_holds_it_as_a_text(file: Path) -> None:
    save_account(Secret(KEY), "a", path=file)
    assert key_of(load_account("a", file)) == KEY
    with pytest.raises(AccountError) as caught:
        save_account(Secret(KEY), "a", path=file)
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert KEY not in repr(frames[1:])


# --- the file


@pytest.mark.skipif(os.name != "posix", reason="there are no modes")
def test_a_new_file_is_this_users_only_and_an_old_one_keeps_its_mode(file: Path) -> None:
    folder = file.parent / "made" / ".qiskit"
    made = folder / "qiskit-ibm.json"
    old = os.umask(0)
    try:
        save_account(KEY, path=made)
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for mode in (0o644, 0o600, 0o660):
        made.chmod(mode)
        save_account(KEY, overwrite=True, path=made)
        assert stat.S_IMODE(made.stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_of_a_file_stays_its_owner(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, {})
    os.chown(file, 12345, 23456)
    save_account(KEY, path=file)
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456)
    content = file.read_bytes()

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.fchown", refused)  # as for everybody else
    with pytest.raises(AccountError, match="cannot be changed: Operation not permitted"):
        save_account(OTHER_KEY, overwrite=True, path=file)
    assert file.read_bytes() == content


def test_no_symbolic_link_is_followed(file: Path) -> None:
    target = file.with_name("target.json")
    write(target, {"a": entry()})
    file.symlink_to(target)
    content = target.read_bytes()
    check_no_change(file, "is a symbolic link")
    assert file.is_symlink()
    assert target.read_bytes() == content
    file.unlink()
    file.with_name(f"{file.name}.lock").symlink_to(target)  # planted, so that the key is written elsewhere
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(replacing, "_PATIENCE", 0.0)
        with pytest.raises(AccountError, match="another program is changing"):
            save_account(OTHER_KEY, path=file)
    assert target.read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_no_file_is_refused(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(AccountError, match="is not a file"):
        save_account(KEY, path=file)
    with pytest.raises(AccountError, match="is not a file"):
        save_account(KEY, path=file.parent)
    with pytest.raises(AccountError, match="cannot be changed"):
        save_account(KEY, path=file / "below")
    with pytest.raises(AccountError, match="is not the path of a file"):
        save_account(KEY, path="a\0b")
    for path in ("", "/", ".."):
        with pytest.raises(AccountError, match="is not a file"):
            save_account(KEY, path=path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_is_read_and_not_waited_for_without_end(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(file)
    content = json.dumps({"a": entry(future="x" * 200_000)})  # more than a pipe holds
    writer = threading.Thread(target=file.write_text, args=(content,))
    writer.start()
    assert key_of(load_account("a", file)) == KEY
    writer.join(30)
    monkeypatch.setattr(account_file, "_PATIENCE", 0.01)
    for read in (list_accounts, partial(load_account, None), partial(use_account, "a")):
        with pytest.raises(AccountError, match=r"nothing came from .* for 0\.01 s"):
            read(file)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero")
def test_a_file_without_end_is_not_read_to_its_end() -> None:
    for read in (list_accounts, partial(load_account, None), partial(use_account, "a")):
        with pytest.raises(AccountError, match="more than 16777216 bytes"):
            read("/dev/zero")


def test_without_a_home_directory_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(
        "pathlib.Path.expanduser", unknown
    )  # as for a user without an entry, and without HOME
    for change in (list_accounts, partial(load_account, environ={}), partial(save_account, KEY)):
        with pytest.raises(AccountError, match="home directory that is not known: set HOME"):
            change()


def test_a_read_only_file_is_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, {})
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everything
    with pytest.raises(AccountError, match="is read-only"):
        save_account(KEY, path=file)
    assert names_in(file.parent) == [file.name]


@pytest.mark.parametrize("fails", ["os.fsync", "pathlib.Path.replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    write(file, {"a": entry()})
    content = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fails, full)
    with pytest.raises(AccountError, match="cannot be changed: No space left"):
        save_account(OTHER_KEY, path=file)
    monkeypatch.undo()
    assert file.read_bytes() == content
    assert names_in(file.parent) == [file.name]


def test_an_account_that_another_program_deletes_meanwhile_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, {"a": entry(), "b": entry()})
    stale = account_file.read(file)
    delete_account("a", file)
    content = file.read_bytes()
    monkeypatch.setattr("qrbackends.accounts.management.read", lambda _: stale)
    for change in (delete_account, use_account):
        with pytest.raises(AccountError, match="no account 'a'; it has: b"):
            change("a", file)
    assert file.read_bytes() == content


def test_a_lock_that_stays_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = file.with_name(f"{file.name}.lock")
    lock.touch()
    monkeypatch.setattr(replacing, "_PATIENCE", 0.0)
    with pytest.raises(AccountError, match=r"another program is changing .*remove qiskit-ibm.json.lock"):
        save_account(KEY, path=file)
    assert lock.exists(), "it may be another program's"
    lock.unlink()
    save_account(KEY, path=file)


def test_writers_at_the_same_time_lose_nothing(file: Path) -> None:
    """Two threads and another process, and a reader that never sees half of a file."""
    names = [[f"{writer}-{number}" for number in range(5)] for writer in range(3)]
    code = (
        "import sys; from qrbackends.accounts import save_account\n"
        "for name in sys.argv[2:]: save_account(f'the-key-of-{name}', name, path=sys.argv[1])"
    )
    ended = threading.Event()
    seen: list[object] = []

    def save(some: list[str]) -> None:
        for name in some:
            save_account(f"the-key-of-{name}", name, path=file)

    def read() -> None:
        while not ended.is_set():
            try:
                seen.append(len(list_accounts(file)))
            except AccountError as error:
                seen.append(error)
                return

    with subprocess.Popen([sys.executable, "-c", code, str(file), *names[0]]) as other:
        threads = [threading.Thread(target=save, args=(some,)) for some in names[1:]]
        reader = threading.Thread(target=read)
        for thread in (*threads, reader):
            thread.start()
        for thread in threads:
            thread.join(60)
        assert other.wait(60) == 0
    ended.set()
    reader.join(60)
    assert {one.name for one in list_accounts(file)} == {name for some in names for name in some}
    assert [one for one in seen if not isinstance(one, int)] == []
    assert seen == sorted(seen), "what was there once did not go away"  # type: ignore[type-var]
    assert names_in(file.parent) == [file.name]
