"""Events to record: by hand, drawn, and those of a capture."""

from __future__ import annotations

from itertools import islice
from random import Random

from hydra.clock import NS_PER_S
from hydra.feeds.binance import Binance
from hydra.feeds.venue import Fetch
from hydra.market.events import (
    BadMessage,
    BookChange,
    Down,
    Event,
    Levels,
    Listing,
    NoQuote,
    Quote,
    Resync,
    Side,
    Trade,
)
from hydra.tournament.season import SeasonRow
from tests.support.bars import START_NS
from tests.support.captures import binance_btcusdt
from tests.support.seasons import a_season

LISTINGS = tuple(
    Listing(
        source=source, symbol=symbol, venue_symbol=symbol, price_decimals=8, size_decimals=8
    )
    for source in ("coinbase", "binance", "bybit")
    for symbol in ("BTC-USD", "ETH-USD", "SOL-USD")
)  # fmt: skip


def a_live_season(name: str = "live-1", start_ns: int = START_NS) -> SeasonRow:
    return a_season(name, settings={"plan": {"start_ns": start_ns}, "feed": {}}, inputs=())


def drawn(count: int, *, at_ns: int = START_NS, seed: int = 1, step_ns: int = 1_000) -> list[Event]:
    """Events of nine listings, of every kind, with numbers of every length; one each `step_ns`."""
    rng = Random(seed)

    def levels(most: int) -> Levels:
        return tuple(
            (rng.randrange(1, 2 ** rng.randrange(1, 63)), rng.choice((0, rng.randrange(2**62))))
            for _ in range(rng.randrange(most))
        )

    found: list[Event] = []
    for i in range(count):
        listing = rng.choice(LISTINGS)
        now_ns = at_ns + i * step_ns
        venue_ns = now_ns - rng.randrange(-NS_PER_S, NS_PER_S)
        match rng.choices(range(7), (8, 6, 3, 1, 1, 1, 1))[0]:
            case 0:
                found.append(
                    BookChange(
                        listing=listing, bids=levels(4), asks=levels(4),
                        snapshot=rng.random() < 0.1, at_ns=now_ns, venue_ns=venue_ns,
                    )
                )  # fmt: skip
            case 1:
                bid = rng.randrange(1, 2**40)
                found.append(
                    Quote(
                        listing=listing, bid_ticks=bid, bid_steps=rng.randrange(2**40),
                        ask_ticks=bid + rng.randrange(1, 100), ask_steps=rng.randrange(2**40),
                        at_ns=now_ns, venue_ns=venue_ns,
                    )
                )  # fmt: skip
            case 2:
                found.append(
                    Trade(
                        listing=listing, trade_id=str(rng.randrange(10**20)),
                        price_ticks=rng.randrange(1, 2**40), size_steps=rng.randrange(2**40),
                        aggressor=rng.choice((Side.BUY, Side.SELL)), at_ns=now_ns,
                        venue_ns=venue_ns,
                    )
                )  # fmt: skip
            case 3:
                found.append(NoQuote(listing=listing, reason="no asks", at_ns=now_ns))
            case 4:
                found.append(Resync(listing=listing, reason="", at_ns=now_ns))
            case 5:
                found.append(Down(source=listing.source, reason="hung up — 1006", at_ns=now_ns))
            case _:
                text = '{"type":"upd\x00\udcff'.encode(errors="replace").decode()
                found.append(
                    BadMessage(source=listing.source, reason="half", text=text, at_ns=now_ns)
                )
    return found


def captured(messages: int | None = None) -> list[Event]:
    """Five minutes of BTCUSDT at Binance in 2024, or the first of its messages, as the feed tells
    them. Skips where they are absent."""
    listing = Listing(
        source="binance", symbol="BTC-USD", venue_symbol="BTCUSDT", price_decimals=8,
        size_decimals=8,
    )  # fmt: skip
    venue = Binance([listing])
    venue.opened(0)
    found: list[Event] = []
    fetch: Fetch | None = None
    for message in islice(binance_btcusdt(), messages):
        if "lastUpdateId" in message.raw:
            assert fetch is not None
            found += venue.answer(fetch, message.message, message.at_ns)
            continue
        found += venue.feed(message.message, message.at_ns)
        for request in venue.requests():
            fetch = request if isinstance(request, Fetch) else fetch
    return found
