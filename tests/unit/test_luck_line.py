from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hydra.errors import ConfigError
from hydra.tournament.luck import LuckMarket, LuckTrades, chance_of_wins, luck_line


def trades(
    symbol: list[int],
    hold: list[int],
    side: list[int],
    *,
    notional: float = 1000.0,
    cost: float = 0.0,
    pnl: float = 0.0,
) -> LuckTrades:
    count = len(symbol)
    return LuckTrades(
        symbol=np.array(symbol, np.int64),
        hold_bars=np.array(hold, np.int64),
        side=np.array(side, np.int64),
        notional_usd=np.full(count, notional),
        cost_usd=np.full(count, cost),
        pnl_usd=np.full(count, pnl),
    )


def market(*symbols: list[float], spread: float = 0.0) -> LuckMarket:
    closes = [np.array(closes) for closes in symbols]
    return LuckMarket([(c - spread / 2, c + spread / 2) for c in closes])


def test_where_price_stands_still_every_trader_pays_spread_and_costs() -> None:
    line = luck_line(market([100.0] * 50, spread=0.2), trades([0], [5], [1], cost=0.5), seed=1)
    expected = 1000.0 * (99.9 / 100.1 - 1.0) - 0.5

    assert line.p5_usd == line.p50_usd == line.p95_usd == pytest.approx(expected)
    assert line.percentile == 100.0  # an engine that lost nothing beat them all


def test_a_short_sells_the_bid_and_buys_the_ask() -> None:
    line = luck_line(market([100.0] * 50, spread=0.2), trades([0], [5], [-1]), seed=1)

    assert line.p50_usd == pytest.approx(1000.0 * (1.0 - 100.1 / 99.9))


def test_each_trade_keeps_its_symbol_and_its_holding_time() -> None:
    rising, falling = [2.0**n for n in range(10)], [2.0**-n for n in range(20)]
    line = luck_line(market(rising, falling), trades([0, 1], [3, 2], [1, -1]), seed=1)

    # Up by 2**3 wherever it was bought, down to a quarter wherever it was sold.
    assert line.p5_usd == line.p95_usd == pytest.approx(1000.0 * 7 + 1000.0 * 0.75)


def test_entries_are_spread_over_all_bars_that_leave_room() -> None:
    prices = [float(n) for n in range(1, 12)]  # 11 bars, held 1: ten entries
    traders = luck_line(market(prices), trades([0], [1], [1]), seed=3, traders=20_000)

    assert traders.p50_usd == pytest.approx(1000.0 / 5.5, rel=0.1)
    assert traders.p95_usd == pytest.approx(1000.0)  # the first bar, one in ten
    assert traders.p5_usd == pytest.approx(100.0)  # the last with room, one in ten


def test_ties_count_half() -> None:
    line = luck_line(market([100.0] * 9), trades([0], [1], [1], pnl=0.0), seed=1)

    assert line.percentile == 50.0


def test_a_trade_inside_its_bar_counts_as_one_bar_and_an_endless_one_as_all() -> None:
    prices = [1.0, 2.0, 4.0]

    assert luck_line(market(prices), trades([0], [0], [1]), seed=1).p50_usd == 1000.0
    assert luck_line(market(prices), trades([0], [99], [1]), seed=1).p50_usd == 3000.0


def test_without_trades_there_is_no_line_but_a_reason() -> None:
    for line in (
        luck_line(market([1.0, 2.0]), trades([], [], []), seed=1),
        luck_line(market([1.0]), trades([0], [1], [1]), seed=1),
    ):
        assert (line.p50_usd, line.percentile) == (None, None)
        assert line.reason == "no closed trades"


def test_the_same_seed_gives_the_same_line_and_more_traders_keep_the_first() -> None:
    prices = np.exp(np.random.default_rng(1).normal(0.0, 0.01, 500).cumsum()).tolist()
    made = trades([0] * 20, [7] * 20, [1, -1] * 10, pnl=1.0)

    assert luck_line(market(prices), made, seed=5) == luck_line(market(prices), made, seed=5)
    assert luck_line(market(prices), made, seed=5) != luck_line(market(prices), made, seed=6)


def test_bids_without_asks_are_refused() -> None:
    with pytest.raises(ConfigError, match="symbol 0 has 3 bids and 2 asks"):
        LuckMarket([(np.ones(3), np.ones(2))])


def test_a_loaded_coin_and_impossible_counts() -> None:
    assert chance_of_wins(0, 0) == 1.0
    assert chance_of_wins(2, 2, Fraction(1, 3)) == pytest.approx(1 / 9)
    with pytest.raises(ValueError, match="3 wins of 2"):
        chance_of_wins(3, 2)
