"""Tables and JSON come from one list of columns."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pytest
from rich.console import Console

from apps.cli.season import split_engines
from apps.cli.tables import Column, change, gain, money, prose, share, show_rows, tables_of, whole

COLUMNS = (
    Column("engine", is_key=True),
    Column("net_pnl_usd", gain),
    Column("return_frac", change),
    Column("lots"),
    Column("note", prose),
    Column("seldom", part=2),
    Column("hidden_usd", money, 0),
)
ROW = {
    "engine": "ema_trend",
    "net_pnl_usd": -8.0,
    "return_frac": 0.0321,
    "lots": Decimal("0.00010"),
    "note": "a long remark that may be broken into several lines where there is no room",
    "hidden_usd": 1.5,
}


def drawn(width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    for table in tables_of([ROW], COLUMNS, width=width, title="t"):
        console.print(table)
    return out.getvalue().splitlines()


def test_json_has_the_columns_names_with_units_and_exact_decimals(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_rows([ROW], COLUMNS, as_json=True, title="t", empty="none")

    out = capsys.readouterr().out
    (row,) = json.loads(out, parse_float=str)
    assert list(row) == [column.name for column in COLUMNS]
    assert row["lots"] == "0.00010"
    assert row["seldom"] is None


def test_no_rows_are_an_empty_list_in_json_and_a_remark_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_rows([], COLUMNS, as_json=True, title="t", empty="none yet")
    assert json.loads(capsys.readouterr().out) == []

    show_rows([], COLUMNS, as_json=False, title="t", empty="none yet")
    assert capsys.readouterr() == ("", "none yet\n")


def test_headings_leave_the_unit_to_the_cells() -> None:
    lines = "\n".join(drawn(120))

    assert "pnl" in lines
    assert "usd" not in lines
    assert "−8.00" in lines
    assert "+3.21%" in lines
    assert "hidden" not in lines
    assert "seldom" not in lines  # optional, and nothing in it


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_each_part_names_its_row(width: int) -> None:
    lines = drawn(width)

    assert max(len(line) for line in lines) <= width
    parts = sum("engine" in line for line in lines)
    assert sum("ema_trend" in line for line in lines) == parts
    assert "".join(lines).count("net pnl") + "".join(lines).count("pnl") >= 1


@pytest.mark.parametrize(
    ("show", "value", "shown"),
    [
        (money, 1234.5, "1,234.50"),
        (gain, 1234.5, "+1,234.50"),
        (gain, -0.004, "−0.00"),
        (share, 0.125, "12.5%"),
        (change, -0.0999, "−9.99%"),
        (whole, 1_500_000, "1,500,000"),
    ],
)
def test_numbers_are_written_for_people(show: object, value: float, shown: str) -> None:
    assert callable(show)
    assert show(value) == shown


def test_control_characters_never_reach_a_terminal() -> None:
    cell = Column("thesis").cell({"thesis": "buy\x1b[31m now\x07"})

    assert "\x1b" not in cell
    assert "\x07" not in cell


@pytest.mark.parametrize(
    ("typed", "engines"),
    [
        (["ema_trend,flat"], ("ema_trend", "flat")),
        (["ema_trend", "flat"], ("ema_trend", "flat")),
        (
            ["donchian_breakout@1d:entry=55,exit=20,flat"],
            ("donchian_breakout@1d:entry=55,exit=20", "flat"),
        ),
        (["a:x=1,y=2,b:x=3"], ("a:x=1,y=2", "b:x=3")),
        ([" a , ,b"], ("a", "b")),
        ([","], ()),
    ],
)
def test_a_comma_parts_engines_unless_a_parameter_follows(
    typed: list[str], engines: tuple[str, ...]
) -> None:
    assert split_engines(typed) == engines
