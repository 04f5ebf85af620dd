"""What is said of a name that there is not."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends import suggestions
from qrbackends.suggestions import did_you_mean, instead, nearest, suggested

IBM = ("ibm_boston", "ibm_kingston", "ibm_berlin", "ibm_fez", "ibm_torino", "fake_nighthawk")
MADE_UP = ("synthetic_falcon_27", "synthetic_eagle_127", "synthetic_heron_133", "synthetic_heron_156")
REGIONS = ("us-east", "eu-de")
FIGURES = ("t1", "t2", "readout_error", "two_qubit_error")


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("ibm_bostn", IBM, ("ibm_boston",)),
        ("ibm_bston", IBM, ("ibm_boston",)),
        ("boston", IBM, ("ibm_boston",)),
        ("IBM_BOSTON", IBM, ("ibm_boston",)),
        ("ibm boston", IBM, ("ibm_boston",)),
        ("ibmboston", IBM, ("ibm_boston",)),
        ("ibm_q_boston", IBM, ("ibm_boston",)),
        ("fake_boston", IBM, ("ibm_boston",)),
        ("nighthawk", IBM, ("fake_nighthawk",)),
        ("synthetic_falcon", MADE_UP, ("synthetic_falcon_27",)),
        ("synthetic_falcon_28", MADE_UP, ("synthetic_falcon_27",)),
        ("heron", MADE_UP, ("synthetic_heron_133", "synthetic_heron_156")),
        ("127", MADE_UP, ("synthetic_eagle_127",)),
        ("us_east", REGIONS, ("us-east",)),
        ("us-eats", REGIONS, ("us-east",)),
        ("eu", REGIONS, ("eu-de",)),
        ("T1", FIGURES, ("t1",)),
        ("readout", FIGURES, ("readout_error",)),
        ("two-qubit", FIGURES, ("two_qubit_error",)),
        ("wait_time", ("wait_time_seconds",), ("wait_time_seconds",)),
        ("CZ", ("cz", "rz", "sx"), ("cz",)),
        # what is only as alike as all names of a fleet are
        ("ibm_tokyo", IBM, ()),
        ("ibm_zzzz", IBM, ()),
        ("ibm", IBM, ()),
        ("synthetic", MADE_UP, ()),
        ("nowhere", IBM, ()),
        ("", IBM, ()),
        ("_", IBM, ()),
        ("ibm_boston", (), ()),
    ],
)
def test_the_nearest_names(name: str, known: tuple[str, ...], near: tuple[str, ...]) -> None:
    assert nearest(name, known) == near


def test_several_are_told_in_one_question() -> None:
    assert did_you_mean("ibm_bostn", IBM) == "did you mean ibm_boston?"
    assert did_you_mean("heron", MADE_UP) == "did you mean synthetic_heron_133 or synthetic_heron_156?"
    assert did_you_mean("ibm_tokyo", IBM) == ""
    assert suggested("no such", "eu", REGIONS) == "no such; did you mean eu-de?"
    assert suggested("no such", "zz", REGIONS) == "no such"


def test_where_nothing_is_near_the_names_are_told() -> None:
    assert instead("zz", REGIONS) == "there are us-east, eu-de"
    assert instead("zz", REGIONS, "it has") == "it has us-east, eu-de"
    assert instead("eu", iter(REGIONS)) == "did you mean eu-de?"
    assert instead("zz", ()) == "there are none"
    many = [f"device_{number}" for number in range(1, 1001)]
    assert instead("zz", many).endswith("device_20 and 980 more")


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\u202eb", "a\nb", "a" * 65])
def test_a_name_that_is_no_name_is_neither_asked_for_nor_told(name: str) -> None:
    assert nearest(name, ["a", "ab", name]) == ()
    assert nearest("a", [name]) == ()
    assert name not in instead("zz", [name, "a"])


def test_the_work_is_bounded_whatever_the_names_are(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    ratio = suggestions._ratio

    def noting(one: str, other: str) -> float:
        compared.append((one, other))
        return ratio(one, other)

    monkeypatch.setattr(suggestions, "_ratio", noting)
    names = (f"ibm_{'ab' * (number % 25)}{number}" for number in count())  # without an end
    assert nearest("ibm_ababab77", names)
    assert next(names) == "ibm_10000"
    assert len(compared) <= 64
    assert max(len(text) for pair in compared for text in pair) <= 64
    assert nearest("a" * 10**6, names) == ()


@given(st.text(), st.lists(st.text()))
def test_any_texts_are_taken(name: str, known: list[str]) -> None:
    near = nearest(name, known)
    assert len(near) <= 3
    assert set(near) <= set(known)
    if name in known and near:
        assert name in near or len(near) == 3
    assert instead(name, known).isprintable()
