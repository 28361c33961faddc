"""What every registered engine keeps to. A new engine is covered as soon as it is registered."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from hydra.engines.registry import ENGINES, build
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Amend, Open, Side
from tests.support.bars import a_table
from tests.support.engine_driver import drive, joined, random_walk

every_engine = pytest.mark.parametrize("name", ENGINES)
RANKED = [name for name, kind in ENGINES.items() if not kind.is_reference]
MARKETS = {
    "minutes": random_walk(1, 15_000),
    "hours": random_walk(2, 2_000, "1h", volatility=0.006),
    "days": random_walk(3, 1_500, "1d", volatility=0.03),
}
every_market = pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)


@every_engine
def test_it_says_what_it_does_and_where_that_is_from(name: str) -> None:
    kind = ENGINES[name]
    assert 0 < len(kind.title) <= 80
    assert "\n" not in kind.title
    assert "Source: " in (kind.factory.__doc__ or "")


@every_engine
def test_its_features_do_not_change(name: str) -> None:
    engine = build(name, ["BTC-USD"]).engine
    assert tuple(engine.features) == tuple(engine.features)
    assert len(set(engine.features)) == len(engine.features)


@every_market
@pytest.mark.parametrize("name", RANKED)
def test_a_ranked_engine_trades_on_any_market(name: str, market: BarTable) -> None:
    opened = [
        intent
        for _, intents in drive(build(name, [market.symbol]).engine, market)
        for intent in intents
        if isinstance(intent, Open)
    ]
    assert len(opened) >= 5


@every_market
@every_engine
def test_its_prices_lie_on_the_grid_and_on_the_right_side(name: str, market: BarTable) -> None:
    tick = market.instrument.tick_size
    for bar, intents in drive(build(name, [market.symbol]).engine, market):
        for intent in intents:
            prices = (intent.stop, intent.target) if isinstance(intent, Open | Amend) else ()
            assert all(price % tick == 0 for price in prices if price is not None)
            if not isinstance(intent, Open):
                continue
            assert intent.symbol == market.symbol
            assert intent.thesis
            bid = market.instrument.price(int(market.bid_close[bar]))
            ask = market.instrument.price(int(market.ask_close[bar]))
            below, above = (
                (intent.stop, intent.target)
                if intent.side == Side.BUY
                else (intent.target, intent.stop)
            )
            assert below is None or 0 < below < bid
            assert above is None or above > ask
            assert intent.stop is not None or ENGINES[name].is_reference
            assert intent.risk_frac is None or 0 < intent.risk_frac <= 1


@every_engine
def test_it_closes_before_it_opens(name: str) -> None:
    market = MARKETS["hours"]
    for _, intents in drive(build(name, [market.symbol]).engine, market):
        kinds = [isinstance(intent, Open) for intent in intents]
        assert kinds == sorted(kinds)


@every_engine
def test_it_decides_the_same_again(name: str) -> None:
    market = MARKETS["hours"]
    first, second = (drive(build(name, [market.symbol]).engine, market) for _ in range(2))
    assert first == second


@every_engine
def test_it_does_not_see_the_future(name: str) -> None:
    market = MARKETS["hours"]
    noise = random_walk(99, len(market), "1h", first=20.0, volatility=0.05)
    decided = drive(build(name, [market.symbol]).engine, market)
    for cut in (150, 700, 1_311, 1_999):
        elsewhere = drive(build(name, [market.symbol]).engine, joined(market, noise, cut))
        assert [w for w in elsewhere if w[0] < cut] == [w for w in decided if w[0] < cut]


@every_engine
def test_a_price_that_never_moves_is_no_reason_to_trade(name: str) -> None:
    still = np.full(600, 100.0)
    wishes = drive(build(name, ["BTC-USD"]).engine, a_table("BTC-USD", still))
    assert bool(wishes) == (name == "buy_and_hold")


@every_engine
def test_a_price_near_nothing_is_survived(name: str) -> None:
    market = random_walk(7, 2_000, first=0.2, volatility=0.04)
    assert market.close.min() < 0.05
    for _, intents in drive(build(name, [market.symbol]).engine, market):
        for intent in intents:
            assert not isinstance(intent, Open) or intent.stop is None or intent.stop > Decimal(0)
