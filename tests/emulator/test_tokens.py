"""IAM's tokens."""

import base64

import msgspec

from qrbackends.emulator.services.tokens import Issuer

from .asking import NOW


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW + 0.75

    def __call__(self) -> float:
        return self.now


def issuer(clock: Clock) -> Issuer:
    return Issuer(("one", "two"), 600, clock)


def test_a_token_is_a_canonical_jwt_that_says_when_it_expires() -> None:
    granted = issuer(Clock()).issue("two")
    parts = granted["access_token"].split(".")
    decoded = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts]
    assert [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in decoded] == parts
    assert msgspec.json.decode(decoded[0])["typ"] == "JWT"
    claims = msgspec.json.decode(decoded[1])
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 600)
    assert claims["sub"] == "key-1"
    assert (granted["expires_in"], granted["expiration"], granted["token_type"]) == (600, NOW + 600, "Bearer")


def test_no_two_tokens_are_alike() -> None:
    made = issuer(Clock())
    assert made.issue("one")["access_token"] != made.issue("one")["access_token"]


def test_a_token_expires_with_the_clock() -> None:
    clock = Clock()
    made = issuer(clock)
    token = made.issue("one")["access_token"]
    assert made.accepts(token)
    clock.now = NOW + 599.9
    assert made.accepts(token)
    clock.now = NOW + 600
    assert not made.accepts(token)


def test_all_tokens_can_be_revoked() -> None:
    made = issuer(Clock())
    token = made.issue("one")["access_token"]
    made.revoke_all()
    assert not made.accepts(token)
    assert made.accepts(made.issue("one")["access_token"])


def test_nobody_else_can_make_one() -> None:
    clock = Clock()
    token = issuer(clock).issue("one")["access_token"]
    made = issuer(clock)
    assert not made.accepts(token)
    own = made.issue("one")["access_token"]
    header, payload, signature = own.split(".")
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    later = base64.urlsafe_b64encode(msgspec.json.encode(claims | {"exp": 9e9})).rstrip(b"=").decode()
    for forged in (f"{header}.{later}.{signature}", own + "=", own[:-1], "", "a.b.c", "é.é.é"):
        assert not made.accepts(forged)


def test_only_its_own_keys_are_known() -> None:
    made = issuer(Clock())
    assert made.knows("one")
    assert made.knows("two")
    assert not made.knows("three")
    assert not made.knows("")
