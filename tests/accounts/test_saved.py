"""Accounts in the environment and on disk, read as the official client writes them."""

import json
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qrbackends.accounts import saved
from qrbackends.accounts.account import Account, Instance, InstanceSearch
from qrbackends.accounts.saved import load_account
from qrbackends.accounts.secret import Secret
from qrbackends.errors import AccountError

KEY = "k3y-Of-The-Realm"
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:guid-1::"
EU = CRN.replace("us-east", "eu-de")
PLATFORM, CLOUD, LEGACY = "ibm_quantum_platform", "ibm_cloud", "ibm_quantum"


def key_of(account: Account) -> str:
    """Return the API key of an account."""
    assert isinstance(account.api_key, Secret)
    return account.api_key.reveal().rstrip(".")


def write(file: Path, content: object) -> Path:
    """Write accounts, or any JSON, to a file."""
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def entry(token: str = KEY, channel: str | None = PLATFORM, **more: Any) -> dict[str, object]:
    """Return one saved account; short keys are made as long as keys have to be."""
    return {"token": token.ljust(8, "."), **({"channel": channel} if channel else {}), **more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "qiskit-ibm.json"


@pytest.fixture(scope="module")
def official() -> Any:
    """The official client's account manager. Importing it takes seconds."""
    from qiskit_ibm_runtime.accounts.management import AccountManager

    return AccountManager


# --- the environment


def test_the_environment_alone_is_an_account() -> None:
    account = load_account(environ={"QISKIT_IBM_TOKEN": KEY, "QISKIT_IBM_INSTANCE": EU})
    assert key_of(account) == KEY
    assert [instance.crn for instance in account.instances] == [EU]
    assert account.instances[0].base_url == "https://eu-de.quantum.cloud.ibm.com/api/v1"
    assert account.iam == "https://iam.cloud.ibm.com"
    assert account.search_url == "https://api.global-search-tagging.cloud.ibm.com"
    assert account.catalog_url == "https://globalcatalog.cloud.ibm.com/api/v1"
    assert account.verify
    assert account.proxies == {}


def test_without_an_instance_they_are_left_to_be_discovered() -> None:
    assert load_account(environ={"QISKIT_IBM_TOKEN": KEY}).instances == ()
    assert load_account(environ={"QISKIT_IBM_TOKEN": KEY, "QISKIT_IBM_INSTANCE": ""}).instances == ()


def test_the_environment_is_the_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", KEY)
    assert key_of(load_account()) == KEY


def test_addresses_follow_from_the_cloud_s_root() -> None:
    account = load_account(
        environ={
            "QISKIT_IBM_TOKEN": KEY,
            "QISKIT_IBM_INSTANCE": CRN,
            "QISKIT_IBM_URL": "https://test.cloud.ibm.com/",
        }
    )
    assert account.instances[0].base_url == "https://quantum.test.cloud.ibm.com/api/v1"
    assert account.iam == "https://iam.test.cloud.ibm.com"
    assert account.search_url == "https://api.global-search-tagging.test.cloud.ibm.com"
    assert account.catalog_url == "https://globalcatalog.test.cloud.ibm.com/api/v1"


@pytest.mark.parametrize("instance", [CRN, "auto", "name"])
def test_an_address_with_experimental_in_it_is_that_of_the_api(instance: str) -> None:
    url = "http://127.0.0.1:8101/experimental/../api/v1/"
    environ = {"QISKIT_IBM_TOKEN": KEY, "QISKIT_IBM_INSTANCE": instance, "QISKIT_IBM_URL": url}
    account = load_account(environ=environ)
    for found in account.instances or [account.search.instance(crn) for crn in (CRN, EU)]:
        assert found.base_url == "http://127.0.0.1:8101/api/v1"


def test_addresses_can_be_given_by_name(file: Path) -> None:
    write(file, {"a": entry(instance=CRN, url="https://test.cloud.ibm.com")})
    account = load_account(
        path=file,
        environ={
            "IAM_URL": "http://127.0.0.1:1",
            "GLOBAL_SEARCH_URL": "http://127.0.0.1:2/",
            "GLOBAL_CATALOG_URL": "http://127.0.0.1:3/api/v1",
        },
    )
    assert account.iam == "http://127.0.0.1:1"
    assert account.search_url == "http://127.0.0.1:2"
    assert account.catalog_url == "http://127.0.0.1:3/api/v1"


@pytest.mark.parametrize("channel", [PLATFORM, CLOUD, ""])
def test_both_channels_lead_to_the_service(channel: str) -> None:
    assert load_account(environ={"QISKIT_IBM_TOKEN": KEY, "QISKIT_IBM_CHANNEL": channel}).instances == ()


@pytest.mark.parametrize("channel", [LEGACY, "local", "IBM_CLOUD"])
def test_no_other_channel_does(channel: str) -> None:
    with pytest.raises(AccountError, match=channel):
        load_account(environ={"QISKIT_IBM_TOKEN": KEY, "QISKIT_IBM_CHANNEL": channel})


# --- what comes first


def test_arguments_come_before_the_environment_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, {"named": entry("named"), "standard": entry("standard", is_default_account=True)})
    monkeypatch.setattr(saved, "DEFAULT_PATH", file)
    environ = {"QISKIT_IBM_TOKEN": "environment"}
    assert key_of(load_account("named", environ=environ)) == "named"
    assert key_of(load_account(path=file, environ=environ)) == "standard"
    assert key_of(load_account("named", file, environ=environ)) == "named"
    assert key_of(load_account(environ=environ)) == "environment"
    assert key_of(load_account(environ={})) == "standard"
    assert key_of(load_account(environ={"QISKIT_IBM_TOKEN": ""})) == "standard"


def test_an_instance_in_the_environment_does_not_mix_with_a_saved_key(file: Path) -> None:
    write(file, {"a": entry(instance=CRN)})
    account = load_account(path=file, environ={"QISKIT_IBM_INSTANCE": EU, "QISKIT_IBM_URL": "https://x.test"})
    assert [instance.crn for instance in account.instances] == [CRN]
    assert account.iam == "https://iam.cloud.ibm.com"


@pytest.mark.parametrize("as_text", [True, False])
def test_the_file_is_found_in_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_text: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".qiskit").mkdir()
    write(tmp_path / ".qiskit" / "qiskit-ibm.json", {"a": entry()})
    assert key_of(load_account(environ={})) == KEY
    path = Path("~/.qiskit/qiskit-ibm.json")
    assert key_of(load_account(path=str(path) if as_text else path, environ={})) == KEY


@pytest.mark.parametrize(
    ("accounts", "chosen"),
    [
        ({"a": entry("a"), "b": entry("b", is_default_account=True)}, "b"),
        ({"a": entry("a"), "b": entry("b", CLOUD, is_default_account=True)}, "b"),
        ({"default-ibm-quantum-platform": entry("d"), "z": entry("z", is_default_account=True)}, "z"),
        ({"a": entry("a"), "default-ibm-quantum-platform": entry("d")}, "d"),
        ({"a": entry("a", CLOUD), "default-ibm-cloud": entry("d", CLOUD)}, "d"),
        ({"default-ibm-cloud": entry("c", CLOUD), "default-ibm-quantum-platform": entry("p")}, "p"),
        ({"a": entry("a", is_default_account=False)}, "a"),
        ({"a": entry("a", None)}, "a"),
        ({"old": entry("old", LEGACY, is_default_account=True), "new": entry("new")}, "new"),
        ({"default-ibm-quantum": entry("old", LEGACY), "new": entry("new", CLOUD)}, "new"),
    ],
)
def test_the_default_account(file: Path, accounts: dict[str, object], chosen: str) -> None:
    assert key_of(load_account(path=write(file, accounts), environ={})) == chosen


def test_a_channel_in_the_environment_chooses_among_the_saved_accounts(file: Path) -> None:
    accounts = {"a": entry("a", PLATFORM), "b": entry("b", CLOUD), "c": entry("c", CLOUD)}
    write(file, accounts)
    for channel, chosen in ((PLATFORM, "a"), (CLOUD, "c")):
        assert key_of(load_account(path=file, environ={"QISKIT_IBM_CHANNEL": channel})) == chosen
    write(file, {"default-ibm-cloud": entry("d", CLOUD), **accounts})
    assert key_of(load_account(path=file, environ={"QISKIT_IBM_CHANNEL": CLOUD})) == "d"
    assert key_of(load_account("b", file, environ={"QISKIT_IBM_CHANNEL": PLATFORM})) == "b"
    write(file, accounts)
    with pytest.raises(AccountError, match="no_such"):
        load_account(path=file, environ={"QISKIT_IBM_CHANNEL": "no_such"})


def test_a_default_account_of_the_other_channel_comes_before_the_environments_channel(file: Path) -> None:
    accounts = {"a": entry("a", PLATFORM, is_default_account=True), "b": entry("b", CLOUD)}
    for channel in (PLATFORM, CLOUD):
        write(file, accounts)
        assert key_of(load_account(path=file, environ={"QISKIT_IBM_CHANNEL": channel})) == "a"
    write(file, {"default-ibm-quantum-platform": entry("d")})
    assert key_of(load_account(path=file, environ={"QISKIT_IBM_CHANNEL": CLOUD})) == "d"


@pytest.mark.parametrize("accounts", [{}, {"old": entry(channel=LEGACY)}])
def test_a_file_without_a_usable_account_says_so(file: Path, accounts: dict[str, object]) -> None:
    with pytest.raises(AccountError, match="has no account") as caught:
        load_account(path=write(file, accounts), environ={})
    assert str(file) in str(caught.value)


def test_where_there_is_no_account_it_says_what_was_looked_for_and_what_to_do(file: Path) -> None:
    for name, said in (
        (None, f"QISKIT_IBM_TOKEN is not set, and there is no file {file}; "),
        ("work", f"the account 'work' was looked for in {file}, which is not there; "),
    ):
        with pytest.raises(AccountError) as caught:
            load_account(name, file, environ={})
        text = str(caught.value)
        assert text.startswith(f"no account found: {said}")
        for how in ("QISKIT_IBM_INSTANCE is optional", "qrbackends accounts save", "--emulator"):
            assert how in text
    write(file, {"old": entry(channel=LEGACY)})
    with pytest.raises(AccountError, match="it has: old; set QISKIT_IBM_TOKEN to an API key"):
        load_account(path=file, environ={})


@pytest.mark.parametrize("is_there", [False, True])
def test_a_key_that_is_taken_for_a_name_is_not_repeated(file: Path, is_there: bool) -> None:
    key = "A-marked_key-" + "x1" * 16
    if is_there:
        write(file, {"old": entry()})
    with pytest.raises(AccountError, match=r"by that name \(it looks like an API key\)") as caught:
        load_account(key, file, environ={})
    assert key not in str(caught.value)


def test_a_legacy_account_asked_for_by_name_is_refused(file: Path) -> None:
    write(file, {"old": entry(channel=LEGACY)})
    with pytest.raises(AccountError, match="'ibm_quantum'") as caught:
        load_account("old", file, environ={})
    assert KEY not in str(caught.value)


def test_a_legacy_account_s_own_fields_are_no_trouble(file: Path) -> None:
    old = entry(
        channel=LEGACY, url="https://auth.quantum-computing.ibm.com/api", instance="hub/group/project"
    )
    write(file, {"default-ibm-quantum": old, "new": entry("new", instance=CRN)})
    assert key_of(load_account(path=file, environ={})) == "new"


def test_a_name_that_is_not_there_is_answered_with_those_that_are(file: Path) -> None:
    write(file, {"work": entry(), "home": entry()})
    with pytest.raises(AccountError, match="'play'; it has: work, home") as caught:
        load_account("play", file, environ={})
    assert KEY not in str(caught.value)
    with pytest.raises(AccountError, match="it has: none"):
        load_account("play", write(file, {}), environ={})


# --- what a saved account says


def test_the_private_endpoint(file: Path) -> None:
    write(file, {"a": entry(instance=EU, private_endpoint=True)})
    account = load_account(path=file, environ={})
    assert account.instances[0].base_url == "https://private.eu-de.quantum.cloud.ibm.com/api/v1"
    assert account.iam == "https://private.iam.cloud.ibm.com"


@pytest.mark.parametrize(
    ("said", "verify"), [({}, True), ({"verify": None}, True), ({"verify": False}, False)]
)
def test_certificates_are_verified_unless_said(file: Path, said: dict[str, Any], verify: bool) -> None:
    assert load_account(path=write(file, {"a": entry(**said)}), environ={}).verify is verify


@pytest.mark.parametrize("proxies", [None, {}, {"urls": None}, {"urls": {}}])
def test_no_proxies(file: Path, proxies: object) -> None:
    assert load_account(path=write(file, {"a": entry(proxies=proxies)}), environ={}).proxies == {}


def test_proxies_and_their_passwords(file: Path) -> None:
    urls = {"https": "http://user:hunter2@proxy:3128"}
    account = load_account(path=write(file, {"a": entry(proxies={"urls": urls})}), environ={})
    assert account.proxies == urls
    assert "hunter2" not in repr(account)


@pytest.mark.parametrize("field", ["username_ntlm", "password_ntlm"])
def test_ntlm_is_refused(file: Path, field: str) -> None:
    write(file, {"a": entry(proxies={"urls": {"https": "http://proxy:1"}, field: "hunter2"})})
    with pytest.raises(AccountError, match=r"NTLM.*run a local proxy.*save the account anew") as caught:
        load_account(path=file, environ={})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["my-instance", "CRN:v1", "hub/group/project"])
def test_an_instance_by_name_is_looked_up_and_nothing_else_is_asked_of_it(file: Path, name: str) -> None:
    write(file, {"a": entry(instance=name, region="eu-de", tags=["x"], plans_preference=["open"])})
    account = load_account(path=file, environ={})
    assert account.instances == ()
    assert account.search == InstanceSearch(name)


def test_what_is_wanted_of_instances_is_kept(file: Path) -> None:
    saved = entry(
        instance=None,
        region="eu-de",
        tags=["x", "y"],
        plans_preference=["premium", "open"],
        private_endpoint=True,
        url="https://c.test",
    )
    write(file, {"a": saved})
    assert load_account(path=file, environ={}).search == InstanceSearch(
        regions=["eu-de"],
        plans=["premium", "open"],
        tags=["x", "y"],
        cloud_url="https://c.test",
        private_endpoint=True,
    )


def test_auto_leaves_the_instances_to_be_discovered(file: Path) -> None:
    write(file, {"a": entry(instance="auto")})
    assert load_account(path=file, environ={}).instances == ()
    environ = {"QISKIT_IBM_TOKEN": KEY, "QISKIT_IBM_INSTANCE": "auto"}
    assert load_account(environ=environ).instances == ()


def test_what_is_beyond_this_package_is_no_trouble(file: Path) -> None:
    more: dict[str, Any] = {
        "region": "eu-de",
        "plans_preference": ["open"],
        "tags": ["a"],
        "future": {"deep": [1]},
    }
    assert key_of(load_account(path=write(file, {"a": entry(**more)}), environ={})) == KEY


@pytest.mark.parametrize("key", ["k", "1234567"])
def test_a_key_that_is_too_short_to_be_one_is_refused(file: Path, key: str) -> None:
    write(file, {"a": {"token": key}})
    for load in (
        partial(load_account, path=file, environ={}),
        partial(load_account, environ={"QISKIT_IBM_TOKEN": key}),
        partial(Account, api_key=key),
    ):
        with pytest.raises(AccountError, match="an API key has 8 characters or more") as caught:
            load()
        assert "1234567" not in str(caught.value)
    assert Account(api_key="12345678")
    assert Account(token="t"), "a token is somebody else's to choose"


# --- narrowed in code


def test_what_is_asked_for_in_code_takes_the_place_of_what_is_saved(file: Path) -> None:
    write(file, {"a": entry(instance="prod", region="us-east", plans_preference=["open"], tags=["x"])})
    load = partial(load_account, path=file, environ={})
    assert load().search == InstanceSearch("prod")
    assert load(instance="", region="", plans=[], tags=()).search == InstanceSearch("prod"), (
        "nothing is asked"
    )
    assert load(region="eu-de").search == InstanceSearch("prod", regions=["eu-de"])
    assert load(instance="lab-*", tags=["y"]).search == InstanceSearch("lab-*", tags=["y"])
    assert load(instance=EU).instances == (Instance(EU),)
    assert load(instance=EU, region="eu-de").instances == (Instance(EU),)
    everywhere = load(instance="auto", plans=["premium"])
    assert everywhere.search == InstanceSearch(regions=["us-east"], plans=["premium"], tags=["x"])
    with pytest.raises(AccountError, match="is in eu-de, not in us-east"):
        load(instance=EU, region="us-east")


def test_the_plan_of_an_instance_that_is_named_by_its_crn_is_looked_up(file: Path) -> None:
    write(file, {"a": entry(instance=EU)})
    account = load_account(path=file, plans=["open"], environ={})
    assert account.instances == ()
    assert account.search == InstanceSearch(EU, plans=["open"])


@pytest.mark.parametrize("wrong", [{"instance": 7}, {"region": 7}, {"plans": "open"}, {"tags": [1]}])
def test_what_is_asked_for_in_code_has_to_be_texts(wrong: dict[str, Any]) -> None:
    with pytest.raises(AccountError, match=next(iter(wrong))):
        load_account(environ={"QISKIT_IBM_TOKEN": KEY}, **wrong)


# --- damage


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"' + KEY.encode() + b'"',
        b'{"a": "' + KEY.encode() + b'"}',
        b'{"a": {"token": "' + KEY.encode(),
        b'{"a": {"token": "' + KEY.encode() + b'"}',
        b'{"a": {"token": "' + KEY.encode() + b'\xff"}}',
        b'{"a": {"token": "' + KEY.encode() + b'\\q"}}',
        b'{"a": {"token": ["' + KEY.encode() + b'"]}}',
        b'{"' + KEY.encode() + b'": 7}',
        b'{"a": {"token": "' + KEY.encode() + b'", "verify": "' + KEY.encode() + b'"}}',
        b'{"a": {"token": "' + KEY.encode() + b'", "proxies": {"urls": ["' + KEY.encode() + b'"]}}}',
        b'{"a": {"token": "' + KEY.encode() + b'\\n"}}',
        '{"a": {"token": "\u00fc'.encode() + KEY.encode() + b'"}}',
        b'{"a": {"token": "' + KEY.encode() + b'", "url": "http://' + KEY.encode() + b'@x"}}',
        b'{"a": {"token": "' + KEY.encode() + b'", "instance": "crn:x"}}',
        b'{"a": {"token": "' + KEY.encode() + b'", "channel": "other"}}',
        b'{"a": {"token": ""}}',
        b'{"a": {"channel": "ibm_cloud"}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_damaged_file_is_an_account_error_without_the_key(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    for name in (None, "a"):
        with pytest.raises(AccountError) as caught:
            load_account(name, file, environ={})
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None or KEY not in repr(caught.value.__context__.args)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(), st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps)))
def test_any_file_is_an_account_or_an_account_error(file: Path, content: bytes | str) -> None:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AccountError):
        load_account(path=file, environ={})


SOME_JSON: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 7, "", "auto", "text", KEY, CRN, "https://x.test", [], {}, {"urls": {}}]
)
FIELDS = [
    "token",
    "channel",
    "instance",
    "url",
    "private_endpoint",
    "verify",
    "proxies",
    "is_default_account",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(FIELDS), SOME_JSON))
def test_fields_of_any_type_are_an_account_or_an_account_error(file: Path, fields: dict[str, object]) -> None:
    write(file, {"a": {"token": "key-of-a", **fields}})
    try:
        account = load_account(path=file, environ={})
    except AccountError as error:
        assert str(error)  # noqa: PT017
    else:
        assert key_of(account) == fields.get("token", "key-of-a")


def test_a_missing_file_says_what_to_do(file: Path) -> None:
    with pytest.raises(AccountError, match=r"QISKIT_IBM_TOKEN.*Account\(api_key") as caught:
        load_account(path=file, environ={})
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("path", ["", "with\0nul", "~nobody-of-this-name/x.json"])
def test_a_path_that_cannot_be_one_is_an_account_error(path: str) -> None:
    with pytest.raises(AccountError):
        load_account(path=path, environ={})


def test_a_directory_is_an_account_error(tmp_path: Path) -> None:
    with pytest.raises(AccountError, match="cannot be read"):
        load_account(path=tmp_path, environ={})


# --- as the official client does it


@pytest.mark.parametrize(
    "saving",
    [
        {"name": None},
        {"name": "work", "set_as_default": True},
        {"instance": CRN},
        {"instance": EU, "private_endpoint": True},
        {"channel": CLOUD, "name": None, "instance": CRN},
        {"url": "https://test.cloud.ibm.com", "instance": CRN.replace("bluemix", "staging")},
        {"verify": False},
        {"verify": True},
        {"region": "eu-de", "plans_preference": ["open", "premium"], "tags": ["a"]},
        {"instance": "auto"},
    ],
    ids=repr,
)
def test_what_the_official_client_saves(official: Any, file: Path, saving: dict[str, Any]) -> None:
    official.save(token=KEY, filename=str(file), **saving)
    ours = load_account(path=file, environ={})
    theirs = official.get(
        filename=str(file), name=saving.get("name") or next(iter(official.list(filename=str(file))))
    )
    assert key_of(ours) == theirs.token == KEY
    assert ours.verify is (theirs.verify is not False)
    if saving.get("instance", "auto") == "auto":
        assert ours.instances == ()
    else:
        assert ours.instances[0].crn == theirs.instance
        assert ours.instances[0].private_endpoint is theirs.private_endpoint
        assert ours.instances[0].cloud_url == theirs.url


def test_proxies_that_the_official_client_saves(official: Any, file: Path) -> None:
    from qiskit_ibm_runtime.proxies import ProxyConfiguration

    urls = {"https": "http://user:pw@proxy:3128"}
    official.save(token=KEY, filename=str(file), proxies=ProxyConfiguration(urls=urls))
    assert load_account(path=file, environ={}).proxies == urls
    ntlm = ProxyConfiguration(urls=urls, username_ntlm="me", password_ntlm="hunter2")
    official.save(token=KEY, filename=str(file), proxies=ntlm, overwrite=True)
    with pytest.raises(AccountError, match="NTLM"):
        load_account(path=file, environ={})


@pytest.mark.parametrize("cloud", ["https://cloud.ibm.com", "https://test.cloud.ibm.com", "https://c.test"])
@pytest.mark.parametrize("crn", [CRN, EU])
@pytest.mark.parametrize("private", [False, True])
def test_addresses_are_those_of_the_official_client(
    official: Any, file: Path, cloud: str, crn: str, private: bool
) -> None:
    from qiskit_ibm_runtime.accounts import utils
    from qiskit_ibm_runtime.api.utils import default_runtime_url_resolver

    official.save(token=KEY, filename=str(file), instance=crn, url=cloud, private_endpoint=private)
    ours = load_account(path=file, environ={})
    assert ours.instances[0].base_url == default_runtime_url_resolver(cloud, crn, private)
    assert ours.search_url == utils.get_global_search_api_url(cloud)
    assert ours.catalog_url == utils.get_global_catalog_api_url(cloud)


# These names belong to one channel each; the official client writes them for no other.
STANDARD = {"default-ibm-cloud": CLOUD, "default-ibm-quantum-platform": PLATFORM}
SAVED = st.dictionaries(
    st.sampled_from(["a", "b", "z", *STANDARD]),
    st.sampled_from([PLATFORM, CLOUD]),
    min_size=1,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accounts=SAVED, data=st.data())
def test_of_several_accounts_the_official_client_takes_the_same(
    official: Any, file: Path, accounts: dict[str, str], data: st.DataObject
) -> None:
    from qiskit_ibm_runtime.accounts.exceptions import AccountNotFoundError

    file.unlink(missing_ok=True)
    marked = data.draw(st.sampled_from([None, *accounts]))
    for name, channel in accounts.items():
        official.save(
            token=f"key-of-{name}",
            name=name,
            channel=STANDARD.get(name, channel),
            filename=str(file),
            set_as_default=name == marked or None,
        )
    chosen = data.draw(st.sampled_from([None, PLATFORM, CLOUD]))
    environ = {"QISKIT_IBM_CHANNEL": chosen} if chosen else {}
    with pytest.MonkeyPatch.context() as patched:
        for variable, value in environ.items():
            patched.setenv(variable, value)
        try:
            theirs = official.get(filename=str(file))
        except AccountNotFoundError:
            return
    assert key_of(load_account(path=file, environ=environ)) == theirs.token


def test_one_odd_entry_hides_no_other(file: Path) -> None:
    good = {"token": KEY, "instance": CRN}
    file.write_text(json.dumps({"odd": [1], "older": {"token": KEY, "verify": "ca.pem"}, "mine": good}))
    assert [one.crn for one in load_account("mine", file, environ={}).instances] == [CRN]
    with pytest.raises(AccountError, match=r"the account 'odd' in .* is not as the official client writes"):
        load_account("odd", file, environ={})
    with pytest.raises(AccountError, match="it has: older, mine"):
        load_account("other", file, environ={})


def test_crash_reports_do_not_show_what_was_read(file: Path) -> None:
    """Some print the names in every frame; ours hold the key of an account that is refused."""
    file.write_text(json.dumps({"mine": {"token": KEY, "instance": "crn:a name"}}))
    with pytest.raises(AccountError, match="is not the CRN") as caught:
        load_account("mine", file)
    stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    ours = [frame for frame in stack if Path(frame.filename).name == "saved.py"]
    assert len(ours) >= 3
    assert KEY not in repr([frame.locals for frame in ours])


# --- where the key is from


def test_an_account_knows_where_its_key_is_from(file: Path) -> None:
    write(file, {"work": entry(), "default-ibm-quantum-platform": entry()})
    assert load_account("work", file).source == f"the saved account 'work' in {file}"
    default = load_account(path=file, environ={"QISKIT_IBM_TOKEN": KEY}).source
    assert default == f"the saved account 'default-ibm-quantum-platform' in {file}"
    source = load_account(environ={"QISKIT_IBM_TOKEN": KEY}, region="us-east").source
    assert source == "QISKIT_IBM_TOKEN, which goes before saved accounts"
    assert Account(KEY).source is None


def test_a_key_with_a_line_break_is_told_where_it_is_from() -> None:
    with pytest.raises(AccountError, match=r"the api_key of QISKIT_IBM_TOKEN, .*; it ends with a line break"):
        load_account(environ={"QISKIT_IBM_TOKEN": f"{KEY}\n"})
