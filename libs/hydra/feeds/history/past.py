"""What the market did, as bars of instruments: for warming up, and for a time nobody was there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from hydra.clock import Clock
from hydra.errors import ConfigError, VenueDown, VenueFault
from hydra.feeds.history.checks import checked
from hydra.feeds.history.rest import Rest
from hydra.feeds.history.venue import Ask, Candle, Pair, Venue, pair_of
from hydra.feeds.history.venues import address_of
from hydra.feeds.tables import rows_between, table_of_trades
from hydra.market.bars import BarTable
from hydra.market.instruments import Instrument
from hydra.market.resample import resampled
from hydra.settings import Settings

_log = logging.getLogger(__name__)


class VenuePast:
    """Candles of venues, the first that has them. No key is needed."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        venues: Sequence[Venue],
        *,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._instruments = tuple(instruments)
        self._venues = tuple(venues)
        self._settings = settings
        self._clock = clock

    async def bars(self, resolution_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        """By symbol, the bars that open from `start_ns` on and close by `end_ns`, faulty ones
        left out.

        All are of one venue, gathered from the longest of its candles that fit where it has none
        of that length. Raises VenueDown where no venue has them.
        """
        failed: list[str] = []
        for venue in self._venues:
            candle_ns = max((one for one in venue.bars if resolution_ns % one == 0), default=0)
            if not candle_ns:
                failed.append(f"{venue.name} has no such bars")
                continue
            address = address_of(venue, self._settings)
            try:
                async with Rest(venue, address, clock=self._clock) as rest:
                    tables = {
                        one.symbol: await _walk(rest, venue, one, candle_ns, start_ns, end_ns)
                        for one in self._instruments
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
        raise VenueDown(f"no candles: {'; '.join(failed)}")


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

    def column(prices: Sequence[Decimal]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([float(price) for price in prices])

    return table_of_trades(
        one,
        bar_ns,
        source,
        np.array([candle.open_ns for candle in candles], np.int64),
        [
            column([candle.open for candle in candles]),
            column([candle.high for candle in candles]),
            column([candle.low for candle in candles]),
            column([candle.close for candle in candles]),
        ],
        column([candle.volume for candle in candles]),
    )
