"""The market as the guardian may ask about it, read from the book's marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt

import numpy as np

from hydra.engines.view import History
from hydra.market.instruments import Instrument
from hydra.market.sessions import is_open
from hydra.mother.moment import Moment
from hydra.portfolio.account import Touch
from hydra.portfolio.book import AccountBook
from hydra.portfolio.costs import Slippage

STALE_BARS = 3  # a touch older than so many of its bars is stale while the market is open
CORRELATION_BARS = 100
FEWEST_COMMON_BARS = 30


class BookMarket:
    """`MarketState` over an AccountBook. What it computes is kept until the next cycle."""

    def __init__(
        self,
        moment: Moment,
        book: AccountBook,
        instruments: Sequence[Instrument],
        histories: Mapping[str, History],
        slippage: Slippage | None,
    ) -> None:
        self._slippage = slippage
        self._book = book
        self._index = {one.symbol: i for i, one in enumerate(instruments)}
        self._instruments = {one.symbol: one for one in instruments}
        self._histories = histories
        self._moment = moment
        self._correlations: dict[tuple[str, str], float | None] = {}
        self._correlated_cycle = 0
        # By symbol: cycle and row of its newest bar, and the terms that hold after it.
        self._slips: dict[str, tuple[tuple[int, int], float, float]] = {}
        self.unfits: Mapping[str, str] = {}  # by symbol, of the newest cycle

    @property
    def now_ns(self) -> int:
        return self._moment.now_ns

    def instrument(self, symbol: str) -> Instrument | None:
        return self._instruments.get(symbol)

    def touch(self, symbol: str) -> Touch | None:
        bid, ask, at_ns, _ = self._book.marks[self._index[symbol]].item()
        return Touch(bid_ticks=bid, ask_ticks=ask, at_ns=at_ns) if at_ns else None

    def unfit(self, symbol: str) -> str:
        return self.unfits.get(symbol, "")

    def max_quote_age_ns(self, symbol: str) -> int:
        return STALE_BARS * self._histories[symbol].resolution_ns

    def slippage_ticks(self, symbol: str, steps: int) -> int:
        if self._slippage is None:
            return 0
        h = self._histories[symbol]
        bar = (self._moment.cycle, h.at)
        known = self._slips.get(symbol)
        if known is None or known[0] != bar:
            newest = slice(h.at, h.at + 1)
            base, impact = self._slippage.terms(
                self._instruments[symbol],
                h.close[newest],
                h.high[newest] - h.low[newest],
                h.volume[newest],
            )
            known = self._slips[symbol] = bar, float(base[0]), float(impact[0])
        return ceil(known[1] + known[2] * sqrt(max(0, steps)))

    def is_fresh(self, symbol: str) -> bool:
        """Whether an open ticket on the symbol can be valued: closed markets keep theirs."""
        at_ns = int(self._book.marks[self._index[symbol]]["at_ns"])
        if self._moment.now_ns - at_ns <= self.max_quote_age_ns(symbol):
            return True
        return not is_open(self._instruments[symbol], self._moment.now_ns)

    def correlation(self, a: str, b: str) -> float | None:
        if self._correlated_cycle != self._moment.cycle:
            self._correlated_cycle = self._moment.cycle
            self._correlations.clear()
        key = (a, b) if a < b else (b, a)
        if key not in self._correlations:
            self._correlations[key] = self._correlate(*key)
        return self._correlations[key]

    def _correlate(self, a: str, b: str) -> float | None:
        """Pearson's, of log returns over the instants that both symbols' bars share."""
        one, other = self._histories[a], self._histories[b]
        n = CORRELATION_BARS + 1
        first = slice(max(0, one.at + 1 - n), one.at + 1)
        second = slice(max(0, other.at + 1 - n), other.at + 1)
        _, i, j = np.intersect1d(
            one.open_ns[first] + one.resolution_ns,
            other.open_ns[second] + other.resolution_ns,
            assume_unique=True,
            return_indices=True,
        )
        if len(i) <= FEWEST_COMMON_BARS:
            return None
        x = np.diff(np.log(one.close[first][i]))
        y = np.diff(np.log(other.close[second][j]))
        if x.std() == 0.0 or y.std() == 0.0:
            return None
        return float(np.corrcoef(x, y)[0, 1])
