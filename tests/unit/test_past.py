"""Candles for warming up and for gaps: each instrument's from a venue that lists it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from apps.runtime.live_season import instruments_of
from hydra.clock import NS_PER_S, ManualClock
from hydra.errors import VenueDown
from hydra.feeds.history import rest
from hydra.feeds.history.past import VenuePast
from hydra.feeds.history.rest import Patience
from hydra.feeds.history.venues import venue_named
from hydra.market.bars import BarTable
from hydra.settings import load_settings
from tests.support.venue_rest import SPREAD, Fault, VenueRest, candles

MINUTE_NS = 60 * NS_PER_S
START_NS = 1_704_067_200 * NS_PER_S  # 2024-01-01
END_NS = START_NS + 30 * MINUTE_NS
CANARY = "0123456789abcdef-canary-4711"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[VenueRest]:
    series = {
        "BTC-USD": candles("2024-01-01", 60),
        "BTC-USDT": candles("2024-01-01", 60),
        "XAU-USD": candles("2024-01-01", 60, base=2_060),
    }
    monkeypatch.setenv("HYDRA_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("OANDA_API_TOKEN", CANARY)
    monkeypatch.setattr(rest, "PATIENCE", Patience(tries=2, first_pause_s=0.001))
    with VenueRest(series) as running:
        running.token = CANARY
        for venue in ("coinbase", "binance", "bybit", "oanda"):
            monkeypatch.setenv(f"{venue.upper()}_REST_URL", running.url(venue))
        yield running


def bars(
    *venues: str, said: list[str] | None = None, length_ns: int = MINUTE_NS
) -> Mapping[str, BarTable]:
    past = VenuePast(
        instruments_of(["BTC-USD", "XAUUSD"], None), [venue_named(name) for name in venues],
        settings=load_settings(), clock=ManualClock(END_NS),
        say=(said if said is not None else []).append,
    )  # fmt: skip
    return asyncio.run(past.bars(length_ns, START_NS, END_NS))


def test_each_instrument_has_the_candles_of_a_venue_that_lists_it(server: VenueRest) -> None:
    said: list[str] = []

    found = bars("coinbase", "oanda", said=said)

    assert {symbol: table.source for symbol, table in found.items()} == {
        "BTC-USD": "coinbase candles", "XAUUSD": "oanda candles",
    }  # fmt: skip
    assert {len(table) for table in found.values()} == {30}
    assert said == []


def test_oandas_are_bid_and_ask_as_they_were_without_a_volume(server: VenueRest) -> None:
    gold = bars("coinbase", "oanda")["XAUUSD"]

    first = server.series["XAU-USD"][0]
    price = gold.instrument.price
    assert gold.real_spread
    for number, name in enumerate(("open", "high", "low", "close"), start=1):
        bid = Decimal(first[number])
        assert price(int(getattr(gold, f"bid_{name}")[0])) == bid
        assert price(int(getattr(gold, f"ask_{name}")[0])) == bid + SPREAD
        assert getattr(gold, name)[0] == pytest.approx(float(bid + SPREAD / 2), abs=1e-9)
    assert np.isnan(gold.volume).all()


def test_a_tick_coarser_than_oandas_is_rounded_against_whoever_trades(server: VenueRest) -> None:
    made = server.series["XAU-USD"]
    server.series["XAU-USD"] = [
        (at, *(f"{Decimal(one) + Decimal('0.007'):f}" for one in prices), volume)  # type: ignore[misc]
        for at, *prices, volume in made
    ]

    gold = bars("oanda", "coinbase")["XAUUSD"]

    price = gold.instrument.price
    assert price(int(gold.bid_open[0])) == Decimal(made[0][1])
    assert price(int(gold.ask_open[0])) == Decimal(made[0][1]) + SPREAD + Decimal("0.01")


@pytest.mark.parametrize("lost", ["oanda", "crypto"])
def test_where_some_have_none_the_others_have_theirs_and_it_is_said(
    lost: str, server: VenueRest
) -> None:
    server.fault = lambda heard: (
        Fault.html(503) if (heard.venue == "oanda") is (lost == "oanda") else None
    )
    said: list[str] = []

    found = bars("coinbase", "binance", "oanda", said=said)

    assert list(found) == (["BTC-USD"] if lost == "oanda" else ["XAUUSD"])
    (line,) = said
    assert line.startswith("no candles of " + ("XAUUSD" if lost == "oanda" else "BTC-USD"))


def test_a_token_that_is_refused_is_said_without_it(
    server: VenueRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", f"{CANARY}-old")
    said: list[str] = []

    found = bars("coinbase", "oanda", said=said)

    assert list(found) == ["BTC-USD"]
    assert "does not take the token (401)" in said[0]
    assert "OANDA_API_TOKEN is wrong or withdrawn" in said[0]
    assert CANARY not in said[0]


def test_where_nobody_has_any_it_is_the_venues_that_are_down(server: VenueRest) -> None:
    server.fault = lambda heard: Fault.html(503)
    with pytest.raises(VenueDown, match=r"no candles of BTC-USD: .*no candles of XAUUSD: "):
        bars("coinbase", "oanda")
    with pytest.raises(VenueDown, match="oanda has no such bars"):
        bars("coinbase", "oanda", length_ns=7 * NS_PER_S)
