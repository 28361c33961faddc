"""Fetches the history of some symbols from one venue, page by page, into one price file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from hydra.clock import NS_PER_DAY, NS_PER_S, Clock, iso
from hydra.errors import ConfigError, VenueFault
from hydra.feeds.history.checks import checked
from hydra.feeds.history.output import FetchedSymbol, check_output, write_output
from hydra.feeds.history.partial import Fetching, Partial, Row, Stretch, partial_path
from hydra.feeds.history.rest import Rest, check_dated
from hydra.feeds.history.venue import Ask, Candle, Pair, Venue
from hydra.market.timeframes import timeframe_name

SETTLE_S = 10  # after its close a candle may still change: late trades, caches of a second
# Beyond one page: as long may a venue's pages stay empty, one after another, while its own day
# candles show trading.
_MOST_EMPTY_DAYS = 30
# Of the newest days a venue may have no day candle yet; they are asked for in any case.
_UNSURE_DAYS = 2

# Told after each page: the symbol's index, the share of its period that is settled, its rows.
Progress = Callable[[int, float, int], None]


def plan(
    venue: Venue,
    pairs: Sequence[Pair],
    *,
    bar_ns: int,
    from_ns: int,
    to_ns: int | None,
    clock: Clock,
) -> Fetching:
    """What to fetch: all bars that open at or after `from_ns` and close at or before `to_ns`.

    Without `to_ns`, or where it lies ahead, the last bar is the last that is finished. Raises
    ConfigError where that is no bar, or a symbol is named twice.
    """
    symbols = tuple(pair.symbol for pair in pairs)
    if not symbols:
        raise ConfigError("no symbol given; name one such as BTC-USD")
    twice = sorted({one for one in symbols if symbols.count(one) > 1})
    if twice:
        raise ConfigError(f"{', '.join(twice)} is named twice")
    finished_ns = clock.now_ns() - SETTLE_S * NS_PER_S
    end_ns = finished_ns if to_ns is None else min(to_ns, finished_ns)
    start_ns, end_ns = -(-from_ns // bar_ns) * bar_ns, end_ns // bar_ns * bar_ns
    if start_ns >= end_ns:
        raise ConfigError(
            f"no finished bar of {timeframe_name(bar_ns)} lies between --from {iso(from_ns)} and"
            f" {'now' if to_ns is None else f'--to {iso(to_ns)}'}"
        )
    return Fetching(
        venue=venue.name,
        symbols=symbols,
        bar_ns=bar_ns,
        asked_from_ns=from_ns,
        asked_to_ns=to_ns,
        start_ns=start_ns,
        end_ns=end_ns,
        has_quotes=venue.has_quotes,
    )


async def fetch(
    rest: Rest,
    venue: Venue,
    pairs: Sequence[Pair],
    planned: Fetching,
    out: Path,
    *,
    progress: Progress,
) -> tuple[FetchedSymbol, ...]:
    """Fetch what is not in the partial file beside `out`, then write `out` and remove that file.

    Raises ConfigError for an output that is there already or cannot be written, for a symbol that
    the venue does not know and where no symbol has a candle; VenueDown and VenueFault as
    `Rest.page`, and VenueFault where the venue's answers lead nowhere. What was fetched stays in
    the partial file, and the same call goes on.
    """
    check_output(out)
    path = partial_path(out)
    if out.exists() and not path.exists():
        raise ConfigError(f"--out {out} is there already; remove it, or name another file")
    with Partial(path, planned) as partial:
        if out.exists() and not partial.is_complete:
            raise ConfigError(f"--out {out} is there already, beside an unfinished {path.name}")
        try:
            await _walk(rest, venue, pairs, partial, progress)
        except BaseException:
            if not partial.has_rows:
                partial.remove()
            raise
        facts = write_output(partial, out)
        partial.remove()
    return facts


async def _walk(
    rest: Rest, venue: Venue, pairs: Sequence[Pair], partial: Partial, progress: Progress
) -> None:
    walks = [_Walk(rest, venue, pair, partial) for pair in pairs]
    if partial.is_new:
        # A misspelt last symbol should be found out before the first one's million bars.
        for walk in walks:
            await walk.find_start()
    for index, walk in enumerate(walks):
        await walk.run(index, progress)
    if not partial.has_rows:
        raise ConfigError(
            f"{venue.name} has no candles of {', '.join(partial.fetching.symbols)} from"
            f" {iso(partial.fetching.start_ns)} to {iso(partial.fetching.end_ns)}"
        )


class _Walk:
    """Asks for one symbol's pages, from old to new, and skips what the venue has nothing of."""

    def __init__(self, rest: Rest, venue: Venue, pair: Pair, partial: Partial) -> None:
        self._rest = rest
        self._venue = venue
        self._pair = pair
        self._partial = partial
        self._fetching = partial.fetching
        self._last_page: Sequence[Candle] = ()
        self._days: list[int] = []  # on which there was trading, of those that were asked for
        self._days_until_ns = 0

    async def find_start(self) -> None:
        """Go to the first day with trading. Raises ConfigError for an unknown symbol."""
        start_ns = self._partial.next_ns(self._pair.symbol)
        found_ns = await self._skip_to(start_ns)
        if found_ns > start_ns:
            self._settle(start_ns, found_ns)

    async def run(self, index: int, progress: Progress) -> None:
        """Fetch until the end."""
        fetching, symbol = self._fetching, self._pair.symbol
        length_ns = fetching.end_ns - fetching.start_ns
        most_ns = self._venue.page_candles * fetching.bar_ns + _MOST_EMPTY_DAYS * NS_PER_DAY
        empty_ns = 0
        while (at_ns := self._partial.next_ns(symbol)) < fetching.end_ns:
            progress(index, (at_ns - fetching.start_ns) / length_ns, self._partial.rows(symbol))
            ask = self._ask(at_ns, fetching.bar_ns)
            empty_ns = 0 if await self._page(ask) else empty_ns + ask.close_ns - at_ns
            if empty_ns > most_ns:
                days = empty_ns // NS_PER_DAY
                raise VenueFault(
                    f"{self._venue.name} sent no candle of {symbol} in {days} days up to"
                    f" {iso(ask.close_ns)}, where its day candles show trading; it may have no"
                    " bars as fine of that time: take a later --from or a longer --bar"
                )
        progress(index, 1.0, self._partial.rows(symbol))

    async def _page(self, ask: Ask) -> bool:
        """Fetch a page and keep it; whether it had a good candle."""
        page = await self._rest.page(ask)
        check_dated(page, ask)
        if page.candles and page.candles == self._last_page:
            raise VenueFault(
                f"{self._venue.name} sent the same page again where {ask.text} was asked for"
            )
        self._last_page = page.candles
        found = checked(page.candles, ask)
        next_ns = ask.close_ns
        if not found.candles:
            next_ns = await self._skip_to(next_ns)
        rows = tuple(_row(candle) for candle in found.candles)
        self._settle(ask.first_ns, next_ns, rows, found.faults, found.example)
        return bool(rows)

    def _settle(
        self,
        start_ns: int,
        next_ns: int,
        rows: tuple[Row, ...] = (),
        faults: dict[str, int] | None = None,
        example: str = "",
    ) -> None:
        self._partial.add(
            Stretch(
                symbol=self._pair.symbol,
                start_ns=start_ns,
                next_ns=next_ns,
                rows=rows,
                faults=faults or {},
                example=example,
            )
        )

    async def _skip_to(self, at_ns: int) -> int:
        """`at_ns`, or the bar at which the next day with trading begins, told by day candles.

        Years before a listing then cost one request instead of thousands of empty pages.
        """
        sure_ns = (self._fetching.end_ns // NS_PER_DAY - _UNSURE_DAYS) * NS_PER_DAY
        day_ns = at_ns // NS_PER_DAY * NS_PER_DAY
        while True:
            found = next((day for day in self._days if day >= day_ns), None)
            if found is None and self._days_until_ns < sure_ns:
                day_ns = max(day_ns, self._days_until_ns)
                await self._ask_days(day_ns)
                continue
            bar_ns = self._fetching.bar_ns
            skipped_ns = max(at_ns, sure_ns if found is None else min(found, sure_ns))
            return min(-(-skipped_ns // bar_ns) * bar_ns, self._fetching.end_ns)

    async def _ask_days(self, from_ns: int) -> None:
        ask = self._ask(from_ns, NS_PER_DAY)
        page = await self._rest.page(ask)
        # Whatever its prices or its midnight: a day that is sent must not be skipped.
        opens = (one.open_ns for one in page.candles if ask.first_ns <= one.open_ns < ask.close_ns)
        self._days = sorted({at // NS_PER_DAY * NS_PER_DAY for at in opens})
        self._days_until_ns = ask.close_ns

    def _ask(self, at_ns: int, bar_ns: int) -> Ask:
        last_ns = at_ns + (self._venue.page_candles - 1) * bar_ns
        end_ns = max(self._fetching.end_ns, at_ns + bar_ns)
        return Ask(
            pair=self._pair,
            bar_ns=bar_ns,
            first_ns=at_ns,
            last_ns=min(last_ns, (end_ns - 1) // bar_ns * bar_ns),
        )


def _row(candle: Candle) -> Row:
    first, *ask = [[_plain(price) for price in side] for side in candle.sides]
    volume = "" if candle.volume is None else _plain(candle.volume)
    opened, high, low, close = first
    row = Row(candle.open_ns, opened, high, low, close, volume)
    return msgspec.structs.replace(row, ask=tuple(ask[0])) if ask else row


def _plain(number: Decimal) -> str:
    """Neither an exponent nor zeros at the end, which venues pad to eight places."""
    return f"{number.normalize():f}"
