"""The choice of what an emulator serves."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from qrbackends.emulator import Emulator, SnapshotFleet, SyntheticFleet
from qrbackends.emulator.devices.sources import load_fleet

from .asking import NOW, Asker
from .test_snapshots import CONF, PROPS, write

SMALL = SyntheticFleet({"alpha": 5, "beta": 5})
OTHER = SyntheticFleet({"beta": 7, "gamma": 7})


def test_one_source_is_itself() -> None:
    assert load_fleet(SMALL) is SMALL
    assert load_fleet([SMALL]) is SMALL


def test_several_sources_are_one_fleet_and_of_equal_names_the_first_counts(tmp_path: Path) -> None:
    write(tmp_path, "conf_x.json", CONF)
    write(tmp_path, "props_x.json", PROPS)
    fleet = load_fleet([SMALL, tmp_path, OTHER])
    assert fleet.names == ("alpha", "beta", "gamma", "ibmq_x")
    assert [fleet.device(name).qubits for name in fleet.names] == [5, 5, 7, 2]
    for name, source in (("beta", SMALL), ("gamma", OTHER), ("ibmq_x", SnapshotFleet(tmp_path))):
        key = fleet.find("properties", name, None, None, NOW)
        assert fleet.build(key) == source.build(source.find("properties", name, None, None, NOW))
    assert load_fleet([OTHER, SMALL]).device("beta").qubits == 7
    assert fleet.find("properties", "ibmq_x", "variant", None, NOW) is None


def test_equal_keys_of_two_sources_are_two_documents() -> None:
    one, other = SyntheticFleet({"a": 5}, seed=1), SyntheticFleet({"a": 5, "b": 5}, seed=2)
    fleet = load_fleet([one, other])
    key = fleet.find("properties", "a", None, None, NOW)
    assert fleet.build(key) == one.build(one.find("properties", "a", None, None, NOW))
    assert load_fleet([other, one]).find("properties", "a", None, None, NOW) != (1, key)


def test_a_choice_of_devices() -> None:
    assert load_fleet(SMALL, ["beta"]).names == ("beta",)
    assert load_fleet(SMALL, "beta").names == ("beta",)
    assert load_fleet([SMALL, OTHER], ("gamma", "alpha", "alpha")).names == ("alpha", "gamma")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["bta"], "no backend 'bta'; did you mean beta?"),
        (["alpha", "ibm_boston"], "no backend 'ibm_boston'; it has alpha, beta, gamma"),
        ([], "backends names none"),
    ],
)
def test_a_name_that_nobody_has_is_refused(wanted: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load_fleet([SMALL, OTHER], wanted)


def test_no_source_is_refused() -> None:
    with pytest.raises(ValueError, match="none is given"):
        load_fleet([])


def test_the_current_devices_are_those_calibrated_in_the_year_of_the_newest_one() -> None:
    wheel, current = SnapshotFleet(), load_fleet("snapshots:current")
    years: dict[str, int] = {}
    for name in wheel.names:
        document = msgspec.json.decode(wheel.build(wheel.find("properties", name, None, None, NOW)))
        years[name] = datetime.fromisoformat(document["last_update_date"]).astimezone(UTC).year
    newest = max(years.values())
    assert current.names == tuple(name for name in wheel.names if years[name] == newest)
    assert 0 < len(current.names) < 30
    assert {"ibm_boston", "ibm_miami"} <= set(current.names)
    assert "ibmq_lima" not in current.names


@pytest.mark.anyio
async def test_an_emulator_of_several_sources_serves_what_was_chosen() -> None:
    options = {"regions": ("us-east",), "backends": ("ibm_boston", "alpha")}
    async with Emulator(["snapshots:current", SMALL], **options) as emulator, Asker(emulator) as ask:  # type: ignore[arg-type]
        assert emulator.backends() == ("alpha", "ibm_boston")
        listed = (await ask.get("/backends")).json()["devices"]
        assert [one["name"] for one in listed] == ["alpha", "ibm_boston"]
        for name in emulator.backends():
            for resource in ("configuration", "properties", "status"):
                assert (await ask.get(f"/backends/{name}/{resource}")).status == 200
        assert (await ask.get("/backends/beta/status")).status == 404


@pytest.mark.anyio
async def test_an_emulator_tells_of_a_wrong_name_when_it_begins() -> None:
    with pytest.raises(ValueError, match="did you mean alpha"):
        async with Emulator(SMALL, backends=["alhpa"]):
            pass
