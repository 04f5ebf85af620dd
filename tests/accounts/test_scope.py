"""Whose an answer is."""

import hashlib
import hmac
import itertools
from typing import Any

import pytest

from qrbackends import Account, AccountError, Instance
from qrbackends.accounts.scope import Scopes

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:guid::"
OTHER = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:other::"
VERSION = "2026-04-15"


async def provider() -> tuple[str, float]:
    return "token", 1e12


def scope_id(account: Account, instance: Instance | None = None, version: str = VERSION) -> str:
    return Scopes(account, version).of(instance or Instance(CRN)).id


def test_it_is_the_same_wherever_the_same_credential_asks_the_same() -> None:
    assert scope_id(Account(api_key="key-number-1")) == scope_id(
        Account(api_key="key-number-1", iam_url="https://iam.example")
    )
    named = Account(token=provider, identity="somebody")
    assert scope_id(named) == scope_id(Account(token=provider, identity="somebody"))


def test_whatever_differs_makes_another_scope() -> None:
    ids = [
        scope_id(Account(api_key="key-number-1")),
        scope_id(Account(api_key="key-number-2")),
        scope_id(Account(api_key="key-number-1", verify=False)),
        scope_id(Account(token="t")),
        scope_id(Account(token=provider, identity="somebody")),
        scope_id(Account(token=provider, identity="somebody else")),
        scope_id(Account(api_key="key-number-1"), Instance(OTHER)),
        scope_id(Account(api_key="key-number-1"), Instance(CRN, url="http://127.0.0.1:8101/api/v1")),
        scope_id(Account(api_key="key-number-1"), version="2026-01-01"),
    ]
    assert all(one != other for one, other in itertools.combinations(ids, 2))


def test_a_provider_without_identity_shares_nothing() -> None:
    account = Account(token=provider)
    scopes = Scopes(account, VERSION)
    assert scopes.of(Instance(CRN)) is scopes.of(Instance(CRN))
    assert scope_id(account) != scope_id(account)
    assert scopes.of(Instance(CRN)).key is None


def test_keys_follow_from_the_credential_and_are_not_shown() -> None:
    scope = Scopes(Account(api_key="the-key-of-a"), VERSION).of(Instance(CRN))
    assert scope.key == hmac.digest(b"the-key-of-a", b"qrbackends/seal/v1", hashlib.sha256)
    assert scope.key.hex() not in repr(scope)
    assert repr(scope.key) not in repr(scope)
    assert scope.key.hex() != scope.id


@pytest.mark.parametrize("account", [{"api_key": "key-number-1"}, {"token": "t"}])
def test_keys_and_tokens_have_an_identity_already(account: Any) -> None:
    with pytest.raises(AccountError, match="goes with a token from a callable"):
        Account(**account, identity="somebody")


def test_an_identity_is_a_secret() -> None:
    assert "somebody" not in repr(Account(token=provider, identity="somebody"))
