"""Whether prices may be traded on, by hand-worked cases at each rule's edge."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.feeds.fitness import Fit, Fitness, Rule, Unfit
from hydra.market.events import Down, Listing, NoQuote, Quote, Resync, Side, Trade

HERE = Listing(
    source="coinbase", symbol="BTC-USD", venue_symbol="BTC-USD", price_decimals=2, size_decimals=8
)
THERE = Listing(
    source="binance", symbol="BTC-USD", venue_symbol="BTCUSDT", price_decimals=8, size_decimals=8
)


def quote(listing: Listing, bid: str, ask: str, second: float = 0) -> Quote:
    at_ns = round(second * NS_PER_S)
    return Quote(
        listing=listing, bid_ticks=listing.ticks(bid), bid_steps=1, ask_ticks=listing.ticks(ask),
        ask_steps=1, at_ns=at_ns, venue_ns=at_ns,
    )  # fmt: skip


def fitness(second: Listing | None = THERE) -> Fitness:
    return Fitness(HERE, second, stale_s=10, apart_bps=Decimal(50))


def test_a_symbol_nobody_has_told_of_is_unfit() -> None:
    assert fitness().judge(0) == Unfit(
        "BTC-USD", Rule.NO_QUOTE, "coinbase has no quote: none came yet"
    )


@pytest.mark.parametrize("ns_late", [0, 1])
def test_stale_by_age_at_the_edge(ns_late: int) -> None:
    judge = fitness(None)
    judge.hear(quote(HERE, "100.00", "100.10", 5))

    verdict = judge.judge(15 * NS_PER_S + ns_late)

    stale = Unfit("BTC-USD", Rule.STALE, "nothing of coinbase for 10.0 s, limit 10 s")
    assert verdict == (stale if ns_late else Fit("BTC-USD", compared=False))


def test_any_word_of_the_listing_keeps_its_quote_fresh() -> None:
    judge = fitness(None)
    judge.hear(quote(HERE, "100.00", "100.10", 0))
    judge.hear(Trade(
        listing=HERE, trade_id="1", price_ticks=10_000, size_steps=1, aggressor=Side.SELL,
        at_ns=9 * NS_PER_S, venue_ns=0,
    ))  # fmt: skip

    assert judge.judge(19 * NS_PER_S) == Fit("BTC-USD", compared=False)
    assert isinstance(judge.judge(19 * NS_PER_S + 1), Unfit)


@pytest.mark.parametrize("ask", ["100.00", "99.99"])
def test_crossed_or_locked(ask: str) -> None:
    judge = fitness(None)
    judge.hear(quote(HERE, "100.00", ask))

    assert judge.judge(0) == Unfit("BTC-USD", Rule.CROSSED, f"bid 100.00 is not below ask {ask}")


def test_a_withdrawn_quote_and_a_void_book_are_no_quote() -> None:
    for gone in (
        NoQuote(listing=HERE, reason="no asks", at_ns=1),
        Resync(listing=HERE, reason="gap", at_ns=1),
    ):
        judge = fitness(None)
        judge.hear(quote(HERE, "100.00", "100.10"))
        judge.hear(gone)
        assert judge.judge(2) == Unfit(
            "BTC-USD", Rule.NO_QUOTE, f"coinbase has no quote: {gone.reason}"
        )


@pytest.mark.parametrize(
    ("bid", "ask", "apart_bps"),
    [("100.45", "100.55", None), ("100.46", "100.56", "51.0"), ("99.44", "99.54", "51.0")],
)
def test_a_price_that_left_the_second_source_behind(
    bid: str, ask: str, apart_bps: str | None
) -> None:
    """The second's middle is 100.00; 50 bps of it are 0.50."""
    judge = fitness()
    judge.hear(quote(THERE, "99.95", "100.05"))
    judge.hear(quote(HERE, bid, ask))

    verdict = judge.judge(0)

    if apart_bps is None:
        assert verdict == Fit("BTC-USD", compared=True)
    else:
        assert isinstance(verdict, Unfit)
        assert verdict.rule is Rule.APART
        middle = (Decimal(bid) + Decimal(ask)) / 2
        assert verdict.reason.startswith(f"coinbase {middle} is {apart_bps} bps from binance 100.0")
        assert verdict.reason.endswith("limit 50")


def test_a_second_source_that_is_silent_or_void_has_no_say() -> None:
    judge = fitness()
    judge.hear(quote(THERE, "50.00", "50.10", 0))
    judge.hear(quote(HERE, "100.00", "100.10", 11))
    assert judge.judge(11 * NS_PER_S) == Fit("BTC-USD", compared=False)

    judge.hear(quote(THERE, "50.00", "50.10", 11))
    assert isinstance(judge.judge(11 * NS_PER_S), Unfit)
    judge.hear(Resync(listing=THERE, reason="gap", at_ns=11 * NS_PER_S))
    assert judge.judge(11 * NS_PER_S) == Fit("BTC-USD", compared=False)


def test_a_connection_that_ended_is_heard_through_its_resyncs() -> None:
    judge = fitness(None)
    judge.hear(quote(HERE, "100.00", "100.10"))
    judge.hear(Down(source="coinbase", reason="hung up", at_ns=1))

    assert judge.judge(2) == Fit("BTC-USD", compared=False)


def test_limits_and_sources_that_make_no_sense_are_refused() -> None:
    for stale_s in (0.0, float("nan")):
        with pytest.raises(ConfigError):
            Fitness(HERE, stale_s=stale_s)
    with pytest.raises(ConfigError):
        Fitness(HERE, stale_s=1, apart_bps=Decimal(0))
    with pytest.raises(ConfigError, match="vouch for itself"):
        Fitness(HERE, HERE, stale_s=1)
