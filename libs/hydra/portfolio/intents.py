"""What an engine may wish for, and the ticket that comes of it."""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum, StrEnum

import msgspec


class Side(IntEnum):
    """The sign of a position."""

    BUY = 1
    SELL = -1


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"


class Invalidation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What would prove a ticket's thesis wrong: the platform then closes it, asking nobody.

    Judged at every close of a bar of `resolution_ns`, on the close (a mid price where the data
    has bid and ask), and, where `within_s` is set, so long after the entry at the latest.
    """

    resolution_ns: int = 0  # of the bars whose closes count; 0: only the time does
    below: Decimal | None = None  # a close below it
    above: Decimal | None = None  # a close above it
    within_s: float | None = None  # the thesis must have worked out by then
    text: str = ""  # in the engine's own words


class Open(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="open"):
    """A new ticket. Size comes from `lots`, else from risk ÷ stop distance.

    Prices lie on the instrument's tick grid (`View.buy` and `View.sell` put them there).
    """

    symbol: str
    side: Side
    stop: Decimal | None = None
    target: Decimal | None = None
    order: OrderType = OrderType.MARKET
    price: Decimal | None = None  # of a limit or stop order
    risk_frac: Decimal | None = None  # of equity, lost when the stop is hit; None: the profile's
    lots: Decimal | None = None  # instead of risk_frac
    confidence: float | None = None  # 0 to 1
    thesis: str = ""
    expires_s: float | None = None  # an unfilled order is cancelled so long after the decision
    target_first: float | None = None  # stated probability that the target comes before the stop
    hold_s: float | None = None  # how long the engine expects to hold it
    invalidation: Invalidation | None = None


class Close(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="close"):
    """Close a ticket, wholly or `lots` of it; a pending order is cancelled."""

    ticket: int
    lots: Decimal | None = None
    thesis: str = ""


class Amend(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="amend"):
    """Replace stop and target of a ticket (None leaves the one there is)."""

    ticket: int
    stop: Decimal | None = None
    target: Decimal | None = None
    thesis: str = ""


Intent = Open | Close | Amend


MOST_THESIS = 4_000  # characters
LONGEST_LIFE_S = 10 * 366 * 86_400.0


def fault_of(intent: object) -> str:
    """What makes the value no intent at all, "" where nothing does.

    Only its types are looked at, and what no later step could bear: whether it makes sense is
    the guardian's to judge.
    """
    if isinstance(intent, Open):
        side: object = intent.side  # as it came, not as it is typed
        order: object = intent.order
        if type(intent.symbol) is not str:
            return f"asked for a symbol that is no text but {type(intent.symbol).__name__}"
        if _fault_of_text(intent.symbol):
            return "asked for a symbol that cannot be read"
        if not isinstance(side, Side):
            return f"asked for the side {side!r:.40}, which is neither BUY nor SELL"
        if not isinstance(order, OrderType):
            return f"asked for an order of the kind {order!r:.40}"
        life = intent.expires_s
        if life is not None and not (type(life) in (int, float) and 0 < life <= LONGEST_LIFE_S):
            return f"asked for an order that lives {life!r:.40} s"
        sure, first = intent.confidence, intent.target_first
        if sure is not None and not (type(sure) in (int, float) and 0 <= sure <= 1):
            return f"is {sure!r:.40} confident, which is not from 0 to 1"
        if first is not None and not (type(first) in (int, float) and 0 <= first <= 1):
            return f"gave the target a probability of {first!r:.40}, which is not from 0 to 1"
        hold = intent.hold_s
        if hold is not None and not (type(hold) in (int, float) and 0 < hold <= LONGEST_LIFE_S):
            return f"expects to hold for {hold!r:.40} s"
        if intent.invalidation is not None:
            fault = _fault_of_invalidation(intent.invalidation)
            if fault:
                return fault
        return _fault_of_numbers(intent, _OPEN_NUMBERS) or _fault_of_text(intent.thesis)
    if isinstance(intent, Close | Amend):
        if type(intent.ticket) is not int:
            return f"named a ticket that is no number but {type(intent.ticket).__name__}"
        names = _CLOSE_NUMBERS if isinstance(intent, Close) else _AMEND_NUMBERS
        return _fault_of_numbers(intent, names) or _fault_of_text(intent.thesis)
    return f"returned {type(intent).__name__}, which is not an intent"


_OPEN_NUMBERS = ("stop", "target", "price", "risk_frac", "lots")
_INVALIDATION_NUMBERS = ("below", "above")
_CLOSE_NUMBERS = ("lots",)
_AMEND_NUMBERS = ("stop", "target")


def _fault_of_invalidation(one: object) -> str:
    if not isinstance(one, Invalidation):
        return f"gave an invalidation that is {type(one).__name__}"
    if type(one.resolution_ns) is not int or one.resolution_ns < 0:
        return f"gave an invalidation on bars of {one.resolution_ns!r:.40} ns"
    within = one.within_s
    if within is not None and not (type(within) in (int, float) and 0 < within <= LONGEST_LIFE_S):
        return f"gave its thesis {within!r:.40} s"
    if one.resolution_ns == 0 and (one.below is not None or one.above is not None):
        return "gave an invalidation by a close, but of no bar"
    return _fault_of_numbers(one, _INVALIDATION_NUMBERS) or _fault_of_text(one.text)


def _fault_of_numbers(intent: Intent | Invalidation, names: tuple[str, ...]) -> str:
    for name in names:
        value = getattr(intent, name)
        if value is None:
            continue
        if type(value) is not Decimal:
            return f"gave {name} as {type(value).__name__}; it must be a Decimal"
        if not value.is_finite():
            return f"gave {name} as {value}"
    return ""


def _fault_of_text(thesis: object) -> str:
    if type(thesis) is not str:
        return f"gave a thesis that is no text but {type(thesis).__name__}"
    if len(thesis) > MOST_THESIS:
        return f"gave a thesis of {len(thesis)} characters; {MOST_THESIS} are the most"
    if "\0" in thesis:
        return "gave a thesis with a zero byte in it"
    if not thesis.isascii():
        try:
            thesis.encode()
        except UnicodeEncodeError:
            return "gave a thesis that is no valid text"
    return ""


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """One open position or pending order of one account (a hedging account's ticket)."""

    id: int
    symbol: str
    side: Side
    lots: Decimal
    stop: Decimal | None
    target: Decimal | None
    is_open: bool  # False: the order is still working
    entry: Decimal | None  # fill price, None while pending
    entry_ns: int  # instant of the fill, or of the decision while pending
    thesis: str = ""
    invalidation: Invalidation | None = None
    target_first: float | None = None  # as it was stated
    order: OrderType = OrderType.MARKET
    price: Decimal | None = None  # of a limit or stop order
