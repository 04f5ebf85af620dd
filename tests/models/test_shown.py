"""How documents show themselves: a short `repr`, and small tables in notebooks, whatever is in them."""

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from qrbackends import (
    Backend,
    BackendConfiguration,
    BackendDefaults,
    BackendList,
    BackendProperties,
    BackendStatus,
    CalibrationList,
    Client,
    ConnectError,
    Fetched,
    FileStore,
    FleetView,
    Gap,
    InstanceFailure,
    MonitoredBackend,
    SnapshotItem,
    summary,
)
from qrbackends.analysis.comparison import Stabilities, Stability, compare
from qrbackends.emulator import Emulator
from qrbackends.models import BackendsResponse, DeviceStatus, JSONObject
from qrbackends.models.notebook import html_table

from ..snapshots import BOTH, CONFIGURATIONS, PROPERTIES, real

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "</td></tr></table><h1>",
    "<!-- ",
    "]]>&lt;b&gt;&#60;",
    "' onmouseover='alert(1)",
    "\u202eibm\u2066_\x1b[31m\x00\n",
]
HOSTILE = st.sampled_from(MARKUP) | st.text(max_size=40) | st.text(min_size=200, max_size=2000)
KEPT = ("date", "last_update_date", "online_date", "unit", "type")  # what makes a document readable


class Page(HTMLParser):
    """The tags and the text of a table; attributes, comments and the like are mistakes."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert not attrs or (tag == "table" and attrs == [("style", "white-space: nowrap")])
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


def texts(shown: Any, *, emulated: bool = False) -> list[str]:
    """Return the texts of a value's table, which is small and holds its own tags only."""
    page = shown._repr_html_()
    assert len(page) < 30_000
    found = Page(page)
    assert found.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "strong"}
    assert page.count("<strong>") == page.count("Emulated data</strong>") == emulated
    assert all(one.isprintable() for one in found.text), "nothing turns or hides the text around it"
    return found.text


def poisoned(value: Any, text: str) -> Any:
    """Return JSON with a text in place of all its texts."""
    if isinstance(value, dict):
        return {key: inner if key in KEPT else poisoned(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, text) for inner in value]
    return text if isinstance(value, str) else value


# --- repr


@pytest.mark.parametrize("name", BOTH)
def test_a_real_document_is_a_short_line(name: str) -> None:
    configuration, properties = real(name)
    found = summary(configuration, properties)
    gate, qubit, gates = properties.gates[0], properties.qubits[0], configuration.gates
    for one in (configuration, properties, found, gate, *qubit, *gates, compare(properties, properties)):
        assert len(repr(one)) <= 300
        assert "\n" not in repr(one)
    assert repr(properties).startswith(f"BackendProperties(backend_name={properties.backend_name!r}, ")
    assert f"qubits=<{len(properties.qubits)} item" in repr(properties)
    around = (Fetched(properties, 1.0, "memory"), SnapshotItem(backend("a"), "properties", properties))
    for one in around:
        assert len(repr(one)) <= 300
        assert f"value=BackendProperties(backend_name={properties.backend_name!r}" in repr(one)


def backend(name: str, **known: Any) -> Backend:
    return Backend(name, DeviceStatus("online", "available"), 3, **known)


def test_what_is_the_default_is_left_out() -> None:
    assert repr(DeviceStatus("online")) == "DeviceStatus(name='online')"
    entry = backend("a", qubits=5)
    status = "DeviceStatus(name='online', reason='available')"
    assert repr(entry) == f"Backend(name='a', status={status}, queue_length=3, qubits=5)"
    assert repr(JSONObject({"a": [1], "b": [0] * 5, "c": {}})) == (
        "JSONObject({'a': (1,), 'b': <5 items>, 'c': JSONObject({})})"
    )


@given(HOSTILE)
def test_no_text_makes_a_long_or_broken_line(text: str) -> None:
    entry = backend(text, region=text, instance=text)
    status = BackendStatus(1, True, text, text, text)
    defaults = BackendDefaults({text: text, "b": {text: text}, "c": [text]})
    gap = Gap(NOW, NOW, ConnectError(text))
    several = [entry, replace(entry, name="b")]
    shown = [entry, status, defaults, gap, BackendList(several, [ConnectError(text)])]
    shown += [BackendsResponse(tuple(several)), summary(listed=entry), CalibrationList([gap])]
    for one in shown:
        assert len(repr(one)) <= 300
        assert repr(one).isprintable()


@given(HOSTILE)
def test_no_text_in_a_whole_document_does(text: str) -> None:
    for one in documents(text):
        assert len(repr(one)) <= 300
        assert repr(one).isprintable()


def documents(text: str) -> tuple[BackendConfiguration, BackendProperties]:
    """Return real documents in which every text is this one."""
    found = [json.loads(path.read_bytes()) for path in (CONFIGURATIONS["lima"], PROPERTIES["lima"])]
    configuration, properties = (json.dumps(poisoned(one, text)) for one in found)
    return (
        msgspec.json.decode(configuration, type=BackendConfiguration),
        msgspec.json.decode(properties, type=BackendProperties),
    )


def test_rich_shows_no_more() -> None:
    properties = real("lima")[1]
    console = rich.console.Console(file=StringIO(), width=400)
    console.print(properties)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == f"{properties!r}\n"


def test_what_cannot_be_read_has_a_repr_and_no_table() -> None:
    deep = msgspec.Raw(b'{"a":' * 1000 + b"1" + b"}" * 1000)
    damaged = BackendDefaults.of(deep)
    assert repr(damaged).startswith("<BackendDefaults: ")
    assert damaged._repr_html_() is None
    properties = real("lima")[1]
    odd = replace(properties, qubits=((replace(properties.qubits[0][0], unit="parsec"),),))
    assert odd._repr_html_() is None
    assert CalibrationList([odd])._repr_html_() is None
    assert len(repr(odd)) <= 300


# --- tables


def test_the_table_of_a_calibration() -> None:
    properties = real("boston")[1]
    cells = texts(properties)
    assert cells[0] == "ibm_boston"
    told = dict(zip(cells[1::2], cells[2::2], strict=True))
    assert told["qubits"] == "156"
    assert told["calibrated"] == f"{properties.last_update_date.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    assert told["median T1"] == f"{1e6 * (properties.median_t1() or 0):.1f} µs"
    assert told["median cz error"] == "1.27e-3"
    assert told["faulty"] == "1 coupling"


def test_the_table_of_a_list() -> None:
    fleet = BackendList([backend("a", qubits=1024, region="us-east"), backend("b")], [ConnectError("no")])
    assert texts(fleet)[0] == "2 backends, 1 error"
    assert texts(fleet)[-9:] == ["b", "–", "online", "3", "–", "–", "–", "–", "–"]
    assert "1,024" in texts(fleet)
    assert texts(BackendsResponse(tuple(fleet)))[0] == "2 backends"
    view = FleetView(tuple(map(MonitoredBackend, fleet)), (InstanceFailure(None, NOW, fleet.errors[0]),))
    assert texts(view) == texts(fleet)
    many = BackendList(backend(f"b{number}") for number in range(5_000))
    assert texts(many)[-1] == "… and 4,900 more"


def test_the_table_of_a_history() -> None:
    calibration = real("lima")[1]
    gap = Gap(NOW, NOW + timedelta(hours=1), ConnectError("refused"))
    found = CalibrationList([calibration, gap])
    assert found == (calibration, gap)
    assert repr(found) == "<CalibrationList: 1 calibration of ibmq_lima, 1 gap>"
    cells = texts(found)
    assert "not known until 2026-05-01 13:00: refused" in cells
    assert f"{1e6 * (calibration.median_t1() or 0):.1f}" in cells


def test_the_table_of_a_comparison() -> None:
    before = real("lima")[1]
    nduv = before.qubits[0][0]
    assert nduv.name == "T1"
    worse = (replace(nduv, value=nduv.value / 2), *before.qubits[0][1:])
    after = replace(before, qubits=(worse, *before.qubits[1:]))
    cells = texts(compare(before, after))
    assert cells[0].endswith(": 1 difference")
    before_us, after_us = (f"{1e6 * one.si:.1f}" for one in (nduv, worse[0]))
    assert cells[-6:] == ["qubit 0", "T1 (µs)", before_us, after_us, "-50.0%", "worse"]
    assert texts(compare(before, before))[0].endswith(": no differences")


def test_the_table_of_stabilities() -> None:
    found = Stabilities([Stability(3, "T1", 7, 100e-6, 0.25, 50e-6, 150e-6)])
    found.backend = "ibm_x"
    assert repr(found) == "<Stabilities of ibm_x: 1>"
    assert texts(found)[-7:] == ["3", "T1 (µs)", "100.0", "50.0", "150.0", "25.0%", "7"]


@given(HOSTILE)
def test_no_text_is_markup(text: str) -> None:
    entry = backend(text, region=text, instance=text)
    error = ConnectError(text)
    stable = Stabilities()
    stable.backend = text
    shown: list[Any] = [entry, BackendList([entry], [error]), BackendStatus(1, True, text, text, text)]
    shown += [BackendDefaults({text: text}), CalibrationList([Gap(NOW, NOW, error)]), stable]
    shown += [*documents(text), summary(*documents(text), listed=entry)]
    for one in shown:
        texts(one)
    properties = documents(text)[1]
    texts(CalibrationList([properties]))
    texts(compare(properties, replace(properties, qubits=())))
    assert text[:90].isprintable() is False or text[:90] in "".join(Page(html_table(text, [])).text)


# --- the emulated mark


async def everything(client: Client) -> list[Any]:
    fleet = await client.backends()
    name = fleet[0].name
    documents = await client.configuration(name), await client.properties(name), await client.status(name)
    history = await client.history(name, NOW - timedelta(days=1), NOW, every=timedelta(hours=12)).collect()
    comparison = compare(history[0], history[-1])  # type: ignore[arg-type]  # there are no gaps
    return [fleet, fleet.unique(), fleet[0], *documents, summary(*documents), history, comparison]


@pytest.mark.anyio
async def test_what_an_emulator_sent_is_marked_as_that(emulator: Emulator, tmp_path: Path) -> None:
    async with FileStore(tmp_path / "kept.db") as store:
        for _ in range(2):  # the second client finds most of it in the store
            async with Client(emulator.account(), store=store) as client:
                found = await everything(client)
                for one in found:
                    texts(one, emulated=True)
                    assert one.emulated
    assert emulator.count("configuration") == 1
    plain = [json.loads(msgspec.json.encode(one)) for one in found[3:6]]
    assert "emulated" not in "".join(key for one in plain for key in one), "it is no field of the document"


@pytest.mark.anyio
async def test_defaults_are_marked_too(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        found = await client.defaults("synthetic_falcon_27", timeout=30)
        texts(found, emulated=True)


def test_what_was_not_emulated_is_not_marked() -> None:
    for one in (*real("lima"), summary(*real("lima")), BackendDefaults({}), BackendStatus(1)):
        assert not one.emulated
        texts(one)


# --- some backends of a list


def test_a_slice_and_a_ranking_show_themselves_as_the_list_does() -> None:
    fleet = BackendList(backend(f"ibm_{number}", region="us-east", emulated=True) for number in range(100))
    some = fleet[:3]
    assert isinstance(some, tuple)
    assert some == (fleet[0], fleet[1], fleet[2])
    assert repr(some) == "<3 backends: ibm_0, ibm_1, ibm_2>"
    assert texts(some, emulated=True)[0].startswith("3 backends · ")
    assert len(repr(fleet[:])) <= 300


def test_a_caption_and_its_mark_are_apart_and_no_region_wraps() -> None:
    entry = backend("ibm_boston", region="us-east", emulated=True)
    assert "<caption>ibm_boston · <strong>Emulated data</strong>" in (entry._repr_html_() or "")
    assert (BackendList([entry])._repr_html_() or "").startswith('<table style="white-space: nowrap">')
