"""Whatever three venues do, a bar that is said to be fit holds all that one of them told in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

import pytest

from hydra.clock import NS_PER_S
from hydra.feeds.asset import Limits
from hydra.market.events import Listing
from tests.support.scripted_feeds import BINANCE, BYBIT, COINBASE, Script, scripted

RESOLUTION_S = 20
LIMITS = Limits(stale_s=5, failover_s=3, return_s=40, apart_bps=Decimal(10**9))


@dataclass
class Market:
    """One venue at its own price level, whose connection stalls and breaks by chance.

    What is told while it stalls comes at once afterwards; while it is broken it is lost. Its clock
    is ahead of ours by up to 3 s.
    """

    script: Script
    listing: Listing
    level: float
    rng: Random
    ahead_ns: int
    traded: list[tuple[int, float]] = field(default_factory=list)  # all of it, by the venue's clock
    held: list[tuple[int, float | None]] = field(default_factory=list)  # a trade, or None: a quote
    stalls_s: int = 0
    broken_s: int = 0

    def second(self) -> None:
        rng, now_ns = self.rng, self.script.time.now_ns()
        self.held.append((now_ns + self.ahead_ns, None))
        for _ in range(rng.choice((0, 1, 3))):
            price = round(self.level + rng.randrange(1_000) / 100, 2)
            venue_ns = now_ns + self.ahead_ns - rng.randrange(NS_PER_S)  # in the second before
            self.traded.append((venue_ns, price))
            self.held.append((venue_ns, price))
        self.traded.sort()
        self.held.sort(key=lambda told: told[0])
        if self.broken_s:
            self.broken_s -= 1
            self.held.clear()
            if not self.broken_s:
                self.script.snapshot(self.listing)
        elif self.stalls_s:
            self.stalls_s -= 1
        elif rng.random() < 0.01:
            self.broken_s = rng.randrange(1, 30)
            self.script.void(self.listing)
            self.held.clear()
        elif rng.random() < 0.03:
            self.stalls_s = rng.randrange(1, 12)
        if not self.stalls_s and not self.broken_s:
            for venue_ns, traded in self.held:
                lag_s = (now_ns - venue_ns) / NS_PER_S
                if traded is None:
                    self.script.quote(self.listing, self.level, lag_s)
                else:
                    self.script.trade(self.listing, traded, lag_s)
            self.held.clear()

    def bar(self, close_ns: int) -> list[float]:
        """The prices traded in the bar that closes then."""
        open_ns = close_ns - RESOLUTION_S * NS_PER_S
        return [price for at_ns, price in self.traded if open_ns <= at_ns < close_ns]


@pytest.mark.parametrize("seed", range(5))
async def test_a_fit_bar_is_all_of_one_venue_and_lacks_nothing(seed: int) -> None:
    listings = (COINBASE, BINANCE, BYBIT)
    async with scripted(
        *listings, resolution_ns=RESOLUTION_S * NS_PER_S, limits=LIMITS
    ) as script:  # fmt: skip
        markets = {
            listing.source: Market(
                script,
                listing,
                level=100.0 * (n + 1),
                rng=Random(100 * seed + n),
                ahead_ns=(seed + n) % 4 * NS_PER_S,
            )
            for n, listing in enumerate(listings)
        }
        for _ in range(600):
            for market in markets.values():
                market.second()
            await script.time.run(1)

    fit = 0
    for minute in script.minutes:
        bar = minute.bars.get("BTC-USD")
        if bar is None:
            assert minute.fit["BTC-USD"]
            continue
        market = markets[bar.source]
        ohlc = [round(float(x[0]), 9) for x in (bar.open, bar.high, bar.low, bar.close)]
        assert all(market.level - 0.01 <= price < market.level + 10 for price in ohlc)
        if not minute.fit["BTC-USD"]:
            fit += 1
            traded = market.bar(minute.close_ns)
            assert bar.volume.tolist() == [len(traded)]
            if traded:
                assert ohlc == [traded[0], max(traded), min(traded), traded[-1]]
    closes = [minute.close_ns for minute in script.minutes]
    assert closes == sorted(set(closes))
    assert len(closes) == 29
    assert fit >= 8
    assert script.switches
