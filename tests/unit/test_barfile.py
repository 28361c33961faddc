"""Price files: what is read, what is refused, and in which words."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError, DataFault
from hydra.feeds.barfile import LoadedBars, Skipped, load_bars, sha256_of
from hydra.market.catalogue import Catalogue
from hydra.market.timeframes import timeframe_ns
from tests.support.bars import START_NS

CATALOGUE = Catalogue.load()
HEADER = "symbol,open_time,open,high,low,close,volume\n"
GOOD = [
    "BTC-USD,2024-01-01T00:00:00Z,100,110,90,105,1",
    "BTC-USD,2024-01-01T01:00:00Z,105,112,104,110,2",
    "BTC-USD,2024-01-01T02:00:00Z,110,111,100,101,3",
]
QUOTES = "time,bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close\n"


def a_csv(folder: Path, rows: list[str], header: str = HEADER, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_text(header + "\n".join(rows) + "\n", "utf-8")
    return path


def hourly(rows: int, symbol: str = "BTC-USD", start: int = 0, step_s: int = 3_600) -> list[str]:
    first = START_NS // NS_PER_S
    return [
        f"{symbol},{first + (start + i) * step_s},{100 + i},{101 + i},{99 + i},{100 + i},1"
        for i in range(rows)
    ]


def load(*paths: Path, tz: str | None = None, skip_bad_rows: bool = False) -> LoadedBars:
    return load_bars(paths, catalogue=CATALOGUE, tz=tz, skip_bad_rows=skip_bad_rows)


def test_a_csv_becomes_one_table_in_ticks(tmp_path: Path) -> None:
    path = a_csv(tmp_path, GOOD)

    loaded = load(path)
    (table,) = loaded.tables

    assert loaded.warnings == ()
    assert loaded.skipped == ()
    assert loaded.inputs == (("bars.csv", sha256_of(path)),)
    assert (table.symbol, table.resolution_ns, len(table)) == ("BTC-USD", timeframe_ns("1h"), 3)
    assert table.open_ns[0] == START_NS
    assert table.close.tolist() == [105.0, 110.0, 101.0]
    assert table.volume.tolist() == [1.0, 2.0, 3.0]
    assert not table.real_spread


def test_half_the_spread_lies_on_either_side_rounded_away_from_the_price(tmp_path: Path) -> None:
    (table,) = load(a_csv(tmp_path, GOOD)).tables  # BTC-USD: tick 0.01, spread 1 bps

    # Half of 1 bps of 105.00 is 0.00525, that is 0.525 ticks: one whole tick.
    assert table.bid_close.tolist() == [10_499, 10_999, 10_099]
    assert table.ask_close.tolist() == [10_501, 11_001, 10_101]


def test_real_quotes_are_used_as_they_are_in_both_spellings(tmp_path: Path) -> None:
    rows = ["2024-01-01T00:00Z,10,11,9,10,12,13,11,12", "2024-01-01T00:01Z,10,11,9,10,12,13,11,12"]
    other = "Timestamp,Open_Bid,High_Bid,Low_Bid,Close_Bid,Open_Ask,High_Ask,Low_Ask,Close_Ask\n"

    for name, header in (("SPY_a.csv", QUOTES), ("SPY_b.csv", other)):
        (table,) = load(a_csv(tmp_path, rows, header, name)).tables
        assert table.real_spread
        assert (table.bid_high[0], table.ask_low[0]) == (1_100, 1_100)
        assert table.close[0] == 11.0  # the middle
        assert np.isnan(table.volume).all()


@pytest.mark.parametrize(
    "header",
    [
        "Symbol,Timestamp,Open,High,Low,Close,Volume\n",
        "TICKER,Time,OPEN,HIGH,LOW,CLOSE,Vol\n",
        "symbol,Gmt time,open,high,low,close,tick_volume\n",
        "\ufeffsymbol,datetime,open,high,low,close,volume\n",
    ],
)
def test_columns_have_many_names(tmp_path: Path, header: str) -> None:
    (table,) = load(a_csv(tmp_path, GOOD, header)).tables

    assert table.volume.tolist() == [1.0, 2.0, 3.0]


def test_a_terminal_export_with_date_and_time_apart(tmp_path: Path) -> None:
    rows = [
        "2024.01.02\t00:00:00\t1.1\t1.2\t1.0\t1.1\t7\t0\t3",
        "2024.01.02\t00:01:00\t1.1\t1.2\t1.0\t1.1\t7\t0\t3",
    ]
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"

    (table,) = load(a_csv(tmp_path, rows, header, "EURUSD_M1_2024.csv"), tz="UTC+2").tables

    assert table.symbol == "EURUSD"
    assert table.resolution_ns == timeframe_ns("1m")
    assert table.open_ns[0] == START_NS + 22 * 3_600 * NS_PER_S


def test_gzip_windows_line_ends_blank_lines_and_semicolons_are_read(tmp_path: Path) -> None:
    text = HEADER + "\n".join([GOOD[0], "", GOOD[1], "", GOOD[2], "", ""])
    path = tmp_path / "bars.csv.gz"
    path.write_bytes(gzip.compress(text.replace(",", ";").replace("\n", "\r\n").encode()))

    (table,) = load(path).tables

    assert table.close.tolist() == [105.0, 110.0, 101.0]


def test_quoted_fields_are_read_and_a_stray_quotation_mark_hides_no_rows(tmp_path: Path) -> None:
    quoted = a_csv(tmp_path, [row.replace("BTC-USD", '"BTC-USD"') for row in GOOD])
    assert len(load(quoted).tables[0]) == 3

    stray = a_csv(
        tmp_path, [*hourly(3), hourly(4)[3].replace(",103,", ',"103,', 1), *hourly(9)[4:]]
    )
    with pytest.raises(DataFault, match="row 4, BTC-USD"):
        load(stray)
    assert len(load(stray, skip_bad_rows=True).tables[0]) == 8

    open_quote = a_csv(tmp_path, [GOOD[0].replace("BTC", '"BTC'), *GOOD[1:]])
    with pytest.raises(DataFault, match=r"bars\.csv"):
        load(open_quote)


@pytest.mark.parametrize("kind", [pl.Float64, pl.Float32, pl.String, pl.Decimal(12, 5)])
def test_parquet_of_any_number_type_gives_the_same_ticks(tmp_path: Path, kind: pl.DataType) -> None:
    frame = pl.DataFrame(
        {
            "symbol": ["EURUSD"] * 2,
            "time": [START_NS, START_NS + timeframe_ns("1m")],
            **{name: [1.05236, 1.05241] for name in ("open", "high", "low", "close")},
        }
    ).with_columns(pl.col("open", "high", "low", "close").cast(kind))
    path = tmp_path / "fx.parquet"
    frame.write_parquet(path)

    (table,) = load(path).tables

    assert ((table.bid_close + table.ask_close) // 2).tolist() == [105_236, 105_241]
    assert table.instrument.tick_size == Decimal("0.00001")


def test_a_naive_time_is_utc_with_a_warning_unless_tz_names_its_clock(tmp_path: Path) -> None:
    path = a_csv(tmp_path, [row.replace("Z", "") for row in GOOD])

    assumed, told = load(path), load(path, tz="Europe/Prague")

    assert "are taken as UTC; name another with --tz" in assumed.warnings[0]
    assert told.warnings == ()
    assert assumed.tables[0].open_ns[0] - told.tables[0].open_ns[0] == timeframe_ns("1h")


def test_tz_does_not_move_times_that_carry_their_zone(tmp_path: Path) -> None:
    loaded = load(a_csv(tmp_path, GOOD), tz="Europe/Prague")

    assert loaded.tables[0].open_ns[0] == START_NS
    assert "--tz Europe/Prague does not apply" in loaded.warnings[0]


def test_an_unknown_symbol_is_traded_by_default_values_with_a_warning(tmp_path: Path) -> None:
    loaded = load(a_csv(tmp_path, [row.replace("BTC-USD", "FOO-USD") for row in GOOD]))

    assert loaded.tables[0].instrument.is_default
    assert "FOO-USD is not in the instrument catalogue" in loaded.warnings[0]
    assert "--instruments" in loaded.warnings[0]


def test_prices_finer_than_the_tick_refine_it_for_all_tables_of_the_symbol(tmp_path: Path) -> None:
    coarse = a_csv(tmp_path, hourly(3, step_s=14_400), name="coarse.csv")
    fine = a_csv(tmp_path, [row.replace("105,", "105.001,") for row in GOOD], name="fine.csv")

    loaded = load(coarse, fine)

    assert {table.instrument.tick_size for table in loaded.tables} == {Decimal("0.001")}
    assert loaded.tables[0].instrument == loaded.tables[1].instrument
    assert "finer than the catalogue's tick 0.01" in loaded.warnings[0]


def test_noise_far_below_the_price_is_rounded_and_said(tmp_path: Path) -> None:
    rows = [row.replace("105,", "105.00012345678,") for row in GOOD]

    loaded = load(a_csv(tmp_path, rows))

    assert loaded.tables[0].instrument.tick_size == Decimal("0.000001")
    assert "digits below the tick are rounded off" in loaded.warnings[0]


def test_several_symbols_and_resolutions_start_and_stop_on_their_own(tmp_path: Path) -> None:
    hours = a_csv(tmp_path, [*hourly(5, "ETH-USD", 3), *hourly(4, "BTC-USD")], name="1h.csv")
    minutes = a_csv(tmp_path, hourly(9, "BTC-USD", step_s=60), name="1m.csv")

    loaded = load(hours, minutes)

    assert [(t.symbol, t.resolution_ns, len(t)) for t in loaded.tables] == [
        ("BTC-USD", timeframe_ns("1m"), 9),
        ("BTC-USD", timeframe_ns("1h"), 4),
        ("ETH-USD", timeframe_ns("1h"), 5),
    ]


def test_the_resolution_is_the_usual_gap_whatever_is_missing(tmp_path: Path) -> None:
    rows = [row for i, row in enumerate(hourly(200)) if i % 5 and not 50 < i < 110]

    (table,) = load(a_csv(tmp_path, rows)).tables

    assert table.resolution_ns == timeframe_ns("1h")


def test_sparse_bars_keep_the_step_that_their_gaps_are_multiples_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    kept = rng.random(600) < 0.3
    rows = [row for row, keep in zip(hourly(600), kept, strict=True) if keep]

    (table,) = load(a_csv(tmp_path, rows)).tables

    assert table.resolution_ns == timeframe_ns("1h")


def test_a_bar_off_the_step_is_only_a_warning(tmp_path: Path) -> None:
    rows = hourly(10)
    rows[4] = rows[4].replace(",1704081600,", ",1704081660,")

    loaded = load(a_csv(tmp_path, rows))

    assert len(loaded.tables[0]) == 10
    assert "2 bars do not keep the step of 1h" in loaded.warnings[0]


def test_a_window_keeps_the_bars_that_lie_wholly_in_it(tmp_path: Path) -> None:
    hour = timeframe_ns("1h")
    path = a_csv(tmp_path, hourly(10))

    loaded = load_bars(
        [path], catalogue=CATALOGUE, start_ns=START_NS + 2 * hour, end_ns=START_NS + 5 * hour
    )

    assert loaded.tables[0].open_ns.tolist() == [START_NS + i * hour for i in (2, 3, 4)]
    with pytest.raises(ConfigError, match="no bar lies between 2024-01-02"):
        load_bars([path], catalogue=CATALOGUE, start_ns=START_NS + 24 * hour)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("BTC-USD,2024-01-01T03:00:00Z,NaN,110,90,105,1", "column open: NaN, empty or no number"),
        ("BTC-USD,2024-01-01T03:00:00Z,100,110,90,,1", "column close: NaN, empty or no number"),
        ("BTC-USD,2024-01-01T03:00:00Z,100,high,90,105,1", "column high: NaN, empty"),
        ("BTC-USD,2024-01-01T03:00:00Z,100", "column high: NaN, empty or no number"),
        ("BTC-USD,2024-01-01T03:00:00Z,100,inf,90,105,1", "column high: infinite"),
        ("BTC-USD,2024-01-01T03:00:00Z,100,110,-90,105,1", "low: price not above 0 (low -90)"),
        ("BTC-USD,2024-01-01T03:00:00Z,0,110,90,105,1", "column open: price not above 0 (open 0)"),
        ("BTC-USD,2024-01-01T03:00:00Z,100,90,110,105,1", "high below low (high 90, low 110)"),
        (
            "BTC-USD,2024-01-01T03:00:00Z,120,110,90,105,1",
            "column open: open or close outside low to high (open 120, low 90, high 110)",
        ),
        (
            "BTC-USD,2024-01-01T03:00:00Z,100,110,90,80,1",
            "column close: open or close outside low to high (close 80, low 90, high 110)",
        ),
        ("BTC-USD,2024-01-01T03:00:00Z,100,110,90,105,-1", "volume negative or infinite (-1)"),
        ("BTC-USD,2024-01-01T02:00:00Z,100,110,90,105,1", "duplicate: symbol and time of"),
        (
            "BTC-USD,2024-01-01T01:30:00Z,100,110,90,105,1",
            "time going back (an earlier row has 2024-01-01T02:00:00Z)",
        ),
        ("BTC-USD,yesterday,100,110,90,105,1", "column open_time: no time that can be read"),
        (",2024-01-01T03:00:00Z,100,110,90,105,1", "column symbol: no symbol"),
        ("BTC-USD,2024-01-01T03:00:00Z,100,110,90,105,1,9,9", "more fields than the first line"),
    ],
)  # fmt: skip
def test_a_faulty_row_is_refused_with_file_row_and_reason_or_skipped_and_counted(
    tmp_path: Path, row: str, reason: str
) -> None:
    path = a_csv(tmp_path, [*GOOD, row])

    with pytest.raises(DataFault) as refusal:
        load(path)
    loaded = load(path, skip_bad_rows=True)

    said = str(refusal.value)
    assert said.startswith("bars.csv: 1 faulty row (rows count from 1")
    assert "row 4" in said
    assert reason in said
    assert "--skip-bad-rows" in said
    assert len(loaded.tables[0]) == 3
    assert [(s.file, s.rows) for s in loaded.skipped] == [("bars.csv", 1)]


def test_ask_below_bid_is_a_fault(tmp_path: Path) -> None:
    rows = [f"2024-01-01T00:0{i}Z,10,11,9,10,12,13,11,12" for i in range(3)]
    rows.append("2024-01-01T00:03Z,10,11,9,10,12,13,9,9.5")
    path = a_csv(tmp_path, rows, QUOTES, "SPY.csv")

    with pytest.raises(
        DataFault, match=r"ask_close: ask below bid \(ask_close 9.5, bid_close 10\)"
    ):
        load(path)
    assert load(path, skip_bad_rows=True).skipped == (
        Skipped(file="SPY.csv", reason="ask below bid", rows=1),
    )


def test_five_faults_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    rows = hourly(30)
    for i in range(7):
        rows[3 * i] = rows[3 * i].replace(",1", ",-1", 2).replace(",-1", ",1", 1)

    with pytest.raises(DataFault) as refusal:
        load(a_csv(tmp_path, rows))

    assert "7 faulty rows" in str(refusal.value)
    assert str(refusal.value).count("\n  row ") == 5
    assert "… and 2 more" in str(refusal.value)


def test_one_row_far_in_the_future_is_itself_at_fault(tmp_path: Path) -> None:
    rows = hourly(20)
    rows[5] = rows[5].replace("BTC-USD,1704", "BTC-USD,1904")

    loaded = load(a_csv(tmp_path, rows), skip_bad_rows=True)

    assert len(loaded.tables[0]) == 19
    assert loaded.skipped[0].reason == "time ahead of the rows after it"


def test_a_file_from_new_to_old_is_refused_even_when_skipping(tmp_path: Path) -> None:
    path = a_csv(tmp_path, hourly(50)[::-1])

    for skip in (False, True):
        with pytest.raises(DataFault, match=r"do not run from old to new .*sort the file by time"):
            load(path, skip_bad_rows=skip)


@pytest.mark.parametrize("arrangement", ["one after the other", "by time", "later coarser"])
def test_two_resolutions_of_a_symbol_in_one_file_are_refused(
    tmp_path: Path, arrangement: str
) -> None:
    fine, coarse = hourly(200), hourly(50, step_s=14_400)
    coarse = [row.replace(",101,", ",105,") for row in coarse]
    rows = [*fine, *coarse]
    if arrangement == "by time":
        rows.sort(key=lambda row: int(row.split(",")[1]))
    if arrangement == "later coarser":
        rows = [*fine, *hourly(50, start=60, step_s=14_400)]

    with pytest.raises(DataFault, match=r"bars of 1h and, from row \d+, of 4h in one file"):
        load(a_csv(tmp_path, rows), skip_bad_rows=True)


def test_a_block_written_twice_is_duplicates_not_a_second_resolution(tmp_path: Path) -> None:
    rows = hourly(100)

    loaded = load(a_csv(tmp_path, [*rows, *rows[::4]]), skip_bad_rows=True)

    assert len(loaded.tables[0]) == 100
    assert loaded.skipped[0].rows == 25


def test_files_of_one_symbol_are_joined_in_time_order(tmp_path: Path) -> None:
    rows = hourly(10)

    late, early = a_csv(tmp_path, rows[5:], name="b.csv"), a_csv(tmp_path, rows[:5], name="a.csv")
    loaded = load(late, early)

    assert loaded.tables[0].close.tolist() == [100.0 + i for i in range(10)]
    assert loaded.tables[0].source == "b.csv, a.csv"
    assert loaded.warnings == ()


def test_files_that_share_equal_bars_keep_each_once(tmp_path: Path) -> None:
    rows = hourly(10)

    loaded = load(a_csv(tmp_path, rows[:7], name="a.csv"), a_csv(tmp_path, rows[4:], name="b.csv"))

    assert len(loaded.tables[0]) == 10
    assert "a.csv and b.csv share 3 bars of BTC-USD 1h, which agree" in loaded.warnings[0]


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    rows = hourly(10)
    other = [row.replace(",105,", ",105.5,") for row in rows]

    with pytest.raises(DataFault, match=r"a.csv and b.csv contradict each other on BTC-USD 1h"):
        load(a_csv(tmp_path, rows, name="a.csv"), a_csv(tmp_path, other, name="b.csv"))


def test_quotes_and_trades_of_one_symbol_do_not_mix(tmp_path: Path) -> None:
    quotes = a_csv(
        tmp_path,
        [f"2024-01-01T0{i}:00Z,10,11,9,10,12,13,11,12" for i in range(3)],
        QUOTES,
        "SPY.csv",
    )
    trades = a_csv(tmp_path, hourly(3, "SPY"), name="trades.csv")

    with pytest.raises(DataFault, match="one with bid and ask and the other without"):
        load(quotes, trades)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (HEADER.encode(), "column names but no rows"),
        (b"PAR1 and then nothing of it", "cannot be read as Parquet"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "neither CSV text in UTF-8 nor Parquet"),
        (b"a\0b\n", "is a binary file"),
        (
            gzip.compress(HEADER.encode() * 900, mtime=0)[:40],
            "neither CSV text in UTF-8 nor Parquet",
        ),
        (b"symbol,open_time,opn,high,low,close\n1,2,3,4,5,6\n", "'opn' looks like open"),
        (b"symbol,open,high,low,close\n1,2,3,4,5\n", "no column for a time"),
        (b"time,bid_open,bid_high,bid_low,bid_close\n1,2,3,4,5\n", "no column for ask_open"),
        (b"1704067200,1,2,3,4,5\n1704067260,1,2,3,4,5\n", "found '1704067200', '1'"),
        (b"symbol,time,open,open,high,low,close\n1,2,3,4,5,6,7\n", "'open' stands twice"),
        (HEADER.encode() + GOOD[0].encode(), "give at least two"),
        (HEADER.encode() + b"BTC-USD,x,1,1,1,1,1", "faulty row"),
        (HEADER.encode() + b"EURJPY,1704067200,1,1,1,1,1\nEURJPY,1704067260,1,1,1,1,1", "in JPY"),
    ],
)
def test_a_file_that_is_no_price_file_is_refused_in_words(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as refusal:
        load(path)

    assert said in str(refusal.value)


def test_a_torn_parquet_file_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    pl.DataFrame({"time": [1], "open": [1.0]}).write_parquet(path)
    whole = path.read_bytes()

    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFault, match=r"bars.parquet cannot be read as Parquet \(cut short"):
        load(path)
    path.write_bytes(whole[:20] + bytes(20) + whole[40:])
    with pytest.raises(DataFault, match=r"bars\.parquet"):
        load(path)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="no price file given"):
        load()
    with pytest.raises(ConfigError, match="is no time zone"):
        load(a_csv(tmp_path, GOOD), tz="Nowhere")


def test_skipping_every_row_leaves_nothing_to_play(tmp_path: Path) -> None:
    path = a_csv(tmp_path, [row.replace(",90,", ",-90,") for row in GOOD[:1]])

    with pytest.raises(DataFault, match="no row is left"):
        load(path, skip_bad_rows=True)


def test_a_price_below_half_a_tick_is_refused(tmp_path: Path) -> None:
    rows = [f"TINY-USD,{1704067200 + 60 * i},1e-10,1e-10,1e-10,1e-10,1" for i in range(3)]

    with pytest.raises(DataFault, match="less than half a tick"):
        load(a_csv(tmp_path, rows))
