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
