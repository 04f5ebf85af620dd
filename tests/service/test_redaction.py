"""No part of a secret is shown."""

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

from hypothesis import assume, example, given
from hypothesis import strategies as st

from qrbackends.service.redaction import redacted

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60)
WORDS = st.text(st.sampled_from("äöü .:"), max_size=20)


@given(SECRETS, WORDS, WORDS, st.data())
def test_every_part_of_eight_characters_is_hidden(
    secret: str, front: str, behind: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(secret) - 8))
    end = data.draw(st.integers(at + 8, len(secret)))
    shown = redacted(f"{front}{secret[at:end]}{behind}", secret)
    assert not any(secret[n : n + 8] in shown for n in range(len(secret) - 7))
    assert shown.startswith(front)


@given(SECRETS, WORDS, st.integers(0, 20))
def test_the_forms_of_urls_and_base64_are_hidden(secret: str, front: str, cut: int) -> None:
    for form in (
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        b64encode(secret.encode()).decode(),
        urlsafe_b64encode(b"user:" + secret.encode())[8:].decode(),
    ):
        assume(len(form) - cut >= 12)
        left = form[: len(form) - cut]
        shown = redacted(front + left, secret)
        assert not any(left[n : n + 11] in shown for n in range(len(left) - 10)), (form, shown)


@given(st.text(max_size=100), SECRETS)
@example("eyJhbGciOi is how every token begins", "eyJhbGciOi")
def test_what_holds_nothing_of_it_stays_as_it_is(text: str, secret: str) -> None:
    shown = redacted(text, secret)
    assert shown == text or "***" in shown
    assert redacted("no such words at all", "0123456789") == "no such words at all"


def test_a_few_characters_at_the_end_are_no_part_of_a_secret() -> None:
    assert redacted("alpha", "ZZZZZalphZZZZZZZZZaZZZZZZZ") == "alpha"
    assert redacted("the token was alph", "ZZZZZalphZZZZZZZZZaZZZZZZZ") == "the token was ***"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=7), st.text())
@example("e", "the token is bad")
@example("token+/", "quoted as token%2B%2F, and dG9rZW4rLw==")
def test_a_secret_of_fewer_than_eight_characters_hides_no_letters_of_our_own_words(
    secret: str, text: str
) -> None:
    assert redacted(f"{text} {secret} {quote(secret, safe='')}", secret) == (
        f"{text} {secret} {quote(secret, safe='')}"
    )
