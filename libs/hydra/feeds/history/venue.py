"""What a venue's candles are asked by and read into; a venue itself is one file beside this one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, Protocol

from hydra.clock import iso
from hydra.errors import ConfigError
from hydra.market.catalogue import canonical

LONGEST_WORDS = 200  # characters of a venue's own message
NS_PER_MS = 1_000_000

# Longest first, so that BTCUSDT is no pair in USD; a symbol without a sign ends in one of these.
_QUOTES = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD", "EUR", "GBP", "TRY", "BRL", "JPY", "BTC",
    "ETH", "BNB",
)  # fmt: skip
_ASSET = re.compile(r"[A-Z0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Pair:
    """What is priced and in what: BTC and USDT. Both are letters and digits, upper case."""

    base: str
    quote: str

    @property
    def symbol(self) -> str:
        """How files name it: BTC-USDT."""
        return f"{self.base}-{self.quote}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One page that a venue is asked for: all candles that open from the first to the last."""

    pair: Pair
    bar_ns: int
    first_ns: int  # opens, multiples of bar_ns, UTC
    last_ns: int  # included

    @property
    def count(self) -> int:
        return (self.last_ns - self.first_ns) // self.bar_ns + 1

    @property
    def close_ns(self) -> int:
        """When the last candle closes."""
        return self.last_ns + self.bar_ns

    @property
    def text(self) -> str:
        return f"{self.pair.symbol} from {iso(self.first_ns)} to {iso(self.close_ns)}"


class Prices(NamedTuple):
    """Of one side, in quote currency, exactly as sent; NaN where it was no number."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(frozen=True, slots=True)
class Candle:
    """One row as a venue sent it, judged by nobody yet: of trades, or of bids and asks."""

    open_ns: int
    open: Decimal  # as of Prices: traded, or of the bid where there is an `ask`
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None  # base units; None: the venue does not tell it
    ask: Prices | None = field(default=None, kw_only=True)

    @property
    def sides(self) -> tuple[Prices, ...]:
        """The traded prices, or bid and ask."""
        first = Prices(self.open, self.high, self.low, self.close)
        return (first,) if self.ask is None else (first, self.ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a venue did not give candles."""

    words: str  # its own, shortened
    unknown_symbol: bool = False
    may_pass: bool = False  # asking again later may help: too many requests, or its own fault


class Unreadable(Exception):
    """A reply is not of the documented shape. The text says what is wrong with it."""


class Venue(Protocol):
    """One venue's REST of candles. Holds no connection and no state."""

    @property
    def name(self) -> str:
        """As options spell it."""

    @property
    def setting(self) -> str:
        """The environment variable of its address."""

    @property
    def token_setting(self) -> str:
        """The secret without which it answers nobody; "": it is public."""

    @property
    def page_candles(self) -> int:
        """How many candles one request may ask for."""

    @property
    def per_s(self) -> float:
        """Requests a second that stay well below the public limit of one address."""

    @property
    def bars(self) -> Mapping[int, str]:
        """The lengths of its candles in ns, and how it spells them."""

    @property
    def dollar(self) -> str:
        """The currency in which it quotes what others quote in USD."""

    @property
    def names(self) -> Mapping[str, str]:
        """By canonical spelling of the catalogue: its own name of what it spells otherwise."""

    @property
    def has_quotes(self) -> bool:
        """Whether its candles are of bids and asks, rather than of trades."""

    def request(self, ask: Ask) -> tuple[str, Mapping[str, str]]:
        """Path and query."""

    def read(self, body: bytes, ask: Ask) -> Sequence[Candle]:
        """The candles of a reply, in its order. Raises Unreadable."""

    def refusal(self, status: int, body: bytes) -> Refusal | None:
        """Why the reply holds no candles, whatever its HTTP status; None where it should."""


def pair_of(text: str, venue: Venue) -> Pair:
    """The pair that a symbol names: BTC-USD, btc/usdt, BTCUSDT.

    USD becomes the venue's own dollar, so that BTC-USD is BTC-USDT where dollars are USDT. Raises
    ConfigError where no base and quote can be told.
    """
    text = venue.names.get(canonical(text), text)
    parts = re.split(r"[-/_:]", text.strip().upper())
    if len(parts) == 1:
        plain = parts[0]
        quote = next((q for q in _QUOTES if plain.endswith(q) and plain != q), "")
        parts = [plain.removesuffix(quote), quote]
    if len(parts) != 2 or not all(_ASSET.fullmatch(part) for part in parts):
        raise ConfigError(f"{text!r} is no symbol; write base and quote, such as BTC-USD")
    base, quote = parts
    return Pair(base, venue.dollar if quote == "USD" else quote)


def number(text: str) -> Decimal:
    """The exact number that a venue spells; NaN where it is none, for the checks to count."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")
    return Decimal("NaN") if value.is_nan() else value  # of a signalling NaN every use raises


def whole(text: str | int) -> int:
    """A whole number of seconds or milliseconds. Raises Unreadable."""
    try:
        return int(text)
    except ValueError as error:
        raise Unreadable(f"{text!r} where a candle's time belongs") from error


def short(text: str) -> str:
    """One line of at most LONGEST_WORDS characters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_WORDS else f"{line[:LONGEST_WORDS]}…"


def said(body: bytes) -> str:
    """The beginning of a reply, for a message."""
    return short(body[: 4 * LONGEST_WORDS].decode("utf-8", errors="replace")) or "nothing"
