"""The venues that history is fetched from: to add one, write its file and name it here."""

from __future__ import annotations

from hydra.errors import ConfigError
from hydra.feeds.access import needed
from hydra.feeds.history.binance import Binance
from hydra.feeds.history.bybit import Bybit
from hydra.feeds.history.coinbase import Coinbase
from hydra.feeds.history.oanda import Oanda
from hydra.feeds.history.venue import Venue
from hydra.market.timeframes import timeframe_name, timeframe_ns
from hydra.settings import Settings

VENUES: dict[str, Venue] = {one.name: one for one in (Coinbase(), Binance(), Bybit(), Oanda())}


def venue_named(name: str) -> Venue:
    """Raises ConfigError, naming all there are."""
    try:
        return VENUES[name.strip().lower()]
    except KeyError:
        raise ConfigError(f"no venue {name!r}; there are {', '.join(VENUES)}") from None


def address_of(venue: Venue, settings: Settings) -> str:
    """Where the venue's REST is, without a final slash."""
    addresses = {
        "coinbase": settings.coinbase_rest_url,
        "binance": settings.binance_rest_url,
        "bybit": settings.bybit_rest_url,
        "oanda": settings.oanda_rest_url,
    }
    return addresses[venue.name].rstrip("/")


def token_of(venue: Venue) -> str:
    """What the venue wants to be shown; "" where it is public.

    Raises ConfigError, which says where to get it, where nobody set it.
    """
    return needed(venue.token_setting) if venue.token_setting else ""


def bar_of(text: str, venue: Venue) -> int:
    """The length of a bar in ns. Raises ConfigError where the venue has no such bars."""
    bar_ns = timeframe_ns(text)
    if bar_ns in venue.bars:
        return bar_ns
    finer = [length for length in sorted(venue.bars) if bar_ns % length == 0 and length < bar_ns]
    hint = ""
    if finer:
        fetch, name = timeframe_name(finer[-1]), timeframe_name(bar_ns)
        hint = f": fetch {fetch}, and let engines watch {name} of them (ema_trend@{name})"
    raise ConfigError(
        f"{venue.name} has no bars of {text}; it has"
        f" {', '.join(timeframe_name(length) for length in sorted(venue.bars))}{hint}"
    )
