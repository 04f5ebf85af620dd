"""Accounts, instances, addresses and secrets."""

import copy
import dataclasses
import json
import logging
import pickle
import ssl
import string
import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from qrbackends.accounts.account import Account, Instance
from qrbackends.accounts.secret import Secret
from qrbackends.accounts.urls import checked_url, is_plain_http
from qrbackends.errors import AccountError

KEY = "k3y-Of-The-Realm"
CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:guid-1::"
EU = CRN.replace("us-east", "eu-de")
STAGING = CRN.replace("bluemix", "staging")
LOCAL = "http://127.0.0.1:8101/api/v1"


# --- CRNs and addresses


@pytest.mark.parametrize(
    ("instance", "base_url"),
    [
        (Instance(CRN), "https://quantum.cloud.ibm.com/api/v1"),
        (Instance(EU), "https://eu-de.quantum.cloud.ibm.com/api/v1"),
        (Instance(CRN, private_endpoint=True), "https://private.us-east.quantum.cloud.ibm.com/api/v1"),
        (Instance(EU, private_endpoint=True), "https://private.eu-de.quantum.cloud.ibm.com/api/v1"),
        (Instance(CRN, cloud_url="https://test.cloud.ibm.com"), "https://quantum.test.cloud.ibm.com/api/v1"),
        (Instance(EU, cloud_url="https://c.test:8443/"), "https://eu-de.quantum.c.test:8443/api/v1"),
        (Instance(CRN, url=LOCAL), LOCAL),
        (Instance(CRN, url=f"{LOCAL}///"), LOCAL),
        (Instance(EU, url=LOCAL, private_endpoint=True, cloud_url="https://c.test"), LOCAL),
    ],
)
def test_the_base_address(instance: Instance, base_url: str) -> None:
    assert instance.base_url == base_url


@pytest.mark.parametrize("region", ["us-east", "eu-de", "a", "x1", "9", "a" * 63, "xn--nxasmq6b"])
def test_the_region_is_the_sixth_field(region: str) -> None:
    instance = Instance(CRN.replace("us-east", region))
    assert instance.region == region
    assert (URL(instance.base_url).host or "").endswith("quantum.cloud.ibm.com")


def test_staging_is_the_third_field() -> None:
    assert Instance(STAGING).staging
    assert not Instance(CRN).staging


def test_a_crn_of_nine_fields_is_taken_as_other_services_emulators_write_it() -> None:
    short = Instance(CRN.removesuffix(":").replace("us-east", "eu-de"))
    assert short.region == "eu-de"
    assert short.base_url == "https://eu-de.quantum.cloud.ibm.com/api/v1"
    assert short.crn.count(":") == 8


@pytest.mark.parametrize(
    "crn",
    [
        "",
        "crn",
        "my-instance",
        None,
        7,
        b"crn:v1:bluemix:public:quantum-computing:us-east:a/A:G::",
        CRN.removesuffix("::"),
        "crn:v1:bluemix:public:quantum-computing::a/A:guid-1:",
        f"{CRN}:",
        CRN.replace("crn:", "CRN:"),
        CRN.replace("us-east", ""),
        *(
            CRN.replace("us-east", region)
            for region in (
                "US-EAST",
                "-us",
                "us-",
                "a" * 64,
                "evil.com",
                "evil.com/",
                "evil.com#",
                "evil.com?",
                "user@evil.com",
                "us\\east",
                "us%2feast",
                "us_east",
                "e\u00fc",
                "us east",
                "us\r\nX: 1",
                "\uff45\uff55",
            )
        ),
        f"{CRN}\r\nX-Evil: 1",
        f"{CRN}\n",
        CRN.replace("guid-1", "guid 1"),
        CRN.replace("guid-1", "guid\x00"),
        CRN.replace("guid-1", "g\u00fcid"),
        CRN.replace("guid-1", "g" * 600),
    ],
)
def test_what_is_no_crn_is_refused_briefly(crn: str) -> None:
    with pytest.raises(AccountError) as caught:
        Instance(crn)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("crn", "said"),
    [
        (
            CRN.removesuffix("::"),
            "guid-1' is not the CRN of an instance: the two colons at its end are missing;",
        ),
        (f"{CRN},{CRN}", "of an instance: it seems to be several, and only one is taken;"),
        (f"{CRN} ", "of an instance: it begins or ends with a blank or a quote;"),
        (f"'{CRN}'", "of an instance: it begins or ends with a blank or a quote;"),
        ("crn:v1:guid-1", "'crn:v1:guid-1' is not the CRN of an instance: it has 3 fields instead of 10"),
        (CRN.replace("us-east", "US East"), "its sixth field, 'US East', is no region;"),
        ("my-instance", "'my-instance' is not the CRN of an instance; it looks like crn:v1:"),
    ],
)
def test_of_what_is_no_crn_it_is_told_what_is_wrong(crn: str, said: str) -> None:
    with pytest.raises(AccountError) as caught:
        Instance(crn)
    assert said in str(caught.value)


@given(
    st.one_of(st.text(max_size=20), st.text(alphabet=string.printable, max_size=20)),
    st.sampled_from(range(10)),
)
@example("evil.com", 5)
def test_no_crn_leads_outside_the_cloud(text: str, field: int) -> None:
    parts = CRN.split(":")
    parts[field] = text
    try:
        instance = Instance(":".join(parts))
    except AccountError:
        return
    url = URL(instance.base_url)
    assert url.host is not None
    assert url.host.endswith("quantum.cloud.ibm.com")
    assert (url.scheme, url.path, url.user, url.port) == ("https", "/api/v1", None, 443)
    assert not any(char.isspace() for char in instance.crn), "it becomes a header"


HOSTILE_URLS = [
    "",
    "cloud.ibm.com",
    "//cloud.ibm.com",
    "ftp://cloud.ibm.com",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https:",
    "https://",
    "https:///path",
    "https://:443",
    "https://user@cloud.ibm.com",
    "https://user:hunter2@cloud.ibm.com",
    "https://@cloud.ibm.com",
    "https://:@cloud.ibm.com",
    "https://:hunter2@cloud.ibm.com",
    "https://cloud.ibm.com/?apikey=hunter2",
    "https://cloud.ibm.com/#hunter2",
    "https://cloud.ibm.com?",
    "https://cloud.ibm.com/api/v1?",
    "https://cloud.ibm.com#",
    "https://cloud.ibm.com:port",
    "https://cloud.ibm.com:99999",
    "https://cloud.ibm.com:0",
    "https://cloud.ibm.com:",
    "https://cloud.ibm.com:-1",
    "https://cloud.ibm.com\r\nHost: evil.com",
    "https://cloud.ibm.com/\n",
    "https://cl\toud.ibm.com",
    " https://cloud.ibm.com",
    "https://cloud.ibm.com ",
    "https://cloud.ibm.com/a b",
    "https://cloud.ibm.com\x00",
    "https://cloud.ibm.com\x1b[2J",
    "https://cloud.ibm.com\x7f",
    "https://evil.com\\.cloud.ibm.com",
    "https://cloud.ibm.c\u043em",
    "https://cloud\u3002ibm.com",
    "https://[::1",
    "https://::1]",
    "https://[::1]evil.com",
    "https://evil.com[::1]",
    "https://[evil.com]",
    None,
    7,
    b"https://cloud.ibm.com",
]


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_a_hostile_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(AccountError) as caught:
        checked_url(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("field", ["url", "cloud_url"])
def test_an_instance_checks_its_addresses(field: str) -> None:
    with pytest.raises(AccountError, match="user name"):
        Instance(CRN, **{field: "https://user:pw@evil.com"})  # type: ignore[arg-type]


# What parsers of addresses quarrel about.
PIECES = ["localhost", "127.0.0.1", "[::1]", "[", "]", "evil.com", "80", *"@:/?#\\ .;,%\t\r\n\x00\x7f\u3002"]


@given(st.sampled_from(["http://", "https://"]), st.lists(st.sampled_from(PIECES), min_size=1, max_size=6))
def test_an_accepted_address_means_the_same_to_the_http_client(scheme: str, pieces: list[str]) -> None:
    try:
        checked = checked_url(scheme + "".join(pieces))
    except AccountError:
        return
    seen = URL(f"{checked}/backends")
    assert seen.user is seen.password is None
    assert seen.host
    assert (seen.query_string, seen.fragment) == ("", "")
    assert seen.path.endswith("/backends")
    if scheme == "http://" and not is_plain_http(checked):
        assert seen.host in ("localhost", "127.0.0.1", "::1")


@given(st.one_of(st.text(), st.text(alphabet=string.printable)))
def test_any_text_is_an_address_or_an_account_error(text: str) -> None:
    for url in (text, f"https://{text}", f"http://[{text}]"):
        try:
            checked = checked_url(url)
        except AccountError as error:
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert checked.isascii()
            assert checked.isprintable()


@pytest.mark.parametrize("url", ["https://x.test", "https://x.test/", "https://x.test//"])
def test_a_checked_address_ends_without_a_slash(url: str) -> None:
    assert checked_url(url) == "https://x.test"


# --- plain http


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "127.255.255.254", "[::1]", "[0:0:0:0:0:0:0:1]"],
)
@pytest.mark.parametrize("rest", ["", ":8101", ":8101/api/v1"])
def test_plain_http_is_harmless_on_loopback(host: str, rest: str) -> None:
    assert not is_plain_http(f"http://{host}{rest}")


@pytest.mark.parametrize(
    "host",
    [
        "cloud.ibm.com",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "evil-localhost",
        "localhost.",
        "localhost.localdomain",
        "127.0.0.1.",
        "0x7f.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "2130706433",
        "0",
        "0.0.0.0",
        "128.0.0.1",
        "126.255.255.255",
        "10.0.0.1",
        "[::]",
        "[::2]",
        "[fe80::1]",
        "localhost%2eevil.com",
        "127.0.0.1%2eevil.com",
        "localhost,evil.com",
        "\uff11\uff12\uff17.0.0.1",
        "loca\u0131host",
    ],
)
def test_plain_http_is_not_harmless_elsewhere(host: str) -> None:
    assert is_plain_http(f"http://{host}:8101/api/v1")
    assert not is_plain_http(f"https://{host}:8101/api/v1")


@pytest.mark.parametrize("url", ["http://[::1]evil.com", "http://evil.com[::1]", "http://[::1].evil.com:80"])
def test_brackets_do_not_make_a_name_loopback(url: str) -> None:
    with pytest.raises(AccountError):
        is_plain_http(checked_url(url))


@given(st.ip_addresses(v=4))
def test_of_all_addresses_those_of_127_are_loopback(address: object) -> None:
    assert is_plain_http(f"http://{address}") is not str(address).startswith("127.")


# --- secrets


def all_texts(secret: object) -> str:
    """Return all that the usual ways of showing an object make of one."""
    return " ".join(
        [
            repr(secret),
            str(secret),
            f"{secret}",
            f"{secret!r:>40}",
            "%s %r" % (secret, secret),  # noqa: UP031
            "{}".format(secret),  # noqa: UP032
            ascii(secret),
            repr([secret]),
            repr({"key": secret}),
        ]
    )


def test_a_secret_is_shown_by_reveal_only() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    assert KEY not in all_texts(secret)
    assert "***" in repr(secret)
    assert not hasattr(secret, "__dict__"), "vars() has nothing to show"


def test_a_secret_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("key %s %r", Secret(KEY), {"k": Secret(KEY)})
    assert "Secret(***)" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("holder", [Secret(KEY), Account(api_key=KEY), Account(token=KEY)])
def test_neither_secret_nor_account_is_pickled(holder: object, protocol: int) -> None:
    with pytest.raises(TypeError, match="not pickled") as caught:
        pickle.dumps(holder, protocol)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("encode", [json.dumps, msgspec.json.encode])
@pytest.mark.parametrize("holder", [Secret(KEY), Account(api_key=KEY, instances=[Instance(CRN)])])
def test_no_encoder_shows_a_secret(encode: object, holder: object) -> None:
    assert callable(encode)
    try:
        shown = str(encode(holder))
    except TypeError as error:
        shown = str(error)
    assert KEY not in shown


def test_a_copied_secret_is_the_same() -> None:
    secret = Secret(KEY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_a_prefixed_secret_is_one_too() -> None:
    header = Secret(KEY).prefixed("Bearer ")
    assert header.reveal() == f"Bearer {KEY}"
    assert KEY not in all_texts(header)


def test_secrets_compare_by_value_and_with_secrets_only() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret(KEY.lower())
    assert Secret(KEY) != KEY


@pytest.mark.parametrize("text", ["", "a\nb", "a\r", "\tkey", "k\u00e9y", "a\x00", "a\x7f", None, 7, b"key"])
def test_what_cannot_be_a_credential_is_refused_unrepeated(text: str) -> None:
    with pytest.raises(AccountError, match="credential") as caught:
        Secret(text)
    assert repr(text) not in str(caught.value)


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_any_printable_ascii_is_a_credential(text: str) -> None:
    assert Secret(text).reveal() == text


# --- accounts


@pytest.mark.parametrize("field", ["api_key", "token"])
@pytest.mark.parametrize("value", [KEY, Secret(KEY)])
def test_an_account_shows_no_credential(field: str, value: str | Secret) -> None:
    account = Account(**{field: value}, instances=[Instance(CRN)])  # type: ignore[arg-type]
    held = getattr(account, field)
    assert isinstance(held, Secret)
    assert held.reveal() == KEY
    assert KEY not in all_texts(account)
    assert KEY not in repr(vars(account))
    assert KEY not in repr(dataclasses.asdict(account))
    assert CRN in repr(account)


@pytest.mark.parametrize(
    "user", ["u" * 256, "u:" + "hunter2" * 40, "%C3%BC:hunter2", "u%00x:hunter2", "u:%0a"]
)
def test_a_user_that_socks_cannot_transport_is_refused_and_not_shown(user: str) -> None:
    for scheme in ("socks5h", "socks4"):
        with pytest.raises(AccountError, match="at most 255 printable ASCII") as caught:
            Account(api_key="an API key", proxies={"https": f"{scheme}://{user}@proxy"})
        assert "hunter2" not in str(caught.value)
    assert Account(api_key="an API key", proxies={"https": f"http://{user}@proxy"})
    assert Account(api_key="an API key", proxies={"https": f"socks5://{'u' * 255}:p%20%7E@proxy"})


def test_an_account_shows_no_password_of_a_proxy() -> None:
    account = Account(api_key=KEY, proxies={"https": "http://user:hunter2@proxy:3128"})
    assert "hunter2" not in all_texts(account)
    assert account.proxies == {"https": "http://user:hunter2@proxy:3128"}


async def provider() -> tuple[str, float]:
    """Return a bearer token, as an application's own code would."""
    return KEY, 0.0


def test_a_token_may_be_a_provider() -> None:
    assert Account(token=provider).token is provider


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"api_key": KEY, "token": "other"},
        {"api_key": KEY, "token": provider},
        {"api_key": ""},
        {"token": ""},
        {"api_key": f"{KEY}\r\nX-Evil: 1"},
        {"token": f"{KEY}\n"},
        {"api_key": KEY.encode()},
        {"token": KEY.encode()},
        {"token": [KEY]},
        {"api_key": 7},
        {"api_key": provider},
        {"api_key": KEY, "instances": CRN},
        {"api_key": KEY, "instances": None},
        {"api_key": KEY, "instances": Instance(CRN)},
        {"api_key": KEY, "instances": [CRN]},
        {"api_key": KEY, "instances": [Instance(CRN), Instance(CRN)]},
        {"api_key": KEY, "instances": [Instance(CRN), Instance(CRN, url=LOCAL)]},
        {"api_key": KEY, "iam_url": ""},
        {"api_key": KEY, "iam_url": "iam.cloud.ibm.com"},
        {"api_key": KEY, "search_url": "https://user:pw@search.test"},
        {"api_key": KEY, "catalog_url": "https://catalog.test?x=1"},
    ],
    ids=lambda arguments: ",".join(arguments) or "nothing",
)
def test_an_account_that_cannot_work_is_refused_without_its_key(arguments: dict[str, object]) -> None:
    with pytest.raises(AccountError) as caught:
        Account(**arguments)  # type: ignore[arg-type]
    assert KEY not in str(caught.value)


def test_equal_accounts_have_equal_hashes() -> None:
    one, other = (
        Account(api_key=KEY, instances=[Instance(CRN)], proxies={"https": "http://proxy:3128"})
        for _ in range(2)
    )
    assert one == other
    assert hash(one) == hash(other)


def test_an_account_has_its_own_copy_of_what_it_was_given() -> None:
    instances, proxies = [Instance(CRN)], {"https": "http://proxy:3128"}
    account = Account(api_key=KEY, instances=instances, proxies=proxies)
    instances.append(Instance(EU))
    proxies.clear()
    assert account.instances == (Instance(CRN),)
    assert account.proxies == {"https": "http://proxy:3128"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        account.verify = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("instances", "iam"),
    [
        ([], "https://iam.cloud.ibm.com"),
        ([Instance(CRN)], "https://iam.cloud.ibm.com"),
        ([Instance(EU)], "https://iam.cloud.ibm.com"),
        ([Instance(CRN, private_endpoint=True)], "https://private.iam.cloud.ibm.com"),
        ([Instance(STAGING)], "https://iam.test.cloud.ibm.com"),
        ([Instance(STAGING, private_endpoint=True)], "https://private.iam.test.cloud.ibm.com"),
        ([Instance(CRN, cloud_url="https://c.test:8443")], "https://iam.c.test:8443"),
        ([Instance(CRN), Instance(STAGING)], "https://iam.cloud.ibm.com"),
        ([Instance(CRN, url=LOCAL)], "https://iam.cloud.ibm.com"),
    ],
)
def test_the_address_of_iam(instances: list[Instance], iam: str) -> None:
    assert Account(api_key=KEY, instances=instances).iam == iam
    assert Account(api_key=KEY, instances=instances, iam_url="https://i.test/").iam == "https://i.test"


def test_the_addresses_of_search_and_catalog() -> None:
    account = Account(api_key=KEY)
    assert account.search_url == "https://api.global-search-tagging.cloud.ibm.com"
    assert account.catalog_url == "https://globalcatalog.cloud.ibm.com/api/v1"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("proxy:3128", "http://proxy:3128"),
        ("http://user:pw@proxy:3128", "http://user:pw@proxy:3128"),
        ("https://proxy", "https://proxy"),
    ],
)
def test_a_proxy_may_leave_out_its_scheme(given: str, kept: str) -> None:
    assert Account(api_key=KEY, proxies={"https": given}).proxies == {"https": kept}


@pytest.mark.parametrize(
    "proxy",
    [
        "//x",
        "",
        "socks://pw@proxy:1080",
        "socks6://pw@proxy",
        "socks5://pw@",
        "ftp://pw@x",
        "http://",
        "http://x:pw",
        "http://[",
        7,
    ],
)
def test_a_proxy_that_cannot_be_one_is_refused_without_its_password(proxy: Any) -> None:
    with pytest.raises(AccountError, match="the proxy for 'https' has to be an address") as caught:
        Account(api_key=KEY, proxies={"https": proxy})
    assert "pw" not in str(caught.value)


def test_whether_certificates_are_verified() -> None:
    assert Account(api_key=KEY).verified
    assert not Account(api_key=KEY, verify=False).verified
    own = ssl.create_default_context()
    assert Account(api_key=KEY, verify=own).verified
    own.check_hostname = False
    own.verify_mode = ssl.CERT_NONE
    assert not Account(api_key=KEY, verify=own).verified


@pytest.mark.parametrize("host", ["a..b", ".a", "x" * 64, f"a.{'x' * 64}.test", "-a", "a-.test"])
def test_a_name_that_no_host_can_have_is_refused(host: str) -> None:
    with pytest.raises(AccountError):
        Instance(CRN, url=f"https://{host}/api/v1")
    assert Instance(CRN, url=f"https://{'x' * 63}.test./api/v1").base_url


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (f"{KEY}\n", "it ends with a line break"),
        (f"\t{KEY}\r\n", "it begins with white space and it ends with a line break"),
        (f"“{KEY}”", "it begins with a quotation mark and it ends with a quotation mark"),
        (f"{KEY[:8]}\x00{KEY[8:]}", "printable ASCII characters$"),
    ],
)
def test_a_credential_with_what_belongs_to_none_is_refused_and_not_shown(key: str, said: str) -> None:
    with pytest.raises(
        AccountError, match=f"^the api_key of QISKIT_IBM_TOKEN: a credential .*{said}"
    ) as caught:
        Account(api_key=key, source="QISKIT_IBM_TOKEN")
    assert KEY[:8] not in str(caught.value)


def test_instances_in_the_place_of_the_token_are_told_their_name() -> None:
    for wrong in ([Instance(CRN)], Instance(CRN), [CRN]):
        with pytest.raises(
            AccountError, match=r"token cannot be a .*: give instances by name, Account[(]api_key, "
        ):
            Account(KEY, wrong)  # type: ignore[arg-type]


def test_where_a_key_is_from_makes_no_other_account() -> None:
    one, other = Account(KEY, source="here"), Account(KEY)
    assert (one == other, hash(one) == hash(other), "here" in repr(one)) == (True, True, False)


def test_a_key_in_place_of_a_crn_is_not_shown() -> None:
    key = "k" * 44
    with pytest.raises(AccountError, match="what looks like an API key is not the CRN") as caught:
        Instance(key)
    assert key not in str(caught.value)
