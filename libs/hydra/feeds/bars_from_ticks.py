"""Bars out of a live feed's trades and quotes.

A bar holds what happened, by the venue's clock, from its open until before its close, and is
closed by ours: at `close + grace`, whether or not anything happened. Once closed it never changes;
what comes later for it is counted and left aside. All of a bar is from one venue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hydra.clock import NS_PER_S
from hydra.feeds.tables import table_of_trades
from hydra.market.bars import BarTable, Float64, Int64
from hydra.market.events import BookChange, Event, Listing, NoQuote, Quote, Resync, Trade
from hydra.market.instruments import Instrument

LEAD_NS = 5 * NS_PER_S  # how far a venue's clock may be ahead of ours


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """A bar as a table of one row, and what to think of it."""

    table: BarTable
    trades: int
    is_whole: bool  # the feed was sound all the while: no time between Resync and snapshot


class _Sides:
    """Open, high, low and close of bid and ask, in ticks of the listing."""

    __slots__ = ("ask", "bid")

    def __init__(self, bid: int, ask: int) -> None:
        self.bid = [bid] * 4
        self.ask = [ask] * 4

    def add(self, bid: int, ask: int) -> None:
        for side, ticks in ((self.bid, bid), (self.ask, ask)):
            side[1] = max(side[1], ticks)
            side[2] = min(side[2], ticks)
            side[3] = ticks

    def after(self, bid: int, ask: int) -> None:
        """Put the quote that stood when the bar opened before all others."""
        for side, ticks in ((self.bid, bid), (self.ask, ask)):
            side[0] = ticks
            side[1] = max(side[1], ticks)
            side[2] = min(side[2], ticks)


class _Open:
    """A bar in the making."""

    __slots__ = ("is_whole", "quote_ends", "sides", "standing", "steps", "traded", "trades")

    def __init__(self) -> None:
        self.sides: _Sides | None = None
        self.standing: tuple[int, int] | None = None  # the last bid and ask that came in it
        self.quote_ends = False  # the quote was withdrawn and none came since
        self.traded: list[int] = []  # open, high, low, close of trades, in ticks of the listing
        self.trades = 0
        self.steps = 0
        self.is_whole = True


class BarBuilder:
    """Builds the bars of one instrument at one resolution from one venue's events at a time."""

    def __init__(
        self,
        instrument: Instrument,
        listing: Listing,
        resolution_ns: int,
        *,
        start_ns: int,
        grace_s: float = 0.0,
    ) -> None:
        """The first bar is the first that opens at `start_ns` or later: none is half heard.

        `grace_s`: how long after its close a bar waits for what is still on its way.
        """
        self.instrument = instrument
        self.late = 0  # trades and quotes of bars already closed
        self.ahead = 0  # trades and quotes further in the future than LEAD_NS
        self._listing = listing
        self._successor: tuple[int, Listing] | None = None  # from the bar of that open on
        self._inherited: tuple[int, int] | None = None  # the quote that will stand at its open
        self._resolution_ns = resolution_ns
        self._grace_ns = round(grace_s * NS_PER_S)
        self._first = -(-start_ns // resolution_ns)
        self._due = self._first  # number of the next bar to close
        self._bars: dict[int, _Open] = {}
        self._carried: tuple[int, int] | None = None  # the quote that stands at the due bar's open
        self._is_sound = True  # no Resync since the last snapshot
        self._depths: dict[int, Int64] = {}  # by number of the bar

    @property
    def listing(self) -> Listing:
        """The venue of the bar that closes next."""
        return self._listing

    def unseen(self, at_ns: int) -> Listing | None:
        """Whose book is to be shown to `see`, for the bar that is open at the instant; None where
        it was shown."""
        number = at_ns // self._resolution_ns
        if number in self._depths or number < self._due:
            return None
        return self._listing_of(number)

    def see(self, at_ns: int, depth: Int64) -> None:
        """The depth (see BarTable) of the bar that is open at the instant."""
        self._depths[at_ns // self._resolution_ns] = depth

    def switch(self, listing: Listing, at_ns: int, standing: tuple[int, int] | None = None) -> None:
        """Take another venue from the first bar that opens after `at_ns` on. `standing`: its bid
        and ask as they are now, in its ticks."""
        first = at_ns // self._resolution_ns + 1
        self._inherited = standing
        if first <= self._due:  # which has not opened yet
            self._take(listing)
            self._bars.clear()
        else:
            self._successor = first, listing

    def feed(self, event: Event) -> Sequence[ClosedBar]:
        """The bars that closed before the event arrived; the event counts in its own. Events of
        other listings only tell the time."""
        closed = self.tick(event.at_ns)
        match event:
            case Quote() | Trade():
                self._add(event)
            case NoQuote(listing=listing) if listing == self._listing:
                self._withdraw(event.at_ns)
            case NoQuote(listing=listing) | Resync(listing=listing) if self._is_next(listing):
                self._inherited = None
            case Resync(listing=listing) if listing == self._listing:
                self._withdraw(event.at_ns)
                self._is_sound = False
            case BookChange(listing=listing, snapshot=True) if listing == self._listing:
                if not self._is_sound:
                    self._spoil(event.at_ns)
                self._is_sound = True
        return closed

    def tick(self, now_ns: int) -> Sequence[ClosedBar]:
        """The bars that are closed by now, oldest first. An interval in which nothing happened
        has a bar as long as a quote stands, and none otherwise."""
        closed: list[ClosedBar] = []
        while (self._due + 1) * self._resolution_ns + self._grace_ns <= now_ns:
            bar = self._bars.pop(self._due, None) or _Open()
            made = self._close(bar, self._depths.pop(self._due, None))
            if made is not None:
                closed.append(made)
            if bar.standing is not None or bar.quote_ends:
                self._carried = bar.standing
            self._due += 1
            if self._successor is not None and self._due >= self._successor[0]:
                self._take(self._successor[1])
        return closed

    def _take(self, listing: Listing) -> None:
        self._listing = listing
        self._successor = None
        self._carried, self._inherited = self._inherited, None
        self._is_sound = True

    def _is_next(self, listing: Listing) -> bool:
        return self._successor is not None and self._successor[1] == listing

    def _listing_of(self, number: int) -> Listing:
        """Whose bar it is."""
        if self._successor is not None and number >= self._successor[0]:
            return self._successor[1]
        return self._listing

    def _add(self, event: Quote | Trade) -> None:
        number = event.venue_ns // self._resolution_ns
        if event.listing != self._listing_of(number):
            if isinstance(event, Quote) and self._is_next(event.listing):
                self._inherited = event.bid_ticks, event.ask_ticks
            return
        if event.venue_ns > event.at_ns + LEAD_NS:
            self.ahead += 1
            return
        if number < self._due:
            self.late += number >= self._first
            if isinstance(event, Quote) and not self._bars:
                self._carried = event.bid_ticks, event.ask_ticks  # late for its bar, yet it stands
            return
        bar = self._bars.setdefault(number, _Open())
        if isinstance(event, Quote):
            bid, ask = event.bid_ticks, event.ask_ticks
            if bar.sides is None:
                bar.sides = _Sides(bid, ask)
            else:
                bar.sides.add(bid, ask)
            bar.standing, bar.quote_ends = (bid, ask), False
            return
        ticks = event.price_ticks
        first, high, low = (bar.traded or [ticks] * 4)[:3]
        bar.traded = [first, max(high, ticks), min(low, ticks), ticks]
        bar.trades += 1
        bar.steps += event.size_steps

    def _withdraw(self, at_ns: int) -> None:
        """The standing quote is no more."""
        if at_ns < self._due * self._resolution_ns:
            self._carried = None
        else:
            self._bars.setdefault(self._due, _Open())
        for bar in self._bars.values():
            bar.standing, bar.quote_ends = None, True

    def _spoil(self, at_ns: int) -> None:
        """Some of what happened until now in the bars that are open was not heard."""
        if at_ns >= self._due * self._resolution_ns:
            self._bars.setdefault(self._due, _Open())
        for bar in self._bars.values():
            bar.is_whole = False

    def _close(self, bar: _Open, depth: Int64 | None) -> ClosedBar | None:
        sides = bar.sides
        if self._carried is not None:
            if sides is None:
                sides = _Sides(*self._carried)
            else:
                sides.after(*self._carried)
        if sides is None and not bar.traded:
            return None
        open_ns = np.array([self._due * self._resolution_ns], np.int64)
        volume = float(self._listing.size(bar.steps)) if self._listing.has_trades else np.nan
        ohlc = [self._price(ticks) for ticks in bar.traded]
        if sides is None:
            table = table_of_trades(
                self.instrument, self._resolution_ns, self._listing.source, open_ns, ohlc,
                np.array([volume]),
            )  # fmt: skip
        else:
            # A tick coarser than the venue's is rounded against whoever trades.
            grid = Fraction(self._listing.price(1)) / Fraction(self.instrument.tick_size)
            bid = [np.array([max(ticks * grid // 1, 1)], np.int64) for ticks in sides.bid]
            ask = [np.array([-(-ticks * grid // 1)], np.int64) for ticks in sides.ask]
            if not ohlc:
                ohlc = [
                    (self._price(b) + self._price(a)) / 2
                    for b, a in zip(sides.bid, sides.ask, strict=True)
                ]
            table = BarTable(
                instrument=self.instrument,
                resolution_ns=self._resolution_ns,
                source=self._listing.source,
                open_ns=open_ns,
                bid_open=bid[0], bid_high=bid[1], bid_low=bid[2], bid_close=bid[3],
                ask_open=ask[0], ask_high=ask[1], ask_low=ask[2], ask_close=ask[3],
                open=ohlc[0], high=ohlc[1], low=ohlc[2], close=ohlc[3],
                volume=np.array([volume]),
                real_spread=True,
                depth=None if depth is None else depth[np.newaxis],
            )  # fmt: skip
        return ClosedBar(table, bar.trades, bar.is_whole and self._is_sound)

    def _price(self, ticks: int) -> Float64:
        return np.array([float(self._listing.price(ticks))])
