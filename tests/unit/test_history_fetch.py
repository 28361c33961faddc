"""A whole fetch against venues that are sound, slow, broken or mad."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from hydra.clock import ManualClock, iso, monotonic_ns, to_ns
from hydra.errors import ConfigError, VenueDown, VenueFault
from hydra.feeds.history import checks
from hydra.feeds.history.binance import Binance
from hydra.feeds.history.bybit import Bybit
from hydra.feeds.history.coinbase import Coinbase
from hydra.feeds.history.fetch import fetch, plan
from hydra.feeds.history.oanda import Oanda
from hydra.feeds.history.output import FetchedSymbol
from hydra.feeds.history.partial import Partial, partial_path
from hydra.feeds.history.rest import Patience, Rest
from hydra.feeds.history.venue import Venue, pair_of
from hydra.market.timeframes import timeframe_ns
from tests.support.venue_rest import (
    MINUTE_MS,
    SPREAD,
    Candle,
    Fault,
    Heard,
    VenueRest,
    candles,
    gather,
)

PAGE = 40
ROWS = 200
START = "2024-01-01T00:00"
END = "2024-01-01T03:20"  # 200 minutes
COINBASE: Venue = replace(Coinbase(), page_candles=PAGE, per_s=100_000.0)
BINANCE: Venue = replace(Binance(), page_candles=PAGE, per_s=100_000.0)
BYBIT: Venue = replace(Bybit(), page_candles=PAGE, per_s=100_000.0)
OANDA: Venue = replace(Oanda(), page_candles=PAGE, per_s=100_000.0)
ALL = [COINBASE, BINANCE, BYBIT, OANDA]
CANARY = "0123456789abcdef-canary-4711"
FAST = Patience(tries=3, first_pause_s=0.002, longest_pause_s=0.004)


def ns(text: str) -> int:
    return to_ns(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.fixture(scope="module")
def running() -> Iterator[VenueRest]:
    with VenueRest({}) as server:
        yield server


@pytest.fixture
def server(running: VenueRest) -> VenueRest:
    made = candles(START, ROWS)
    running.series = {
        "BTC-USDT": made,
        "BTC-USD": made,
        "ETH-USDT": candles(START, ROWS, base=2_300),
    }
    running.series["ETH-USD"] = running.series["ETH-USDT"]
    running.heard.clear()
    running.bar_ms = MINUTE_MS
    running.fault = lambda heard: None
    return running


def fetched(
    server: VenueRest,
    venue: Venue,
    out: Path,
    *symbols: str,
    start: str = START,
    end: str | None = END,
    bar: str = "1m",
    now: str = "2024-06-01",
    patience: Patience = FAST,
    address: str = "",
    token: str = "",
    shown: list[tuple[int, float, int]] | None = None,
) -> tuple[FetchedSymbol, ...]:
    clock = ManualClock(ns(now))
    pairs = [pair_of(one, venue) for one in symbols or ("BTC-USD",)]
    planned = plan(
        venue, pairs, bar_ns=timeframe_ns(bar), from_ns=ns(start),
        to_ns=None if end is None else ns(end), clock=clock,
    )  # fmt: skip

    async def work() -> tuple[FetchedSymbol, ...]:
        where = address or server.url(venue.name)
        async with Rest(venue, where, clock=clock, patience=patience, token=token) as rest:
            return await fetch(
                rest, venue, pairs, planned, out,
                progress=lambda *told: shown.append(told) if shown is not None else None,
            )  # fmt: skip

    return asyncio.run(work())


def lines(symbol: str, rows: Sequence[Candle], venue: Venue = COINBASE) -> list[str]:
    """What a CSV file should say."""

    def plain(text: str, above: Decimal = Decimal(0)) -> str:
        return f"{(Decimal(text) + above).normalize():f}"

    def numbers(row: Candle) -> list[str]:
        if not venue.has_quotes:
            return [plain(one) for one in row[1:]]
        prices = row[1:5]
        return [plain(one) for one in prices] + [plain(one, SPREAD) for one in prices]

    return [",".join((symbol, iso(row[0] * 1_000_000), *numbers(row))) for row in rows]


def once(
    condition: Callable[[Heard], bool], fault: Fault, *, times: int = 1
) -> Callable[[Heard], Fault | None]:
    """The fault for the first `times` requests that meet the condition."""
    left = [times]

    def judge(heard: Heard) -> Fault | None:
        if condition(heard) and left[0]:
            left[0] -= 1
            return fault
        return None

    return judge


def is_page(heard: Heard) -> bool:
    return not heard.is_days


# Sound venues


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_all_candles_of_two_symbols_are_written_exactly(
    venue: Venue, server: VenueRest, tmp_path: Path
) -> None:
    out, shown = tmp_path / "two.csv", list[tuple[int, float, int]]()

    facts = fetched(server, venue, out, "BTC-USD", "ETH-USD", shown=shown)

    first, second = (f"{base}-{venue.dollar}" for base in ("BTC", "ETH"))
    columns = "open,high,low,close,volume"
    if venue is OANDA:
        columns = "bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close"
    assert out.read_text("utf-8").splitlines() == [
        f"symbol,time,{columns}",
        *lines(first, server.series[first], venue),
        *lines(second, server.series[second], venue),
    ]
    assert [one.symbol for one in facts] == [first, second]
    for one in facts:
        assert (one.rows, one.gaps, one.missing_bars, one.faulty_rows) == (ROWS, 0, 0, 0)
        assert (one.missing_before, one.missing_after, one.largest_gap) == (0, 0, None)
        assert (one.first, one.last) == ("2024-01-01T00:00:00Z", "2024-01-01T03:19:00Z")
    assert len([heard for heard in server.heard if is_page(heard)]) == 2 * ROWS // PAGE
    assert [path.name for path in tmp_path.iterdir()] == ["two.csv"]
    assert shown[0] == (0, 0.0, 0)
    assert shown[-1] == (1, 1.0, ROWS)


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_parquet_has_the_same_prices_and_utc_times(
    venue: Venue, server: VenueRest, tmp_path: Path
) -> None:
    fetched(server, venue, tmp_path / "a.csv")
    fetched(server, venue, tmp_path / "a.parquet")

    parquet = pl.read_parquet(tmp_path / "a.parquet")
    assert parquet.schema["time"] == pl.Datetime("ms", "UTC")
    text = pl.read_csv(tmp_path / "a.csv").with_columns(
        pl.col("time").str.to_datetime(time_zone="UTC", time_unit="ms")
    )
    assert parquet.equals(text)
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "a.parquet"}


def test_a_bar_s_length_is_the_venue_s_own(server: VenueRest, tmp_path: Path) -> None:
    (facts,) = fetched(server, BINANCE, tmp_path / "a.csv", bar="15m")

    assert (facts.bar, facts.rows, facts.missing_after) == ("15m", 13, 0)  # 195 of 200 minutes


def test_the_period_is_cut_to_whole_bars(server: VenueRest, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    (facts,) = fetched(server, BYBIT, out, start="2024-01-01T00:10:30", end="2024-01-01T00:20:59")

    assert (facts.first, facts.last, facts.rows) == (
        "2024-01-01T00:11:00Z", "2024-01-01T00:19:00Z", 9,
    )  # fmt: skip


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2024-01-01T01:00:30", "2024-01-01T00:59:00Z"),
        ("2024-01-01T01:00:05", "2024-01-01T00:58:00Z"),
    ],
)
def test_a_candle_that_is_not_finished_is_never_written(
    venue: Venue, now: str, last: str, server: VenueRest, tmp_path: Path
) -> None:
    (facts,) = fetched(server, venue, tmp_path / "a.csv", end=None, now=now)

    assert facts.last == last
    assert facts.missing_after == 0


def test_a_clock_ahead_of_the_venue_s_is_found_out(server: VenueRest, tmp_path: Path) -> None:
    old = Fault.rows(lambda rows: rows)
    server.series["BTC-USDT"] = candles("2124-01-01T00:00", 60)  # a century ahead of the real date
    server.fault = once(is_page, old)

    with pytest.raises(VenueFault, match="this machine's clock is ahead"):
        fetched(
            server, BINANCE, tmp_path / "a.csv",
            start="2124-01-01", end="2124-01-01T01:00", now="2124-02-01",
        )  # fmt: skip


# Gaps and faulty rows


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_gaps_are_reported_and_not_filled(venue: Venue, server: VenueRest, tmp_path: Path) -> None:
    symbol = f"BTC-{venue.dollar}"
    made = server.series[symbol]
    kept = made[3:50] + made[53:90] + made[150:195]  # the last gap spans a page
    server.series[symbol] = kept
    out = tmp_path / "a.csv"

    (facts,) = fetched(server, venue, out)

    assert out.read_text("utf-8").splitlines()[1:] == lines(symbol, kept, venue)
    assert (facts.missing_before, facts.gaps, facts.missing_bars, facts.missing_after) == (
        3, 2, 63, 5,
    )  # fmt: skip
    assert facts.largest_gap is not None
    assert facts.largest_gap.missing_bars == 60
    assert facts.largest_gap.last == "2024-01-01T01:29:00Z"
    assert facts.largest_gap.next == "2024-01-01T02:30:00Z"


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_faulty_rows_of_a_page_are_counted_and_left_out(
    venue: Venue, server: VenueRest, tmp_path: Path
) -> None:
    symbol = f"BTC-{venue.dollar}"

    def spoil(rows: list[Candle]) -> list[Candle]:
        far = candles("2023-01-01", 2)
        nan = (rows[5][0], "NaN", *rows[5][2:])
        upside = (rows[6][0], rows[6][1], "1", *rows[6][3:])
        return [*far, *rows[:5], nan, upside, rows[8], rows[7], *rows[9:], rows[-1]]

    server.fault = once(is_page, Fault.rows(spoil))
    out = tmp_path / "a.csv"
    (facts,) = fetched(server, venue, out)

    assert facts.faults == {
        checks.HIGH_BELOW_LOW: 1, checks.NO_NUMBER: 1, checks.DISORDER: 1, checks.OUTSIDE: 2,
        checks.TWICE: 1,
    }  # fmt: skip
    assert facts.faulty_rows == 6
    made = server.series[symbol]
    assert out.read_text("utf-8").splitlines()[1:] == lines(symbol, made[:5] + made[7:], venue)
    assert (facts.gaps, facts.missing_bars) == (1, 2)


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_years_before_a_listing_cost_a_few_requests(
    venue: Venue, server: VenueRest, tmp_path: Path
) -> None:
    (facts,) = fetched(server, venue, tmp_path / "a.csv", start="2021-01-01", end="2024-01-03")

    assert facts.rows == ROWS
    assert facts.missing_before == 3 * 365 * 1440
    assert len(server.heard) < 150  # of 1.6 million minutes at 40 a page


def test_a_faulty_day_candle_hides_no_day(server: VenueRest, tmp_path: Path) -> None:
    def spoil(rows: list[Candle]) -> list[Candle]:
        return [(at + 8 * 60 * MINUTE_MS, "NaN", *rest) for at, _, *rest in rows]  # type: ignore[misc]

    server.fault = lambda heard: Fault.rows(spoil) if heard.is_days else None

    (facts,) = fetched(server, BINANCE, tmp_path / "a.csv", start="2023-12-31", end="2024-01-09")

    assert facts.rows == ROWS


# OANDA: a token, a grid of its own, candles that go on


def test_coarse_candles_of_oanda_lie_on_the_grid_of_utc(server: VenueRest, tmp_path: Path) -> None:
    server.series["BTC-USD"] = candles(START, 3 * 1440)
    for bar in ("2h", "4h", "12h", "1d"):
        out = tmp_path / f"{bar}.csv"
        (facts,) = fetched(server, OANDA, out, end="2024-01-03", bar=bar)

        assert facts.faults == {}
        assert facts.rows == 2 * 86_400_000_000_000 // timeframe_ns(bar)
        made = gather(server.series["BTC-USD"], timeframe_ns(bar) // 1_000_000)
        assert out.read_text("utf-8").splitlines()[1:] == lines(
            "BTC-USD", made[: facts.rows], OANDA
        )


def test_a_candle_of_oanda_that_goes_on_is_left_out(server: VenueRest, tmp_path: Path) -> None:
    server.series["BTC-USD"] = candles(START, 97)  # the seventh of 15 minutes is not over

    (facts,) = fetched(server, OANDA, tmp_path / "a.csv", bar="15m", end="2024-01-01T02:00")

    assert (facts.rows, facts.last, facts.faults) == (6, "2024-01-01T01:15:00Z", {})


@pytest.mark.parametrize("token", ["", "of somebody else"])
def test_oanda_tells_nobody_without_its_token(
    token: str, server: VenueRest, tmp_path: Path
) -> None:
    server.token = CANARY
    try:
        with pytest.raises(
            (ConfigError, VenueFault), match=r"\(401\): Insufficient auth"
        ) as caught:
            fetched(server, OANDA, tmp_path / "a.csv", token=token.replace(" ", "-"))
        assert ("OANDA_API_TOKEN is wrong" in str(caught.value)) is bool(token)
        (facts,) = fetched(server, OANDA, tmp_path / "a.csv", token=CANARY)
    finally:
        server.token = ""

    assert facts.rows == ROWS


def test_a_proxy_that_tells_the_request_back_gives_no_token_away(
    server: VenueRest, tmp_path: Path
) -> None:
    server.fault = once(is_page, Fault.status(400, f"Authorization: Bearer {CANARY}"), times=99)
    with pytest.raises(VenueFault, match="Authorization: Bearer ") as caught:
        fetched(server, OANDA, tmp_path / "a.csv", token=CANARY)

    chain: BaseException | None = caught.value
    texts: list[str] = []
    while chain is not None:
        texts.append(f"{chain!r} {chain}")
        chain = chain.__cause__ or chain.__context__
    assert CANARY not in "".join(texts)


@pytest.mark.parametrize(
    ("address", "token", "says"),
    [
        ("http://api.example.com", CANARY, "a token goes over https:// alone"),
        ("https://api.example.com", f"“{CANARY}”", "letters that no token has"),
        ("https://api.example.com", f"{CANARY}\nX-Other: 1", "letters that no token has"),
    ],
)
def test_a_token_that_others_would_read_or_no_header_can_carry_is_not_sent(
    address: str, token: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        Rest(OANDA, address, clock=ManualClock(), token=token)

    assert CANARY not in str(caught.value)


# What passes: it is repeated


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(429, retry_after="0.01"),
        Fault.status(500, "<html>"),
        Fault.html(503),
        Fault.cut(),
    ],
    ids=["429", "500", "503", "cut"],
)
def test_what_may_pass_is_asked_again(
    venue: Venue, fault: Fault, server: VenueRest, tmp_path: Path
) -> None:
    server.fault = once(lambda heard: is_page(heard) and heard.number > 2, fault, times=2)
    out = tmp_path / "a.csv"

    (facts,) = fetched(server, venue, out)

    assert facts.rows == ROWS
    assert len([heard for heard in server.heard if is_page(heard)]) == ROWS // PAGE + 2


def test_a_server_that_stays_silent_is_asked_again(server: VenueRest, tmp_path: Path) -> None:
    server.fault = once(is_page, Fault.slow(0.2))

    # Tries to spare: on a busy machine a sound answer may be as late.
    patient = replace(FAST, deadline_s=0.06, tries=20)
    (facts,) = fetched(server, BYBIT, tmp_path / "a.csv", patience=patient)

    assert facts.rows == ROWS


def test_bybit_s_too_many_visits_is_asked_again(server: VenueRest, tmp_path: Path) -> None:
    server.fault = once(is_page, Fault.raw('{"retCode":10006,"retMsg":"Too many visits!"}'))

    assert fetched(server, BYBIT, tmp_path / "a.csv")[0].rows == ROWS


def test_the_pause_is_what_retry_after_says(server: VenueRest, tmp_path: Path) -> None:
    server.fault = once(is_page, Fault.status(429, retry_after="0.08"))
    began = monotonic_ns()

    fetched(server, BINANCE, tmp_path / "a.csv")

    assert monotonic_ns() - began >= 80_000_000


def test_a_pause_that_is_too_long_ends_the_fetch(server: VenueRest, tmp_path: Path) -> None:
    server.fault = once(is_page, Fault.status(429, retry_after="3600"), times=99)

    with pytest.raises(VenueDown, match=r"asks to wait 3600 s \(asked once\)"):
        fetched(server, BINANCE, tmp_path / "a.csv")


def test_retry_after_may_be_a_date(server: VenueRest, tmp_path: Path) -> None:
    late = Fault.status(429, retry_after="Sat, 01 Jun 2024 00:05:00 GMT")
    server.fault = once(is_page, late, times=99)

    with pytest.raises(VenueDown, match="asks to wait 300 s"):
        fetched(server, BINANCE, tmp_path / "a.csv", now="2024-06-01")


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.status(429), r"asks for fewer requests \(429\).*asked 3 times"),
        (Fault.status(502), r"out of order or overloaded \(502\)"),
        (Fault.cut(), "no connection with"),
        (Fault.slow(0.2), "no answer from .* within 0.05 s"),
    ],
)
def test_what_does_not_pass_ends_in_plain_words_and_keeps_the_pages(
    venue: Venue, fault: Fault, said: str, server: VenueRest, tmp_path: Path
) -> None:
    server.fault = once(lambda heard: heard.number > 3, fault, times=99)
    out = tmp_path / "a.csv"

    with pytest.raises(VenueDown, match=said):
        fetched(server, venue, out, patience=replace(FAST, deadline_s=0.05))

    assert not out.exists()
    before = [heard for heard in server.heard if is_page(heard)]
    server.heard.clear()
    server.fault = lambda heard: None
    assert fetched(server, venue, out)[0].rows == ROWS
    assert len(server.heard) < len(before) + ROWS // PAGE  # it went on where it was


def test_nobody_at_the_address(server: VenueRest, tmp_path: Path) -> None:
    with pytest.raises(
        VenueDown, match=r"no connection with coinbase at 127.0.0.1:1 \(ConnectError"
    ):
        fetched(server, COINBASE, tmp_path / "a.csv", address="http://127.0.0.1:1")


@pytest.mark.parametrize(
    "address", ["", "api.coinbase.com", "ftp://a.b", "http://", "https://[::1"]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ConfigError, match="COINBASE_REST_URL="):
        Rest(COINBASE, address, clock=ManualClock())


# Nonsense ends, and is not repeated


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.html(), r"answered what are no candles \(text/html\)"),
        (Fault.raw('{"data":[]}'), "no candles"),
        (Fault.raw("[[1]]"), "no candles"),
        (Fault.status(403, "access too frequent"), "wait at least ten minutes"),
        (Fault.status(400, "<html>bad"), r"refused BTC-.* \(400\): <html>bad"),
    ],
)
def test_nonsense_ends_at_once(
    venue: Venue, fault: Fault, said: str, server: VenueRest, tmp_path: Path
) -> None:
    server.fault = once(lambda heard: heard.number > 3, fault, times=99)

    with pytest.raises(VenueFault, match=said):
        fetched(server, venue, tmp_path / "a.csv")

    assert len(server.heard) == 4


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.raw(" " * 5_000_000), "more than 4,000,000 bytes"),
        (Fault.status(418, retry_after="90"), "shuts this address out .*wait 90 s"),
        (Fault.status(451), "does not serve this country"),
        (Fault.status(301, location="https://else.where"), "points elsewhere .*else.where"),
    ],
    ids=["huge", "418", "451", "301"],
)
def test_what_no_venue_documents_ends_at_once_too(
    fault: Fault, said: str, server: VenueRest, tmp_path: Path
) -> None:
    server.fault = once(lambda heard: heard.number > 3, fault, times=99)

    with pytest.raises(VenueFault, match=said):
        fetched(server, BINANCE, tmp_path / "a.csv")

    assert len(server.heard) == 4


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_the_same_page_again_ends(venue: Venue, server: VenueRest, tmp_path: Path) -> None:
    page = server.series[f"BTC-{venue.dollar}"][:PAGE]
    server.fault = lambda heard: Fault.rows(lambda rows: page) if is_page(heard) else None

    with pytest.raises(VenueFault, match="sent the same page again"):
        fetched(server, venue, tmp_path / "a.csv")


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_empty_pages_for_ever_end(venue: Venue, server: VenueRest, tmp_path: Path) -> None:
    made = candles("2024-01-01", 24 * 60, step_ms=60 * MINUTE_MS)
    server.series, server.bar_ms = dict.fromkeys(("BTC-USD", "BTC-USDT"), made), 60 * MINUTE_MS
    server.fault = lambda heard: Fault.empty() if is_page(heard) else None

    with pytest.raises(VenueFault, match=r"sent no candle of BTC-USDT? in 3[0-9] days"):
        fetched(server, venue, tmp_path / "a.csv", end="2024-03-01", bar="1h")

    assert len(server.heard) < 30


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_a_symbol_without_candles_is_no_file(
    venue: Venue, server: VenueRest, tmp_path: Path
) -> None:
    server.fault = lambda heard: Fault.empty()

    with pytest.raises(ConfigError, match="has no candles of BTC-USD"):
        fetched(server, venue, tmp_path / "a.csv", start="2023-10-01", end="2024-01-01T00:30")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("venue", ALL, ids=lambda venue: venue.name)
def test_a_symbol_that_the_venue_does_not_know_is_named_before_anything_is_fetched(
    venue: Venue, server: VenueRest, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"{venue.name} does not know NOPE-USD"):
        fetched(server, venue, tmp_path / "a.csv", "BTC-USD", "NOPE-USD")

    assert not any(is_page(heard) for heard in server.heard)
    # What was begun stands in nobody's way.
    assert fetched(server, venue, tmp_path / "a.csv", "BTC-USD")[0].rows == ROWS


# Going on


def test_a_fetch_that_broke_off_anywhere_ends_with_the_same_bytes(
    server: VenueRest, tmp_path: Path
) -> None:
    venue, symbols = BYBIT, ("BTC-USD", "ETH-USD")
    fetched(server, venue, tmp_path / "whole.csv", *symbols)
    whole = (tmp_path / "whole.csv").read_bytes()
    needed = len(server.heard)
    draw = random.Random(7)
    for stop in range(1, needed):
        out = tmp_path / "broken.csv"
        server.heard.clear()
        server.fault = lambda heard, stop=stop: (  # type: ignore[misc]
            Fault.status(400, "stop") if heard.number > stop else None
        )
        with pytest.raises((VenueFault, ConfigError)):
            fetched(server, venue, out, *symbols)
        kept = partial_path(out)
        if kept.exists() and draw.random() < 0.5:  # killed while it wrote
            kept.write_bytes(kept.read_bytes() + b'{"symbol":"BTC-USD","start_ns":17')
        server.heard.clear()
        server.fault = lambda heard: None
        fetched(server, venue, out, *symbols)
        assert out.read_bytes() == whole
        assert len(server.heard) <= needed - stop + len(symbols)
        out.unlink()


def test_the_end_of_an_open_period_is_fixed_when_the_fetch_begins(
    server: VenueRest, tmp_path: Path
) -> None:
    out = tmp_path / "a.csv"
    server.fault = once(lambda heard: heard.number > 2, Fault.status(400), times=9)
    with pytest.raises(VenueFault):
        fetched(server, BINANCE, out, end=None, now="2024-01-01T01:00:30")
    server.fault = lambda heard: None

    (facts,) = fetched(server, BINANCE, out, end=None, now="2024-01-01T02:00:30")

    assert facts.last == "2024-01-01T00:59:00Z"


def test_another_fetch_does_not_go_on_with_what_is_kept(server: VenueRest, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    server.fault = once(lambda heard: heard.number > 3, Fault.status(400), times=99)
    with pytest.raises(VenueFault):
        fetched(server, BINANCE, out)
    kept = partial_path(out).read_bytes()

    for start, end, bar in (
        (START, END, "5m"), (START, "2024-01-01T01:00", "1m"), ("2023-12-31", END, "1m"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="keeps another fetch"):
            fetched(server, BINANCE, out, start=start, end=end, bar=bar)
    for venue, symbol in ((BYBIT, "BTC-USD"), (BINANCE, "ETH-USD")):
        with pytest.raises(ConfigError, match="keeps another fetch"):
            fetched(server, venue, out, symbol)

    assert partial_path(out).read_bytes() == kept


def test_what_is_kept_may_not_be_damaged(server: VenueRest, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    server.fault = once(lambda heard: heard.number > 4, Fault.status(400), times=99)
    with pytest.raises(VenueFault):
        fetched(server, BINANCE, out)
    path = partial_path(out)
    kept = path.read_bytes().splitlines(keepends=True)
    assert len(kept) > 3

    for number, spoilt in (
        (1, [b"{}\n", *kept[1:]]),
        (2, [kept[0], b"junk\n", *kept[2:]]),
        (2, [kept[0], *kept[2:]]),
        (3, [kept[0], kept[1], kept[1], *kept[2:]]),
        (1, [kept[0].replace(b"hydra fetch 1", b"hydra fetch 9"), *kept[1:]]),
    ):
        path.write_bytes(b"".join(spoilt))
        with pytest.raises(ConfigError, match=f"line {number} is no part of a fetch"):
            fetched(server, BINANCE, out)


def test_a_file_that_is_there_is_not_overwritten(server: VenueRest, tmp_path: Path) -> None:
    out = tmp_path / "a.csv"
    out.write_text("mine")

    with pytest.raises(ConfigError, match="is there already"):
        fetched(server, BINANCE, out)

    assert out.read_text() == "mine"
    assert server.heard == []


def test_a_fetch_that_was_killed_between_the_file_and_its_tidying_up_ends(
    server: VenueRest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.csv"
    with monkeypatch.context() as patch:
        patch.setattr(Partial, "remove", lambda self: None)
        fetched(server, BINANCE, out)
    written = out.read_bytes()

    fetched(server, BINANCE, out)

    assert out.read_bytes() == written
    assert list(tmp_path.iterdir()) == [out]


def test_two_processes_do_not_fetch_into_one_file(server: VenueRest, tmp_path: Path) -> None:
    clock = ManualClock(ns("2024-06-01"))
    planned = plan(
        BINANCE, [pair_of("BTC-USD", BINANCE)], bar_ns=timeframe_ns("1m"), from_ns=ns(START),
        to_ns=ns(END), clock=clock,
    )  # fmt: skip
    out = tmp_path / "a.csv"
    with (
        Partial(partial_path(out), planned),
        pytest.raises(ConfigError, match="another process is fetching"),
    ):
        fetched(server, BINANCE, out)


def test_no_number_is_rounded_on_its_way(server: VenueRest, tmp_path: Path) -> None:
    fine = (to_ms(START), "0.000012345678", "123456789.123456789012", "0.000000000001",
            "0.1", "98765432109876.12345678")  # fmt: skip
    server.series["PEPE-USDT"] = [fine]
    out = tmp_path / "a.csv"

    fetched(server, BINANCE, out, "PEPEUSDT")

    assert out.read_text().splitlines()[1] == (
        "PEPE-USDT,2024-01-01T00:00:00Z,0.000012345678,123456789.123456789012,0.000000000001,0.1,"
        "98765432109876.12345678"
    )


def to_ms(text: str) -> int:
    return ns(text) // 1_000_000


# What is asked for makes sense


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": "2024-01-02"}, "no finished bar of 1m lies between"),
        ({"now": "2023-01-01"}, "no finished bar"),
        ({"end": None, "now": "2024-01-01T00:00:30"}, "and now"),
    ],
)
def test_a_period_without_a_bar(
    changes: dict[str, str], said: str, server: VenueRest, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        fetched(server, BINANCE, tmp_path / "a.csv", **changes)  # type: ignore[arg-type]


def test_one_symbol_under_two_names(server: VenueRest, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BTC-USDT is named twice"):
        fetched(server, BINANCE, tmp_path / "a.csv", "BTC-USD", "BTCUSDT")


@pytest.mark.parametrize("name", ["a.txt", "a", "nowhere/a.csv", "folder.csv"])
def test_an_output_that_cannot_be(name: str, server: VenueRest, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(ConfigError, match="--out"):
        fetched(server, BINANCE, tmp_path / name)

    assert server.heard == []
