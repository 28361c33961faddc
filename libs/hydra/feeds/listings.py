"""Which venue lists what, and how it spells it."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.errors import ConfigError
from hydra.feeds import binance, bybit, coinbase, oanda
from hydra.market.catalogue import canonical
from hydra.market.events import Listing

CRYPTO_VENUES = (coinbase.SOURCE, binance.SOURCE, bybit.SOURCE)  # the most preferred first
VENUES = (*CRYPTO_VENUES, oanda.SOURCE)
_DECIMALS = 8  # see listing_of


def lists(source: str, symbol: str) -> bool:
    """Whether a venue has prices of it: crypto in dollars, spelt as BTC-USD, or what OANDA has of
    currencies, metals and indices, in any spelling that the catalogue knows.

    Raises ConfigError for another venue.
    """
    if source not in VENUES:
        raise ConfigError(f"{source} is none of the venues {', '.join(VENUES)}")
    is_oandas = canonical(symbol) in oanda.NAMES
    if source == oanda.SOURCE:
        return is_oandas
    base, _, quote = symbol.partition("-")
    return base.isalnum() and quote == "USD" and not is_oandas


def listing_of(source: str, symbol: str) -> Listing:
    """Where a venue trades a symbol: BTC-USD for USD at Coinbase, for USDT at Binance and Bybit
    (spot); EURUSD as EUR_USD at OANDA.

    The grid has 8 decimals, the most that any of them writes for what an Instrument can name: a
    finer grid than a venue's is exact all the same, a coarser one makes faults of its messages.

    Raises ConfigError as `lists`, and for a symbol that the venue does not list.
    """
    if not lists(source, symbol):
        raise ConfigError(_unlisted(symbol, (source,)))
    if source == oanda.SOURCE:
        name = oanda.NAMES[canonical(symbol)]
    else:
        name = symbol if source == coinbase.SOURCE else f"{symbol.partition('-')[0]}USDT"
    return Listing(
        source=source,
        symbol=symbol,
        venue_symbol=name,
        price_decimals=_DECIMALS,
        size_decimals=_DECIMALS,
        has_trades=source != oanda.SOURCE,
    )


def listings_at(venues: Sequence[str], symbols: Sequence[str]) -> dict[str, list[Listing]]:
    """By venue, in order, what is listened to there; a venue that lists none of it is left out.

    Raises ConfigError for another venue, one that is named twice, and for a symbol that none of
    them lists.
    """
    if len(set(venues)) < len(venues):
        raise ConfigError("a venue is named twice")
    found = {
        source: [listing_of(source, symbol) for symbol in symbols if lists(source, symbol)]
        for source in venues
    }
    for symbol in symbols:
        if not any(lists(source, symbol) for source in venues):
            raise ConfigError(_unlisted(symbol, venues))
    return {source: listings for source, listings in found.items() if listings}


def _unlisted(symbol: str, venues: Sequence[str]) -> str:
    others = [source for source in VENUES if lists(source, symbol)]
    if others:
        here = f"{symbol} is not listed at {', '.join(venues)}"
        return f"{here}; it is at {', '.join(others)} (--venues {','.join(others)})"
    return (
        f"{symbol} is listed at no venue: {', '.join(CRYPTO_VENUES)} have crypto, spelt as BTC-USD;"
        f" {oanda.SOURCE} has {', '.join(sorted(set(oanda.NAMES.values())))}"
    )
