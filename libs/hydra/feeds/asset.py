"""One asset at several venues: its bars, from one of them at a time, and whether it is fit.

Bars come from the most preferred venue that is of use. When it is not, another one takes over
from a bar's open on, and the preferred one comes back once it has proved steady.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import permutations
from typing import NamedTuple

from hydra.clock import NS_PER_S, iso
from hydra.errors import ConfigError
from hydra.feeds.bars_from_ticks import LEAD_NS, BarBuilder, ClosedBar
from hydra.feeds.depth import depth_of
from hydra.feeds.fitness import Fit, Fitness, Rule, Unfit
from hydra.market.bars import BarTable
from hydra.market.events import BookChange, Listing, NoQuote, Quote, Resync, Trade
from hydra.market.instruments import Instrument
from hydra.market.orderbook import OrderBook

BookOf = Callable[[Listing], OrderBook | None]
Told = Quote | NoQuote | Trade | BookChange | Resync


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a venue is of no use, and for how long before something is done about it."""

    grace_s: float = 2.0  # how long after its close a bar waits for what is on its way
    stale_s: float = 5.0  # a listing of which nothing was heard for longer is stale
    stale_s_at: Mapping[str, float] = field(default_factory=lambda: {"oanda": 15.0})  # by venue
    # How long a sound venue may tell of no time at all: OANDA's heartbeats come every 5 s.
    quiet_s_at: Mapping[str, float] = field(default_factory=lambda: {"oanda": 6.0})
    failover_s: float = 10.0  # stale or without a quote for so long: another venue takes over
    return_s: float = 300.0  # a preferred venue that was fit for so long takes over again
    apart_bps: Decimal = Decimal(100)  # between venues; leaves room for USD against USDT

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        for name in ("grace_s", "failover_s", "return_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be a number of seconds, at least 0")

    def stale_s_of(self, source: str) -> float:
        return self.stale_s_at.get(source, self.stale_s)

    def quiet_ns_of(self, source: str) -> int:
        return round(self.quiet_s_at.get(source, 0.0) * NS_PER_S)


class Switch(NamedTuple):
    """Another venue takes over an asset's bars."""

    symbol: str
    was: str
    now: str
    reason: str
    at_ns: int  # when it was decided; the bar that is open then stays whole of the old venue


class _Source:
    """One listing of the asset."""

    __slots__ = ("fit_ns", "listing", "sound_ns", "standing", "vouched")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.vouched: list[Fitness] = []  # against each other venue; alone if there is none
        self.sound_ns: int | None = None  # since when its book has been complete; None: void
        self.standing: tuple[int, int] | None = None  # its bid and ask, in its ticks
        self.fit_ns: int | None = None  # since when it has been fit; None: it is not

    def judge(self, now_ns: int) -> Fit | Unfit:
        """One venue that agrees outweighs others that do not: then the odd one is not this."""
        verdicts = [fitness.judge(now_ns) for fitness in self.vouched]
        for verdict in verdicts:
            if isinstance(verdict, Fit) and verdict.compared:
                return verdict
        return next((v for v in verdicts if isinstance(v, Unfit)), verdicts[0])


class Asset:
    """Told all events of its listings and that time passes. Instants are int ns, UTC."""

    def __init__(
        self,
        instrument: Instrument,
        listings: Sequence[Listing],
        *,
        resolution_ns: int,
        start_ns: int,
        limits: Limits,
        tell: Callable[[Switch], None],
    ) -> None:
        """`listings` in order of preference, at most one a venue. The first bar is the first
        that opens at `start_ns` or later. Raises ConfigError as `Fitness`, and without listing.
        """
        if not listings:
            raise ConfigError(f"{instrument.symbol}: no venue lists it")
        self.instrument = instrument
        self.switches = 0
        self._resolution_ns = resolution_ns
        self._limits = limits
        self._tell = tell
        self._sources = [_Source(listing) for listing in listings]
        self._by_name = {source.listing.source: source for source in self._sources}
        self._judges: dict[str, list[Fitness]] = {name: [] for name in self._by_name}
        pairs: list[tuple[_Source, ...]] = list(permutations(self._sources, 2))
        for first, *others in pairs or [(self._sources[0],)]:
            second = others[0].listing if others else None
            stale_s = limits.stale_s_of(first.listing.source)
            fitness = Fitness(first.listing, second, stale_s=stale_s, apart_bps=limits.apart_bps)
            first.vouched.append(fitness)
            for source in (first, *others):
                self._judges[source.listing.source].append(fitness)
        self._current = self._sources[0]  # whose bars are built, or will be from the next open on
        self._lost_ns: int | None = None  # since when it has been of no use
        self._late = 0  # of builders before
        self._builder = self._begin(start_ns)

    @property
    def source(self) -> str:
        """The venue whose bars are built, or will be from the next open on."""
        return self._current.listing.source

    @property
    def late(self) -> int:
        """Trades and quotes that came after their bar was closed."""
        return self._late + self._builder.late

    def hear(self, event: Told) -> None:
        """To be told in time: after `close` of every bar that was due by then."""
        source = self._by_name[event.listing.source]
        match event:
            case BookChange(snapshot=True) if source.sound_ns is None:
                source.sound_ns = event.at_ns
            case Quote(bid_ticks=bid, ask_ticks=ask):
                source.standing = bid, ask
            case Resync():
                source.sound_ns = source.fit_ns = source.standing = None
            case NoQuote():
                source.fit_ns = source.standing = None
        for fitness in self._judges[event.listing.source]:
            fitness.hear(event)
        closed = self._builder.feed(event)
        assert not closed, f"{self.instrument.symbol}: a bar was due before {iso(event.at_ns)}"

    def look(self, now_ns: int, books: Mapping[str, BookOf]) -> None:
        """Take the depth of the bar that is open from its venue's book, unless that was done or
        the book is void. `books`: by venue."""
        listing = self._builder.unseen(now_ns)
        book = books[listing.source](listing) if listing is not None else None
        if listing is not None and book is not None:
            self._builder.see(now_ns, depth_of(book, listing, self.instrument))

    def review(self, now_ns: int) -> None:
        """Go over to another venue if that is called for."""
        current = self._current
        for source in self._sources:
            verdict = source.judge(now_ns)
            if isinstance(verdict, Unfit):
                source.fit_ns = None
            elif source.fit_ns is None:
                source.fit_ns = now_ns
            if source is current:
                # Apart from the others does not say who is right: unfit, but no reason to go.
                is_lost = isinstance(verdict, Unfit) and verdict.rule is not Rule.APART
                if not is_lost:
                    self._lost_ns = None
                elif self._lost_ns is None:
                    self._lost_ns = now_ns
        if self._builder.listing is not current.listing:
            return  # it takes over at the next open: one change at a time
        lost_s = 0.0 if self._lost_ns is None else (now_ns - self._lost_ns) / NS_PER_S
        is_lost = self._lost_ns is not None and lost_s >= self._limits.failover_s
        is_preferred = True
        for source in self._sources:
            if source is current:
                is_preferred = False
            elif source.fit_ns is not None:
                fit_s = (now_ns - source.fit_ns) / NS_PER_S
                name = source.listing.source
                if is_lost:
                    verdict = current.judge(now_ns)
                    assert isinstance(verdict, Unfit)
                    self._switch(source, verdict.reason, now_ns)
                    return
                if is_preferred and fit_s >= self._limits.return_s:
                    self._switch(source, f"{name} has been fit for {fit_s:.0f} s", now_ns)
                    return

    def close(
        self, close_ns: int, now_ns: int, told_ns: Mapping[str, int]
    ) -> tuple[BarTable | None, str]:
        """The bar that closed at `close_ns`, if there is one, and why the asset is not fit for
        new risk ("": it is). To be called at `close_ns` and grace, for each instant in turn.

        `told_ns`: by venue, the latest instant, by its own clock, of which it has told.
        """
        source = self._by_name[self._builder.listing.source]
        due_ns = close_ns + round(self._limits.grace_s * NS_PER_S)
        closed = self._builder.tick(due_ns)
        bar = closed[0] if closed else None
        why = self._unfit(source, bar, close_ns, now_ns, told_ns)
        return (None if bar is None else bar.table), why

    def restart(self, now_ns: int) -> None:
        """Nobody listened for a while: no bar that opened before `now_ns` is of use."""
        self._late += self._builder.late
        self._builder = self._begin(now_ns)

    def _begin(self, start_ns: int) -> BarBuilder:
        return BarBuilder(
            self.instrument,
            self._current.listing,
            self._resolution_ns,
            start_ns=start_ns,
            grace_s=self._limits.grace_s,
        )

    def _switch(self, source: _Source, reason: str, now_ns: int) -> None:
        was = self.source
        self._current = source
        self._lost_ns = None
        self.switches += 1
        # A venue's clock may be ahead: what it told before now may be of the next bar already,
        # and was left aside. The bar after that is the first of which nothing is missing.
        self._builder.switch(source.listing, now_ns + LEAD_NS, source.standing)
        self._tell(Switch(self.instrument.symbol, was, self.source, reason, now_ns))

    def _unfit(
        self,
        source: _Source,
        bar: ClosedBar | None,
        close_ns: int,
        now_ns: int,
        told_ns: Mapping[str, int],
    ) -> str:
        name = source.listing.source
        open_ns = close_ns - self._resolution_ns
        verdict = source.judge(now_ns)
        if isinstance(verdict, Unfit):
            return verdict.reason
        if bar is None:
            return f"{name} has no bar that opened at {iso(open_ns)}"
        # The builder does not know of a book that was void before it took the venue; and by the
        # clock of a venue that is ahead, the bar may have opened LEAD_NS ago.
        sound_ns = source.sound_ns
        if not bar.is_whole or sound_ns is None or sound_ns > open_ns - LEAD_NS:
            return f"the bar is not whole: {name} was not heard all the while"
        # A connection keeps the order: once it tells of later times, nothing is on its way.
        # Otherwise the line is slow, the venue quiet, or a clock is wrong.
        if told_ns.get(name, 0) < close_ns - self._limits.quiet_ns_of(name):
            quiet_s = self._limits.quiet_ns_of(name) / NS_PER_S
            time = f"later than {quiet_s:g} s before its end" if quiet_s else "after it"
            limit = f"{self._limits.grace_s:g} s"
            return f"the bar is not whole: {name} told of no time {time} within {limit}"
        if source is not self._current:
            verdict = self._current.judge(now_ns)
            if isinstance(verdict, Unfit):
                return verdict.reason
        return ""
