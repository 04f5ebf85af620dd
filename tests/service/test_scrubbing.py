"""What identifies an account does not survive in a body, however it is written there; all else does."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends import Account, Instance, ServiceInstance
from qrbackends.emulator.devices.fleets import wheel_directory
from qrbackends.service.scrubbing import Scrubber

ACCOUNT_ID = "8f3c1b7e9d2a4c6fb0e1d2c3a4b5c6d7"
GUIDS = ("5b1f0c7a-93d4-4e2b-8a61-0f2d3c4b5a69", "c0ffee00-93d4-4e2b-8a61-0f2d3c4b5a69")
KEY = "qX7-Yz_09ab/Kd+mno44charsLongKeyForIamPQ.Z"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJhY2NvdW50IjoiOGYzYzFiN2UifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
NAMES = ("Marie Curie's Gerät/№1", "lab")
HOST = "vpe-17.corp.example"


def crn(guid: str, region: str = "us-east") -> str:
    return f"crn:v1:bluemix:public:quantum-computing:{region}:a/{ACCOUNT_ID}:{guid}::"


def make(*backends: str, names: tuple[str, ...] = NAMES) -> Scrubber:
    account = Account(
        api_key=KEY,
        proxies={"https": "http://us%65rname:p%61ssword1@proxy.corp.example:3128"},
        instances=[
            Instance(crn(GUIDS[0]), private_endpoint=True),
            Instance(crn(GUIDS[1]), url=f"https://{HOST}/v1"),
        ],
    )
    instances = [ServiceInstance(one, name) for one, name in zip(account.instances, names, strict=True)]
    scrubber = Scrubber(account, instances, backends)
    scrubber.add_secret(TOKEN)
    return scrubber


SCRUBBER = make("ibm_boston")
IDENTITIES = {
    "key": KEY,
    "token": TOKEN,
    "payload": TOKEN.split(".")[1],
    "crn": crn(GUIDS[0]),
    "account": ACCOUNT_ID,
    "guid": GUIDS[1],
    "name": NAMES[0],
    "host": HOST,
    "private": "private.us-east.quantum.cloud.ibm.com",
    "proxy": "proxy.corp.example",
    "user": "username",
    "password": "password1",
    "another token": "eyJraWQiOiIxIn0.eyJpYW1faWQiOiJJQk1pZCJ9.QUJDREVGR0g",
    "user id": "IBMid-5500012ABC",
}


def escaped(text: str) -> str:
    """Return a text of nothing but JSON escapes."""
    return "".join(f"\\u{ord(char):04X}" for char in text)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "ascii": lambda text: json.dumps(text)[1:-1],
    "slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "escaped": escaped,
    "percent": lambda text: quote(text, safe=""),
    "percent of all": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "html": lambda text: html.escape(FORMS["plain"](text)),
    "html of all": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "html in json": lambda text: json.dumps("".join(f"&#x{ord(char):X};" for char in text))[1:-1],
    "twice": lambda text: json.dumps(json.dumps({"text": text}))[1:-1],
}


def meant(body: bytes) -> str:
    """Return what a body says to whoever decodes it."""
    return html.unescape(unquote(json.loads(b'"%b"' % body, strict=False)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("identity", IDENTITIES)
def test_it_does_not_survive(identity: str, form: str) -> None:
    text = IDENTITIES[identity]
    body = f"begin {FORMS[form](text)} end".encode()
    scrubbed = SCRUBBER.scrubbed(body)
    shown = meant(scrubbed)
    assert shown.startswith("begin ")
    assert shown.endswith(" end")
    if form == "twice":
        shown = json.loads(shown[6:-4])["text"]
    assert text not in shown
    for hidden in (KEY, ACCOUNT_ID, *GUIDS):
        assert hidden not in shown


@pytest.mark.parametrize("case", [str.upper, str.lower, str.title, str.swapcase])
@pytest.mark.parametrize("identity", ["crn", "account", "guid", "host", "private", "proxy"])
def test_nor_does_it_in_another_case(identity: str, case: Callable[[str], str]) -> None:
    shown = SCRUBBER.scrubbed(b"begin %b end" % case(IDENTITIES[identity]).encode()).decode().lower()
    hidden = IDENTITIES[identity].split(":")[-3] if identity == "crn" else IDENTITIES[identity]
    assert hidden.lower() not in shown
    assert (shown[:6], shown[-4:]) == ("begin ", " end")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("identity", [name for name, text in IDENTITIES.items() if text.isascii()])
def test_nor_does_it_in_another_encoding(identity: str, encoding: str) -> None:
    body = f'{{"a": "begin {IDENTITIES[identity]} end"}}'.encode(encoding)
    shown = SCRUBBER.scrubbed(body).replace(b"\0", b"").decode(errors="replace")
    assert IDENTITIES[identity] not in shown
    assert '"begin ' in shown
    assert shown.endswith(' end"}')


def test_the_name_of_an_instance_in_a_query() -> None:
    shown = make().scrubbed(f"/x?name={quote_plus(NAMES[0])}&a=b+c".encode())
    assert shown == b"/x?name=instance-1&a=b+c"


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("before", range(3))
@pytest.mark.parametrize("after", range(3))
def test_nor_does_a_credential_in_base64(encode: Callable[[bytes], bytes], before: int, after: int) -> None:
    for secret in (KEY, TOKEN):
        packed = encode(b"u" * before + secret.encode() + b"v" * after)
        scrubbed = SCRUBBER.scrubbed(b'{"trace": "%b"}' % packed)
        assert b"***" in scrubbed
        assert len(scrubbed) < 40


def test_parts_of_credentials_do_not_survive_in_errors() -> None:
    body = f'{{"errors": [{{"message": "no key {KEY[:13]}... or {TOKEN[30:44]}"}}]}}'.encode()
    shown = SCRUBBER.scrubbed(body, error=True)
    assert shown == b'{"errors": [{"message": "no key ***... or ***"}]}'


def test_crns_keep_their_region_and_their_instances_differ() -> None:
    body = json.dumps(
        [crn(GUIDS[0]), crn(GUIDS[1], "eu-de"), crn("0" * 7), GUIDS[0].replace("-", "")]
    ).encode()
    first, second, foreign, plain = json.loads(SCRUBBER.scrubbed(body))
    zeros = "0" * 32
    begin = "crn:v1:bluemix:public:quantum-computing"
    assert first == f"{begin}:us-east:a/{zeros}:00000000-0000-0000-0000-000000000001::"
    assert second == f"{begin}:eu-de:a/{zeros}:00000000-0000-0000-0000-000000000002::"
    assert foreign == f"{begin}:us-east:a/{zeros}:00000000-0000-0000-0000-000000000000::"
    assert plain == f"{1:032}"


def test_the_crn_of_a_stranger_is_replaced_too() -> None:
    other = b'{"crn": "crn:v1:staging:public:quantum-computing:us-east:a/stranger:their-guid::", "n": 1}'
    shown = json.loads(SCRUBBER.scrubbed(other))
    assert "stranger" not in shown["crn"]
    assert "their-guid" not in shown["crn"]
    assert shown["n"] == 1


def test_short_names_are_words_and_no_fields_and_no_gates() -> None:
    body = b'{"lab": "lab", "labor": ["lab-1 of lab", "collab", "lab_2"]}'
    assert SCRUBBER.scrubbed(body) == (
        b'{"lab": "instance-2", "labor": ["instance-2-1 of instance-2", "collab", "lab_2"]}'
    )
    assert SCRUBBER.scrubbed(body, calibration=True) == body


def test_proxies_of_the_environment_are_private_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "somebody:password2@squid.corp.example:3128")
    scrubber = Scrubber(Account(api_key=KEY, instances=[Instance(crn(GUIDS[0]))]), ())
    shown = scrubber.scrubbed(
        b"<p>squid.corp.example:3128 refuses somebody (password2) us-east.quantum.cloud.ibm.com"
    )
    assert (
        shown
        == b"<p>private.invalid:3128 refuses private.invalid (private.invalid) us-east.quantum.cloud.ibm.com"
    )


def test_names_of_devices_stay() -> None:
    scrubber = make("ibm_boston", "synthetic_heron_133", names=("ibm_boston", "synthetic"))
    body = b'{"backend_name": "ibm_boston", "other": "synthetic_heron_133", "instance": "synthetic"}'
    assert scrubber.scrubbed(body) == body.replace(b'"synthetic"', b'"instance-2"')


@pytest.mark.parametrize("name", ["boston", "lima", "mumbai"])
def test_calibrations_stay_byte_for_byte(name: str) -> None:
    for path in (wheel_directory() / name).glob("*.json"):
        body = path.read_bytes()
        assert SCRUBBER.scrubbed(body, calibration=True) == body


@pytest.mark.parametrize(
    "body", [b"", b"\\", b"\\u12", b"%", b"%zz", b"\xff\xfe\\x", b'"\\ud83d', b"\x00%00"]
)
def test_odd_bodies_stay_as_they_are(body: bytes) -> None:
    assert SCRUBBER.scrubbed(body, error=True) == body
    assert ACCOUNT_ID.encode() not in SCRUBBER.scrubbed(body + ACCOUNT_ID.encode() + body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(values, st.sampled_from(sorted(IDENTITIES.values())), st.booleans())
def test_hidden_in_every_field_it_does_not_survive(value: Any, identity: str, ascii_only: bool) -> None:
    def planted(inner: Any) -> Any:
        match inner:
            case dict():
                return {f"{key}{identity}": planted(one) for key, one in inner.items()}
            case list():
                return [planted(one) for one in inner]
            case str():
                return f"{inner}{identity}{inner}"
            case _:
                return inner

    clean = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert SCRUBBER.scrubbed(clean, calibration=True) == clean
    body = json.dumps([planted(value), identity], ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    shown = json.loads(SCRUBBER.scrubbed(body).decode("utf-8", "surrogatepass"))
    assert identity not in json.dumps(shown, ensure_ascii=False)
    assert identity not in str(shown)
