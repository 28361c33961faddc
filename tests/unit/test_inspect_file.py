"""What `hydra data inspect` says of a file: faults are reported, never raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from hydra.errors import DataFault
from hydra.feeds.inspect import inspect_file
from hydra.market.catalogue import Catalogue

CATALOGUE = Catalogue.load()
HEADER = "symbol,time,open,high,low,close,volume\n"


def a_csv(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    path = folder / "bars.csv"
    path.write_text(header + "\n".join(rows) + "\n", "utf-8")
    return path


def test_the_facts_of_a_clean_file(tmp_path: Path) -> None:
    rows = [f"BTC-USD,2024-01-01T{h:02}:00:00Z,1.25,2,1,1.5,3" for h in range(24)]

    (facts,) = inspect_file(a_csv(tmp_path, rows), CATALOGUE)

    assert (facts.symbol, facts.rows, facts.resolution) == ("BTC-USD", 24, "1h")
    assert (facts.first, facts.last) == ("2024-01-01T00:00:00Z", "2024-01-01T23:00:00Z")
    assert (facts.gaps, facts.duplicates, facts.faults) == (0, 0, {})
    assert (facts.decimals, facts.has_volume, facts.real_spread) == (2, True, False)
    assert facts.known
    assert not facts.time_zone_assumed


def test_every_fault_is_counted_by_kind_with_examples(tmp_path: Path) -> None:
    rows = [f"BTC-USD,2024-01-01T{h:02}:00:00Z,1,2,1,1.5,3" for h in range(10)]
    rows += [
        rows[9],
        "BTC-USD,2024-01-01T03:30:00Z,1,2,1,1.5,3",
        "BTC-USD,2024-01-01T10:00:00Z,1,1,2,1.5,3",
        "BTC-USD,never,1,1,2,1.5,3",
        ",2024-01-01T10:00:00Z,1,1,2,1.5,3",
    ]

    facts, nameless = inspect_file(a_csv(tmp_path, rows), CATALOGUE)

    assert facts.rows == 14
    assert facts.duplicates == 1
    assert facts.faults == {
        "no time that can be read": 1,
        "high below low": 1,
        "duplicate: symbol and time of an earlier row": 1,
        "time going back": 1,
    }
    assert facts.examples[0].startswith("row 11, BTC-USD, 2024-01-01T09:00:00Z")
    assert (nameless.symbol, nameless.faults) == ("", {"no symbol": 1})


def test_gaps_while_the_market_is_open_are_told_from_weekends(tmp_path: Path) -> None:
    friday = [f"EURUSD,2024-02-09T{h:02}:00:00Z,1,1,1,1,0" for h in range(22) if h not in (3, 4, 9)]
    monday = [f"EURUSD,2024-02-12T{h:02}:00:00Z,1,1,1,1,0" for h in range(22)]
    sunday = [f"EURUSD,2024-02-11T{h:02}:00:00Z,1,1,1,1,0" for h in (22, 23)]

    (facts,) = inspect_file(a_csv(tmp_path, [*friday, *sunday, *monday]), CATALOGUE)

    assert (facts.gaps, facts.missing_bars, facts.closed_gaps) == (2, 3, 1)
    assert facts.largest_gap is not None
    assert (facts.largest_gap.last, facts.largest_gap.next) == (
        "2024-02-09T02:00:00Z",
        "2024-02-09T05:00:00Z",
    )
    assert not facts.has_volume


def test_bars_missing_from_an_open_session_count_even_across_a_night(tmp_path: Path) -> None:
    rows = [f"SPY,2024-02-06T{h}:30:00Z,1,1,1,1,1" for h in (14, 15, 16, 17, 18)]
    rows += [f"SPY,2024-02-07T{h}:30:00Z,1,1,1,1,1" for h in (14, 15)]

    (facts,) = inspect_file(a_csv(tmp_path, rows), CATALOGUE)

    assert (facts.gaps, facts.missing_bars) == (1, 1)  # 19:30; the last half hour is no bar


def test_times_without_a_zone_are_said_to_be_assumed(tmp_path: Path) -> None:
    path = a_csv(tmp_path, [f"FOO,2024-01-01 0{h}:00,1,1,1,1,1" for h in range(3)])

    (assumed,) = inspect_file(path, CATALOGUE)
    (told,) = inspect_file(path, CATALOGUE, tz="Europe/Prague")

    assert (assumed.time_zone, assumed.time_zone_assumed) == ("UTC (assumed)", True)
    assert (told.time_zone, told.time_zone_assumed) == ("Europe/Prague", False)
    assert told.first == "2023-12-31T23:00:00Z"
    assert not told.known


def test_a_file_of_nothing_but_faults_is_still_described(tmp_path: Path) -> None:
    (facts,) = inspect_file(a_csv(tmp_path, ["BTC-USD,x,1,1,1,1,1", "BTC-USD,y,1"]), CATALOGUE)

    assert facts.faults == {"no time that can be read": 2}
    assert (facts.first, facts.resolution, facts.decimals) == (None, None, None)


def test_what_is_no_price_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFault, match="no column for"):
        inspect_file(a_csv(tmp_path, ["1,2"], "a,b\n"), CATALOGUE)
