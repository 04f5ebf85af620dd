"""The columns of tables: names, order, cells in CSV, and what stays on narrow screens."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from qrbackends.cli.calibration import FIGURES, GATES, QUBITS
from qrbackends.cli.columns import (
    CHOSEN_BY,
    Column,
    as_text,
    columns_called,
    csv_text,
    in_order,
    number,
    titles,
)
from qrbackends.cli.drift import _DIFFERENCES
from qrbackends.cli.entries import ENTRIES
from qrbackends.cli.history import _HISTORY
from qrbackends.cli.instances import _COLUMNS as INSTANCES
from qrbackends.cli.rows import FLEET
from qrbackends.cli.screen import table_of
from qrbackends.cli.stability import _STABILITY
from qrbackends.cli.text import echo_csv
from qrbackends.cli.watched import WATCHED

TABLES: list[Sequence[Column[Any]]] = [
    *(ENTRIES, FLEET, WATCHED, QUBITS, GATES, FIGURES),
    *(_HISTORY, _DIFFERENCES, _STABILITY, INSTANCES),
]


@pytest.mark.parametrize("columns", TABLES)
def test_each_column_has_a_name_of_its_own_and_the_first_one_stays(columns: Sequence[Column[Any]]) -> None:
    assert len({one.name for one in columns}) == len(columns)
    assert all(columns_called(columns, one.name) == [one] for one in columns)
    assert 0 in {one.rank for one in columns}


def test_a_column_of_one_name_has_one_title_everywhere() -> None:
    titles: dict[str, set[str]] = {}
    for columns in (ENTRIES, FLEET, WATCHED, _HISTORY):
        for one in columns:
            titles.setdefault(one.name, set()).add(one.header)
    assert {name: seen for name, seen in titles.items() if len(seen) > 1} == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("name", "name"),
        ("backend", "name"),
        ("Queue", "queue_length"),
        ("queue-length", "queue_length"),
        ("2q err", "two_qubit_error_median"),
        ("2q_err", "two_qubit_error_median"),
        ("two-qubit-error", "two_qubit_error_median"),
        ("two-qubit", "two_qubit_error_median two_qubit_gate two_qubit_error_layered"),
        ("cali", "calibration_age_s calibrated_at"),
        ("bad", "faulty_qubits broken_couplings"),
        ("two_qubit_gate", "two_qubit_gate"),
        ("t1", "t1_median_s"),
        (" T1 µs ", "t1_median_s"),
        ("age", "calibration_age_s"),
        ("bad couplings", "broken_couplings"),
        ("t3", ""),
        ("", ""),
    ],
)
def test_a_column_is_found_by_name_title_or_beginning(text: str, name: str) -> None:
    assert " ".join(one.name for one in columns_called(FLEET, text)) == name


def test_columns_of_one_title_are_told_apart_by_their_names() -> None:
    assert titles(FIGURES)[2:6] == ["best", "best on", "worst", "worst on"]


SELF: Column[Any] = Column("self", "self", lambda row: row)


@pytest.mark.parametrize(
    ("rows", "ordered"),
    [
        ([3, 1, None, 2], [1, 2, 3, None]),
        ([0.5, nan, 10**400, -inf], [-inf, 0.5, 10**400, nan]),
        (["b", "A", "", "c"], ["A", "b", "c", ""]),
        ([(1, 2), (), (3,)], [(), (3,), (1, 2)]),
        ([("b",), ("a", "z")], [("a", "z"), ("b",)]),
        ([True, False], [False, True]),
        (["x", 2, "1"], [2, "1", "x"]),
        (
            [datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=5))), datetime(2026, 1, 1, tzinfo=UTC)],
            [datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=5))), datetime(2026, 1, 1, tzinfo=UTC)],
        ),
    ],
)
def test_rows_are_in_order_with_the_unknown_last(rows: list[Any], ordered: list[Any]) -> None:
    assert [*map(repr, in_order(rows, SELF))] == [*map(repr, ordered)]
    known = [one for one in ordered if one not in (None, "") and one == one]
    backwards = in_order(rows, SELF, reverse=True)
    assert [*map(repr, backwards[: len(known)])] == [*map(repr, reversed(known))]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (-1.5e-3, "-0.0015"),
        pytest.param(10**5000, ">1e15", id="huge"),
        (datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T00:00:00Z"),
        ((3, 17), "3 17"),
        (((0, 1), (84, 85)), "0-1 84-85"),
        (("a", "=b"), "a, =b"),
        (("=a", "b"), "'=a, b"),
        ("=HYPERLINK()", "'=HYPERLINK()"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=x", "'=x"),
        ("\r\n=x", "'=x"),
        (" =x", "'=x"),
        ("＝x", "'＝x"),
        ("a=b", "a=b"),
        ("\x00=x", "\N{REPLACEMENT CHARACTER}=x"),
    ],
)
def test_cells_of_csv(value: Any, cell: str) -> None:
    assert csv_text(value) == cell


@given(st.lists(st.text() | st.integers() | st.floats() | st.none(), min_size=1, max_size=5))
def test_csv_reads_back_and_holds_no_formula(values: list[Any]) -> None:
    cells = [csv_text(value) for value in values]
    written = io.StringIO()

    def keep(line: bytes) -> None:
        written.write(line.decode() + "\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("click.echo", keep)
        echo_csv(cells)
    text = written.getvalue()
    assert [*csv.reader([text])] == [cells] or cells == [""]
    assert text.count("\n") == 1
    for value, cell in zip(values, cells, strict=True):
        assert not isinstance(value, str) or not cell.startswith(("=", "+", "-", "@"))
    for field in text.rstrip("\n").split(";"):  # as spreadsheets of some countries separate cells
        assert not field.startswith(("=", "@")) or any(";" in cell for cell in cells)


def test_a_screen_has_a_dash_for_the_unknown() -> None:
    assert [as_text(value) for value in (None, "", (), True, False, 3, "=x")] == [
        *("–", "–", "–", "yes", "no", "3", "=x")
    ]


def lines_of(columns: Sequence[Column[Any]], rows: Sequence[Any], width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table_of("Title", columns, rows, "", width))
    return captured.get().splitlines()


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20), st.booleans()), min_size=1, max_size=8),
    st.integers(31, 150),
)
def test_more_important_columns_stay_longer(kinds: list[tuple[int, int, bool]], width: int) -> None:
    columns: list[Column[None]] = [number("first", "first", lambda _: 1)]
    for place, (size, rank, _) in enumerate(kinds):
        text = f"c{place}".ljust(size, "x")
        columns.append(Column(text, text, lambda _: 1, rank=rank))
    lines = lines_of(columns, [None], width)
    assert max(map(len, lines)) <= width
    shown = {one.name for one in columns if one.header in lines[1].split()}
    assert "first" in shown
    chosen = sorted((one for one in columns if one.rank <= CHOSEN_BY), key=lambda one: one.rank)
    seen = [one.name in shown for one in chosen]
    assert not any(later and not earlier for earlier, later in pairwise(seen)), (
        "none takes a better one's place"
    )
    hidden = " ".join(lines[4:]).replace("\n", " ")
    assert all(
        (one.name in shown) != (one.name in hidden.replace(",", " ").replace(".", " ").split())
        for one in columns
    )


CRN = f"crn:v1:bluemix:public:quantum-computing:us-east:a/{'0123456789abcdef' * 2}:{'1' * 36}::"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 140, 200])
def test_what_is_copied_is_whole_on_every_screen(width: int) -> None:
    columns: list[Column[Any]] = [
        Column("name", "name", lambda _: "a name"),
        Column("crn", "CRN", lambda _: CRN, whole=True),
        Column("tags", "tags", lambda _: "some tags", rank=11),
    ]
    lines = lines_of(columns, [None, None], width)
    assert max(map(len, lines)) <= width
    assert "".join("".join(lines).split()).count(CRN) == 2
    assert "CRN" in lines[1] if width >= 140 else lines[2] == "CRN"
    alone = lines_of(columns[1:2], [None], width)
    assert alone[1] == "CRN"
    assert "".join(alone[3:]) == CRN
    if 60 <= width < 130:
        assert sum(line.endswith(":") for line in lines) >= 2, "lines end after a part"
