"""The logic of each rule engine, on features that are chosen by hand."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from hydra.engines.protocol import Engine
from hydra.engines.rules.buy_and_hold import BuyAndHold
from hydra.engines.rules.common import bars_per_year, enter
from hydra.engines.rules.donchian_breakout import DonchianBreakout
from hydra.engines.rules.ema_trend import EmaTrend
from hydra.engines.rules.flat import Flat
from hydra.engines.rules.mean_reversion import MeanReversion
from hydra.engines.rules.previous_day_breakout import PreviousDayBreakout
from hydra.engines.rules.time_series_momentum import TimeSeriesMomentum
from hydra.engines.rules.volatility_targeted_trend import VolatilityTargetedTrend
from hydra.engines.view import History, View
from hydra.market.instruments import UNITS_PER_USD
from hydra.market.timeframes import timeframe_ns
from hydra.portfolio.intents import Close, Intent, Open, Side, Ticket
from tests.support.bars import START_NS, a_table
from tests.support.engine_driver import BTC, ToyAccount


def a_view(
    *tickets: Ticket, close: float = 100.0, symbol: str = "BTC-USD", resolution: str = "1d"
) -> View:
    t = a_table("BTC-USD", [close], resolution, instrument=BTC)
    history = History(
        instrument=t.instrument,
        resolution_ns=t.resolution_ns,
        open_ns=t.open_ns,
        open=t.open,
        high=t.high,
        low=t.low,
        close=t.close,
        volume=t.volume,
        bid_close=t.bid_close,
        ask_close=t.ask_close,
        at=0,
    )
    return View(
        symbol=symbol,
        instrument=t.instrument,
        _history=history,
        account=ToyAccount(tickets=tickets),
        tickets=tickets,
    )


def a_ticket(side: Side, *, entry_ns: int = START_NS, is_open: bool = True) -> Ticket:
    return Ticket(
        id=4,
        symbol="BTC-USD",
        side=side,
        lots=Decimal(1),
        stop=None,
        target=None,
        is_open=is_open,
        entry=Decimal(100) if is_open else None,
        entry_ns=entry_ns,
    )


def decided(engine: Engine, features: Sequence[float], view: View) -> tuple[Intent, ...]:
    assert len(features) == len(engine.features)
    view.features = tuple(float(f) for f in features)
    intents = engine.decide(view)
    assert isinstance(intents, Sequence)
    return tuple(intents)


def opened(intents: Sequence[Intent]) -> Open:
    assert len(intents) == 1
    (intent,) = intents
    assert isinstance(intent, Open)
    return intent


LONG, SHORT = a_ticket(Side.BUY), a_ticket(Side.SELL)


class TestEmaTrend:
    UP, DOWN, STILL_UP = (101, 100, 99, 100, 2), (99, 100, 101, 100, 2), (102, 100, 101, 100, 2)

    def test_it_follows_the_crossing_with_a_stop_of_three_true_ranges(self) -> None:
        long = opened(decided(EmaTrend(), self.UP, a_view()))
        short = opened(decided(EmaTrend(), self.DOWN, a_view()))
        assert (long.side, long.stop) == (Side.BUY, Decimal(94))
        assert (short.side, short.stop) == (Side.SELL, Decimal(106))
        assert long.thesis == "EMA12 101 crossed above EMA26 100, ATR 2"

    def test_it_speaks_on_the_crossing_bar_only(self) -> None:
        assert decided(EmaTrend(), self.STILL_UP, a_view()) == ()
        assert decided(EmaTrend(), self.UP, a_view(LONG)) == ()
        assert decided(EmaTrend(), self.UP, a_view(a_ticket(Side.BUY, is_open=False))) == ()

    def test_a_crossing_against_it_turns_the_position(self) -> None:
        close, open_ = decided(EmaTrend(), self.DOWN, a_view(LONG))
        assert isinstance(close, Close)
        assert close.ticket == LONG.id
        assert isinstance(open_, Open)
        assert open_.side == Side.SELL


class TestDonchianBreakout:
    @staticmethod
    def features(close: float, before: float = 100) -> tuple[float, ...]:
        """Entry channel 90 to 110 on both bars, exit channel 95 to 105, N 2."""
        return (close, 110, 90, before, 110, 90, 105, 95, 2)

    def test_it_joins_the_first_close_outside_the_channel(self) -> None:
        up = opened(decided(DonchianBreakout(), self.features(111), a_view(close=111)))
        down = opened(decided(DonchianBreakout(), self.features(89), a_view(close=89)))
        assert (up.side, up.stop) == (Side.BUY, Decimal(107))
        assert (down.side, down.stop) == (Side.SELL, Decimal(93))
        assert decided(DonchianBreakout(), self.features(112, 111), a_view()) == ()
        assert decided(DonchianBreakout(), self.features(110), a_view()) == ()

    def test_it_leaves_beyond_the_opposite_exit_channel(self) -> None:
        engine = DonchianBreakout()
        assert [type(i) for i in decided(engine, self.features(94), a_view(LONG))] == [Close]
        assert decided(engine, self.features(94), a_view(SHORT)) == ()
        assert [type(i) for i in decided(engine, self.features(106), a_view(SHORT))] == [Close]
        assert decided(engine, self.features(95), a_view(LONG)) == ()


class TestMeanReversion:
    @staticmethod
    def features(
        close: float, rsi: float, before: float = 100, rsi_before: float = 50
    ) -> tuple[float, ...]:
        """Bands 96, 100, 104 on both bars; ATR 1."""
        return (close, 96, 100, 104, rsi, before, 96, 104, rsi_before, 1)

    def test_it_fades_a_close_outside_the_bands_that_the_rsi_confirms(self) -> None:
        long = opened(decided(MeanReversion(), self.features(95, 25), a_view(close=95)))
        short = opened(decided(MeanReversion(), self.features(105, 75), a_view(close=105)))
        assert (long.side, long.stop, long.target) == (Side.BUY, Decimal(92), Decimal(100))
        assert (short.side, short.stop, short.target) == (Side.SELL, Decimal(108), Decimal(100))
        assert decided(MeanReversion(), self.features(95, 35), a_view(close=95)) == ()

    def test_it_speaks_once_while_the_price_stays_outside(self) -> None:
        assert decided(MeanReversion(), self.features(94, 20, 95, 25), a_view(close=94)) == ()
        late = self.features(94, 29, 95, 31)  # outside before, oversold only now
        assert opened(decided(MeanReversion(), late, a_view(close=94))).side == Side.BUY

    def test_it_leaves_at_the_mean(self) -> None:
        engine = MeanReversion()
        assert [type(i) for i in decided(engine, self.features(100, 50), a_view(LONG))] == [Close]
        assert decided(engine, self.features(99, 50), a_view(LONG)) == ()
        assert [type(i) for i in decided(engine, self.features(99, 50), a_view(SHORT))] == [Close]


class TestTimeSeriesMomentum:
    def test_it_takes_the_sign_of_the_return_at_each_turn(self) -> None:
        engine = TimeSeriesMomentum()
        assert opened(decided(engine, (210, 0.1, 0.02, 2), a_view())).side == Side.BUY
        assert opened(decided(engine, (210, -0.1, 0.02, 2), a_view())).side == Side.SELL
        assert decided(engine, (211, 0.1, 0.02, 2), a_view()) == ()
        assert decided(engine, (210, 0.1, 0.02, 2), a_view(LONG)) == ()
        assert [type(i) for i in decided(engine, (210, -0.1, 0.02, 2), a_view(LONG))] == [
            Close,
            Open,
        ]

    def test_its_size_gives_the_volatility_it_aims_at(self) -> None:
        # 2 % a day is 38.2 % a year: a notional of 1.0465 equities, of which 5 ATR are 10 %.
        intent = opened(decided(TimeSeriesMomentum(), (21, 0.1, 0.02, 2), a_view()))
        assert intent.risk_frac is not None
        assert float(intent.risk_frac) == pytest.approx(0.4 / (0.02 * 365.25**0.5) * 0.1, abs=1e-8)

    def test_symbols_share_the_volatility(self) -> None:
        alone, shared = a_view(), a_view()
        shared.market = {"A": alone, "B": alone, "C": alone, "D": alone}
        whole = opened(decided(TimeSeriesMomentum(), (21, 0.1, 0.02, 2), alone)).risk_frac
        part = opened(decided(TimeSeriesMomentum(), (21, 0.1, 0.02, 2), shared)).risk_frac
        assert whole is not None
        assert part is not None
        assert float(part) == pytest.approx(float(whole) / 4, abs=1e-8)


class TestVolatilityTargetedTrend:
    @staticmethod
    def features(forecast: float, before: float) -> tuple[float, ...]:
        """Forecasts at price 100, 1 % a bar: 3.75 × (fast - slow) ÷ 1."""
        return (100 + forecast / 3.75, 100, 100, 0.01, 100 + before / 3.75, 100, 100, 0.01, 2)

    def test_it_enters_when_the_forecast_becomes_stronger_than_average(self) -> None:
        engine = VolatilityTargetedTrend()
        assert opened(decided(engine, self.features(12, 8), a_view())).side == Side.BUY
        assert opened(decided(engine, self.features(-12, -8), a_view())).side == Side.SELL
        assert decided(engine, self.features(13, 12), a_view()) == ()
        assert decided(engine, self.features(8, 4), a_view()) == ()

    def test_a_stronger_forecast_risks_more_up_to_twice_the_average(self) -> None:
        def risk(forecast: float) -> float:
            frac = opened(
                decided(VolatilityTargetedTrend(), self.features(forecast, 0), a_view())
            ).risk_frac
            assert frac is not None
            return float(frac)

        assert risk(15) == pytest.approx(0.25 * 1.5 / (0.01 * 365.25**0.5) * 0.08, abs=1e-7)
        assert risk(40) == pytest.approx(risk(20), abs=1e-7)

    def test_it_leaves_when_the_forecast_changes_sign(self) -> None:
        engine = VolatilityTargetedTrend()
        assert [type(i) for i in decided(engine, self.features(-1, 2), a_view(LONG))] == [Close]
        assert decided(engine, self.features(1, 2), a_view(LONG)) == ()


class TestPreviousDayBreakout:
    @staticmethod
    def features(close: float, before: float = 100, minutes: float = 60) -> tuple[float, ...]:
        """Yesterday 90 to 110; ATR 1."""
        return (close, before, 110, 90, minutes, 1)

    def test_it_joins_a_close_that_leaves_yesterdays_range(self) -> None:
        engine = PreviousDayBreakout()
        up = opened(decided(engine, self.features(111), a_view(close=111)))
        down = opened(decided(engine, self.features(89), a_view(close=89)))
        assert (up.side, up.stop) == (Side.BUY, Decimal(101))
        assert (down.side, down.stop) == (Side.SELL, Decimal(99))
        assert decided(engine, self.features(112, 111), a_view()) == ()

    def test_its_stop_is_at_least_two_true_ranges(self) -> None:
        engine = PreviousDayBreakout(stop_range_frac=0.01)
        up = opened(decided(engine, self.features(111), a_view(close=111)))
        assert up.stop == Decimal(109)

    def test_it_leaves_after_the_first_bar_of_the_next_day(self) -> None:
        view = a_view(LONG, resolution="1h")  # it is 01:00, an hour into the data
        engine = PreviousDayBreakout()
        assert decided(engine, self.features(100, minutes=60), view) == ()
        yesterday = a_ticket(Side.BUY, entry_ns=START_NS - 1)
        view.tickets = (yesterday,)
        assert [type(i) for i in decided(engine, self.features(100, minutes=60), view)] == [Close]


class TestReferences:
    def test_buy_and_hold_spends_an_equal_share_of_its_opening_equity_once(self) -> None:
        engine = BuyAndHold(symbols=("BTC-USD", "ETH-USDT"))
        intent = opened(decided(engine, (), a_view(close=99.99)))
        assert (intent.lots, intent.stop) == (Decimal(125), None)
        assert decided(engine, (), a_view(close=99.99)) == ()

        richer = a_view(close=99.99, symbol="ETH-USDT")
        richer.account = ToyAccount(equity_units=90_000 * UNITS_PER_USD)
        assert opened(decided(engine, (), richer)).lots == Decimal(125)

    def test_flat_stays_flat(self) -> None:
        assert decided(Flat(), (), a_view()) == ()


def test_nothing_is_opened_whose_stop_or_target_lies_inside_the_spread() -> None:
    assert enter(a_view(), Side.BUY, stop_distance=0.01, thesis="x") == ()
    assert enter(a_view(), Side.SELL, stop_distance=0.01, thesis="x") == ()
    assert enter(a_view(), Side.BUY, stop_distance=1, target=100.01, thesis="x") == ()
    assert enter(a_view(), Side.BUY, stop_distance=101, thesis="a stop below zero") == ()
    turned = enter(a_view(SHORT), Side.BUY, stop_distance=0.01, thesis="x")
    assert [type(i) for i in turned] == [Close]


def test_years_have_bars_by_their_calendar() -> None:
    day_ns, hour_ns = timeframe_ns("1d"), timeframe_ns("1h")
    assert bars_per_year("24/7", day_ns) == 365.25
    assert bars_per_year("fx", hour_ns) == pytest.approx(6_261.4, abs=0.1)
    assert bars_per_year("XNYS", day_ns) == 252
    assert bars_per_year("XNYS", hour_ns) == 252 * 6.5
