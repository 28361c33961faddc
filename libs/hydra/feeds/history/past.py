"""What the market did, as bars of instruments: for warming up, and for a time nobody was there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np

from hydra.clock import Clock
from hydra.errors import ConfigError, VenueDown, VenueFault
from hydra.feeds.history.checks import checked
from hydra.feeds.history.rest import Rest
from hydra.feeds.history.venue import Ask, Candle, Pair, Prices, Venue, pair_of
from hydra.feeds.history.venues import address_of, token_of
from hydra.feeds.listings import lists
from hydra.feeds.tables import rows_between, table_of_quotes, table_of_trades
from hydra.market.bars import BarTable, Float64
from hydra.market.instruments import Instrument
from hydra.market.resample import resampled
from hydra.settings import Settings

_log = logging.getLogger(__name__)


class VenuePast:
    """Candles of venues, for each instrument the first that lists it and has them."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        venues: Sequence[Venue],
        *,
        settings: Settings,
        clock: Clock,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        """`say` is told where some of the instruments have no candles and others have."""
        self._instruments = tuple(instruments)
        self._venues = tuple(venues)
        self._settings = settings
        self._clock = clock
        self._say = say

    async def bars(self, resolution_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        """By symbol, the bars that open from `start_ns` on and close by `end_ns`, faulty ones
        left out.

        Instruments that the same venues list are of one of them, gathered from the longest of its
        candles that fit where it has none of that length. Raises VenueDown where none of the
        instruments has candles.
        """
        groups: dict[tuple[str, ...], list[Instrument]] = {}
        for one in self._instruments:
            names = tuple(v.name for v in self._venues if lists(v.name, one.symbol))
            groups.setdefault(names, []).append(one)
        tables: dict[str, BarTable] = {}
        failed: list[str] = []
        for names, group in groups.items():
            try:
                tables |= await self._of_one(names, group, resolution_ns, start_ns, end_ns)
            except VenueDown as error:
                failed.append(str(error))
        if not tables:
            raise VenueDown("; ".join(failed))
        for why in failed:
            self._say(why)
        return tables

    async def _of_one(
        self,
        names: Sequence[str],
        instruments: Sequence[Instrument],
        resolution_ns: int,
        start_ns: int,
        end_ns: int,
    ) -> dict[str, BarTable]:
        failed: list[str] = []
        for venue in self._venues:
            if venue.name not in names:
                continue
            candle_ns = max((one for one in venue.bars if resolution_ns % one == 0), default=0)
            if not candle_ns:
                failed.append(f"{venue.name} has no such bars")
                continue
            address = address_of(venue, self._settings)
            try:
                async with Rest(venue, address, clock=self._clock, token=token_of(venue)) as rest:
                    tables = {
                        one.symbol: await _walk(rest, venue, one, candle_ns, start_ns, end_ns)
                        for one in instruments
                    }
            except (VenueDown, VenueFault, ConfigError) as error:
                _log.warning("candles of %s: %s", venue.name, error)
                failed.append(str(error))
                continue
            if candle_ns == resolution_ns:
                return tables
            return {
                symbol: resampled(table, resolution_ns, is_covered=True)
                for symbol, table in tables.items()
            }
        symbols = ", ".join(one.symbol for one in instruments)
        raise VenueDown(f"no candles of {symbols}: {'; '.join(failed)}")


async def _walk(
    rest: Rest, venue: Venue, one: Instrument, bar_ns: int, start_ns: int, end_ns: int
) -> BarTable:
    pair = pair_of(one.symbol, venue)
    candles: list[Candle] = []
    at_ns, last_ns = -(-start_ns // bar_ns) * bar_ns, end_ns // bar_ns * bar_ns - bar_ns
    while at_ns <= last_ns:
        ask = _ask(venue, pair, bar_ns, at_ns, last_ns)
        candles += checked((await rest.page(ask)).candles, ask).candles
        at_ns = ask.close_ns
    return _table(one, bar_ns, f"{venue.name} candles", candles)


def _ask(venue: Venue, pair: Pair, bar_ns: int, at_ns: int, last_ns: int) -> Ask:
    most_ns = at_ns + (venue.page_candles - 1) * bar_ns
    return Ask(pair=pair, bar_ns=bar_ns, first_ns=at_ns, last_ns=min(most_ns, last_ns))


def _table(one: Instrument, bar_ns: int, source: str, candles: Sequence[Candle]) -> BarTable:
    if not candles:
        nothing = table_of_trades(
            one, bar_ns, source, np.zeros(1, np.int64), [np.ones(1) * 1e4] * 4
        )
        return rows_between(nothing, 0, 0)

    def column(prices: Sequence[Decimal | None]) -> Float64:
        return np.array([np.nan if price is None else float(price) for price in prices])

    def columns(side: Sequence[Prices]) -> list[Float64]:
        return [column(prices) for prices in zip(*side, strict=True)]

    open_ns = np.array([candle.open_ns for candle in candles], np.int64)
    if candles[0].ask is not None:
        bids, asks = zip(*(candle.sides for candle in candles), strict=True)
        middle = [(b + a) / 2 for b, a in zip(columns(bids), columns(asks), strict=True)]
        # A tick coarser than the venue's is rounded against whoever trades, as in live bars.
        bid = columns([_on_grid(prices, one, ROUND_FLOOR) for prices in bids])
        ask = columns([_on_grid(prices, one, ROUND_CEILING) for prices in asks])
        return table_of_quotes(one, bar_ns, source, open_ns, bid, ask, middle)
    return table_of_trades(
        one,
        bar_ns,
        source,
        open_ns,
        columns([candle.sides[0] for candle in candles]),
        column([candle.volume for candle in candles]),
    )


def _on_grid(prices: Prices, one: Instrument, rounding: str) -> Prices:
    tick = one.tick_size
    found = [max((p / tick).to_integral_value(rounding), Decimal(1)) * tick for p in prices]
    return Prices(*found)
