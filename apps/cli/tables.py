"""Rows for people and for programs: one list of columns makes the table and the JSON.

A column's name carries its unit (`net_pnl_usd`, `return_frac`); the JSON has it as it is. In
the table the heading is the name without the unit, which stands in the cells.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from apps.cli.failures import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NOTHING = "–"
PIPE_WIDTH = 220  # columns of a table that goes to a file or another program
_UNITS = ("_usd", "_frac", "_percentile", "_percent")  # said by the cells of a column
_ROOMY = 100  # columns of a terminal from which tables are set wider
_PROSE_WIDTH = 30

Row = Mapping[str, object]


def money(value: object) -> str:
    """1,234.50"""
    return f"{_number(value):,.2f}"


def gain(value: object) -> str:
    """+1,234.50, −8.00"""
    return _signed(f"{_number(value):+,.2f}")


def share(value: object) -> str:
    """A fraction as 12.5%"""
    return f"{100 * _number(value):.1f}%"


def change(value: object) -> str:
    """A fraction as +3.21%"""
    return _signed(f"{100 * _number(value):+.2f}%")


def percent(value: object) -> str:
    """Percent, signed: +3.21%"""
    return _signed(f"{_number(value):+.2f}%")


def ratio(value: object) -> str:
    """1.23"""
    return _signed(f"{_number(value):.2f}")


def whole(value: object) -> str:
    """1,234"""
    return f"{_number(value):,.0f}"


def text(value: object) -> str:
    """As it is; true is yes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def minute(value: object) -> str:
    """2024-01-31T08:00:00Z as 2024-01-31 08:00"""
    return str(value)[:16].replace("T", " ")


def second(value: object) -> str:
    """2024-01-31T08:00:00.5Z as 2024-01-31 08:00:00"""
    return str(value)[:19].replace("T", " ")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float | Decimal) else float("nan")


def _signed(shown: str) -> str:
    return shown.replace("-", "−")


def prose(value: object) -> str:
    """Text that may be broken into lines."""
    return text(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `part` 0 leaves it to the JSON; 2 shows it only where there is room and
    something in it. Keys name the row, and stand in each table that it is broken into."""

    name: str
    show: Callable[[object], str] = text
    part: int = 1
    is_key: bool = False

    @property
    def heading(self) -> str:
        unit = next((unit for unit in _UNITS if self.name.endswith(unit)), "")
        return self.name.removesuffix(unit).replace("_", " ")

    @property
    def is_text(self) -> bool:
        return self.show in (text, minute, second, prose)

    def cell(self, row: Row) -> str:
        value = row.get(self.name)
        return NOTHING if value is None or value == "" else plain(self.show(value))


def show_rows(
    rows: Sequence[Row], columns: Sequence[Column], *, as_json: bool, title: str, empty: str
) -> None:
    """Print the rows on standard output; `empty` says why there are none, as a remark."""
    if as_json:
        print_json([{column.name: row.get(column.name) for column in columns} for row in rows])
    elif not rows:
        print(empty, file=sys.stderr)
    else:
        console = make_console()
        print_tables(console, rows, columns, title)


def show_parts(rows: Sequence[Row], columns: Sequence[Column], title: str) -> None:
    """Print a further table, a line below what came before; nothing where it has no rows."""
    if rows:
        console = make_console()
        console.print()
        print_tables(console, rows, columns, title)


def print_tables(
    console: Console, rows: Sequence[Row], columns: Sequence[Column], title: str
) -> None:
    """Print as many tables as the console's width asks for, a line between them."""
    for i, table in enumerate(tables_of(rows, columns, width=console.width, title=title)):
        if i:
            console.print()
        console.print(table)


def print_json(objects: Sequence[Mapping[str, object]]) -> None:
    """A list of objects, exact decimals as numbers; nothing else reaches standard output."""
    import msgspec

    encoded = msgspec.json.Encoder(decimal_format="number").encode(objects)
    print(msgspec.json.format(encoded, indent=2).decode())


def make_console() -> Console:
    """Standard output, as wide as the terminal, or wide enough for a pipe."""
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=PIPE_WIDTH if piped else None)


def tables_of(
    rows: Sequence[Row], columns: Sequence[Column], *, width: int, title: str
) -> list[Table]:
    """One table where all columns fit into `width`, else several, each with the keys."""
    gap = 2 if width >= _ROOMY else 1
    shown = [
        column
        for column in columns
        if column.part == 1
        or (column.part == 2 and any(row.get(column.name) not in (None, "") for row in rows))
    ]
    keys = [column for column in shown if column.is_key]
    groups: list[list[Column]] = [[]]
    left = width
    for column in shown:
        need = _need(rows, column) + gap
        if need - gap > left and groups[-1]:
            if column.part == 2:
                continue
            groups.append(list(keys))
            left = width - sum(_need(rows, key) + gap for key in keys)
        groups[-1].append(column)
        left -= need
    return [_table(rows, group, title if not i else "", gap) for i, group in enumerate(groups)]


def _need(rows: Sequence[Row], column: Column) -> int:
    """The least characters that a column takes."""
    cells = max(len(column.cell(row)) for row in rows)
    if _wraps(rows, column):
        cells = min(cells, _PROSE_WIDTH)
    return max(cells, *(len(word) for word in column.heading.split()))


def _wraps(rows: Sequence[Row], column: Column) -> bool:
    if column.show is prose:
        return True
    return column.show is text and column.name == "engine" and _longest(rows, column) > _PROSE_WIDTH


def _longest(rows: Sequence[Row], column: Column) -> int:
    return max(len(column.cell(row)) for row in rows)


def _table(rows: Sequence[Row], columns: Sequence[Column], title: str, gap: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=plain(title) or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),
        header_style="dim",
    )
    for column in columns:
        wraps = _wraps(rows, column)
        heading = column.heading
        if len(heading) > _need(rows, column):
            heading = "\n".join(heading.split())
        table.add_column(
            heading,
            justify="left" if column.is_text else "right",
            vertical="bottom" if not any(_wraps(rows, one) for one in columns) else "top",
            overflow="fold",
            no_wrap=not wraps,
            min_width=None if wraps else _need(rows, column),
        )
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in (c.cell(row) for c in columns)))
    return table


def _style(cell: str) -> str:
    if cell == NOTHING:
        return "dim"
    if cell[:1] == "+" and cell.strip("+0.,%"):
        return "green"
    return "red" if cell[:1] == "−" and cell[1:2].isdigit() else ""
