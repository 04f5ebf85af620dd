"""Validators: what of an answer's headers can be sent back, and which 304 is believed."""

from itertools import product

import pytest
from multidict import CIMultiDict

from qrbackends.protocol.validators import NONE, Validators, validators_of

CHANGED = "Thu, 26 Nov 2026 12:00:00 GMT"
LATER = "Thu, 26 Nov 2026 12:01:00 GMT"  # by which no other change can follow under the same date
TAG = Validators('"a"')
DATED = Validators(last_modified=CHANGED)


@pytest.mark.parametrize("etag", ['"a"', 'W/"a"', '""', '"a,b"', '"!#~"', '"' + "x" * 254 + '"'])
def test_a_tag_is_sent_back_as_it_came(etag: str) -> None:
    for headers in ({"ETag": etag}, {"etag": f" {etag} "}, {"ETag": etag, "Last-Modified": CHANGED}):
        validators = validators_of(CIMultiDict(headers))
        assert validators == Validators(etag)
        assert validators.conditions() == {"If-None-Match": etag}


@pytest.mark.parametrize(
    "etag",
    [
        "",
        "*",
        "a",
        '"',
        '"a',
        "'a'",
        'w/"a"',
        'W/ "a"',
        '"a" "b"',
        '"a", "b"',
        '"a b"',
        '"a"b"',
        '"é"',
        '"a\x7f"',
        '"a\r\nX: b"',
        '"a"\n"b"',
        '"' + "x" * 255 + '"',
    ],
)
def test_a_malformed_tag_is_not_used(etag: str) -> None:
    assert validators_of(CIMultiDict({"ETag": etag})) is NONE
    dated = CIMultiDict({"ETag": etag, "Last-Modified": CHANGED, "Date": LATER})
    assert validators_of(dated) == DATED


@pytest.mark.parametrize(
    ("modified", "date", "usable"),
    [
        (CHANGED, LATER, True),
        (f" {CHANGED} ", LATER, True),
        (CHANGED, "Fri, 27 Nov 2026 12:00:00 GMT", True),
        (CHANGED, "Thu, 26 Nov 2026 12:00:59 GMT", False),  # it may change again, and keep this date
        (CHANGED, CHANGED, False),
        (LATER, CHANGED, False),  # from the future
        (CHANGED, "", False),
        (CHANGED, "soon", False),
        ("", LATER, False),
        ("yesterday", LATER, False),
        ("Thu, 26 Nov 2026 12:00:00 +0000", LATER, False),
        ("Thursday, 26-Nov-26 12:00:00 GMT", LATER, False),
        ("Thu, 99 Nov 2026 12:00:00 GMT", LATER, False),
        ("Thu, 26 Nov 2026 12:00:00 GMT\r\nX: y", LATER, False),
        ("Thu, ٢٦ Nov 2026 12:00:00 GMT", LATER, False),
    ],
)
def test_a_date_that_is_too_young_is_not_used(modified: str, date: str, usable: bool) -> None:
    validators = validators_of(CIMultiDict({"Last-Modified": modified, "Date": date}))
    assert validators == (DATED if usable else NONE)
    assert validators.conditions() == ({"If-Modified-Since": CHANGED} if usable else {})


def test_without_validators_there_is_no_condition() -> None:
    assert validators_of(CIMultiDict()) is NONE
    assert NONE.conditions() == {}


def test_a_tag_is_asked_about_before_a_date() -> None:
    assert Validators('"a"', CHANGED).conditions() == {"If-None-Match": '"a"'}


CONFIRMED = {
    ('"a"', '"a"'),
    ('W/"a"', '"a"'),
    ('"a"', 'W/"a"'),
    ('W/"a"', 'W/"a"'),
    ('"b"', '"b"'),
    (CHANGED, CHANGED),
}
TOLD = ("", '"a"', 'W/"a"', '"b"', '"A"', CHANGED, LATER)


@pytest.mark.parametrize(("told", "asked"), tuple(product(TOLD, ("", '"a"', 'W/"a"', '"b"', CHANGED))))
def test_a_304_is_about_what_was_asked_if_it_repeats_it(told: str, asked: str) -> None:
    def validators(text: str) -> Validators:
        return Validators(last_modified=text) if text.endswith("GMT") else Validators(text)

    assert validators(told).confirm(validators(asked)) == ((told, asked) in CONFIRMED)


def test_a_date_confirms_no_tag() -> None:
    assert not DATED.confirm(Validators('"a"', CHANGED))
    assert not Validators('"b"', CHANGED).confirm(Validators('"a"', CHANGED))
    assert not TAG.confirm(DATED)
