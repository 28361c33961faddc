"""Whether a symbol's prices may be traded on: fresh, sound, and in line with a second source."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.market.events import BookChange, Event, Listing, NoQuote, Quote, Resync, Trade

_BPS = 10_000


class Rule(Enum):
    """What makes a symbol unfit."""

    NO_QUOTE = "no quote"
    STALE = "stale"
    CROSSED = "crossed"
    APART = "apart"


@dataclass(frozen=True, slots=True)
class Fit:
    """The prices may be traded on. `compared`: a second source agreed, rather than had no say."""

    symbol: str
    compared: bool


@dataclass(frozen=True, slots=True)
class Unfit:
    """The prices may not be traded on, by which rule, and in words with figure and limit."""

    symbol: str
    rule: Rule
    reason: str


class _Source:
    """What was last heard of one listing."""

    __slots__ = ("heard_ns", "listing", "quote", "why_not")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.heard_ns = 0
        self.quote: Quote | None = None
        self.why_not = "none came yet"

    def middle(self) -> Decimal:
        assert self.quote is not None
        return self.listing.price(self.quote.bid_ticks + self.quote.ask_ticks) / 2


class Fitness:
    """Judges one symbol by what was heard of it."""

    def __init__(
        self,
        listing: Listing,
        second: Listing | None = None,
        *,
        stale_s: float,
        apart_bps: Decimal = Decimal(50),
    ) -> None:
        """`stale_s`: prices of which nothing was heard for longer are unfit; of the second source
        too: then it has no say. `apart_bps`: the middles may differ by so much of the second's;
        leave room for a lasting difference, as between USD and USDT.

        Raises ConfigError unless both limits are above zero and the sources differ.
        """
        if not stale_s > 0 or not apart_bps > 0:
            raise ConfigError(f"{listing.symbol}: stale_s and apart_bps must be above 0")
        if second is not None and second.source == listing.source:
            raise ConfigError(f"{listing.symbol}: {second.source} cannot vouch for itself")
        self._first = _Source(listing)
        self._second = None if second is None else _Source(second)
        self._stale_ns = round(stale_s * NS_PER_S)
        self._apart_bps = apart_bps

    def hear(self, event: Event) -> None:
        """Events of other listings are left aside."""
        if not isinstance(event, Quote | Trade | BookChange | NoQuote | Resync):
            return
        for source in (self._first, self._second):
            if source is not None and source.listing == event.listing:
                match event:
                    case Quote():
                        source.quote = event
                    case NoQuote(reason=reason) | Resync(reason=reason):
                        source.quote, source.why_not = None, reason
                source.heard_ns = event.at_ns

    def judge(self, now_ns: int) -> Fit | Unfit:
        """Fit only when nothing speaks against it; the first rule broken is told."""
        first, second = self._first, self._second
        symbol = first.listing.symbol
        quote = first.quote
        if quote is None:
            reason = f"{first.listing.source} has no quote: {first.why_not}"
            return Unfit(symbol, Rule.NO_QUOTE, reason)
        age_ns = now_ns - first.heard_ns
        if age_ns > self._stale_ns:
            ages = f"for {age_ns / NS_PER_S:.1f} s, limit {self._stale_ns / NS_PER_S:g} s"
            return Unfit(symbol, Rule.STALE, f"nothing of {first.listing.source} {ages}")
        if quote.bid_ticks >= quote.ask_ticks:
            bid, ask = first.listing.price(quote.bid_ticks), first.listing.price(quote.ask_ticks)
            return Unfit(symbol, Rule.CROSSED, f"bid {bid} is not below ask {ask}")
        if second is None or second.quote is None or now_ns - second.heard_ns > self._stale_ns:
            return Fit(symbol, compared=False)
        here, there = first.middle(), second.middle()
        apart_bps = abs(here - there) / there * _BPS
        if apart_bps > self._apart_bps:
            reason = (
                f"{first.listing.source} {here} is {apart_bps:.1f} bps from"
                f" {second.listing.source} {there}, limit {self._apart_bps}"
            )
            return Unfit(symbol, Rule.APART, reason)
        return Fit(symbol, compared=True)
