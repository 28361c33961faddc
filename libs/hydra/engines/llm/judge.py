"""From decisions to intents: what makes no sense on this market is refused, with its rule.

Each decision is judged by itself, in order; what is refused leaves the others as they are.
Size is no business of the model's arithmetic: only the risk is passed on, and the platform
divides it by the distance to the stop. Limits of the account are the guardian's to judge.

An asset is named by its symbol, or spelt with other letter case and separators where only
one symbol is spelt so: BTC/USD, btc-usd and BTCUSD are BTC-USD; BTC and BTC-USDT are not.

An opening first closes the own tickets that are against it, as rule engines do. What cannot
be meant together is refused together: openings both ways on one asset, opening the side
that another decision closes, and a hold beside an order on the same asset ("*" holds the
rest). What is said again of the same asset is refused from the second time on.

Prices are judged as they come to lie on the tick grid. Each, levels of an invalidation
included, must lie between a third and three times the mid; the price of a limit or stop
order within 20 % of it; a stop no further than 50 % from the entry. A market order enters at
the ask (short: the bid), where its target must be in front; its stop must lie beyond the
price at which it could be closed at once. Limit and stop orders are measured from their own
price.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

import msgspec

from hydra.engines.llm.decisions import (
    ALL_ASSETS,
    Action,
    Decision,
    StatedInvalidation,
    clean,
    storable,
)
from hydra.engines.protocol import Refusal
from hydra.engines.view import View
from hydra.errors import ConfigError
from hydra.market.timeframes import timeframe_name, timeframe_ns
from hydra.portfolio.intents import (
    LONGEST_LIFE_S,
    Close,
    Intent,
    Invalidation,
    Open,
    OrderType,
    Side,
    Ticket,
)

FARTHEST_FACTOR = 3  # any price against the mid, up and down
FARTHEST_ORDER_FRAC = Decimal("0.2")  # of the mid
FARTHEST_STOP_FRAC = Decimal("0.5")  # of the entry
NOTHING_DECIDED = "nothing was decided: everything stays as it is"
_LEAST_HOURS = 1 / Decimal(3_600)  # an order that lives no second would live for ever
_MOST_HOURS = Decimal(LONGEST_LIFE_S) / 3_600
_MOST_TIMEFRAME = 16  # characters: more digits than int() takes would raise
_MOST_SAID = 80  # characters
_MOST_TEXT = 400
_ALL = "*"
_SEPARATORS = re.compile(r"[-/_:\s]")
Own = Sequence[Ticket]  # the account's tickets, all or on one asset
_SIDES = {Action.OPEN_LONG: Side.BUY, Action.OPEN_SHORT: Side.SELL}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of decisions: the parts of an `Answer`."""

    intents: tuple[Intent, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    holds: tuple[str, ...] = ()


class _Refused(Exception):
    """Why a decision makes no sense here."""

    def __init__(self, rule: str, limit: object, figure: object, text: str) -> None:
        super().__init__(text)
        self.rule, self.limit, self.figure = rule, limit, figure


def judge(
    decisions: Sequence[Decision],
    view: View,
    *,
    timeframes: Mapping[str, Collection[int]],
    tickets: Own | None = None,
) -> Judged:
    """What follows from decisions that `parse_reply` gave. Raises nothing.

    `tickets`: the account's own; None: those that it has now.

    `timeframes`: the lengths in ns, symbol by symbol, of the bars on which an invalidation
    can be judged. No decisions at all are a hold of everything: so a reply that could not be
    read is never to be judged.
    """
    if not decisions:
        return Judged(holds=(NOTHING_DECIDED,))
    market = view.market
    every = view.account.tickets if tickets is None else tickets
    meant = [(decision, _symbol(decision, market)) for decision in decisions]
    intents: list[Intent] = []
    refusals: list[Refusal] = []
    holds: list[str] = []
    closing: set[int] = set()  # tickets that an intent closes already
    for i, (decision, symbol) in enumerate(meant):
        own = [ticket for ticket in every if ticket.symbol == symbol]
        try:
            if symbol is None:
                raise _Refused(
                    "unknown-asset", ", ".join(market), decision.asset,
                    f"{clean(decision.asset, _MOST_SAID)} is not traded here",
                )  # fmt: skip
            _check_company(
                decision,
                before=[other for other, named in meant[:i] if named == symbol],
                after=[other for other, named in meant[i + 1 :] if named == symbol],
                own=own,
            )
            if decision.action == Action.HOLD:
                holds.append(f"{symbol}: {decision.thesis}" if symbol != _ALL else decision.thesis)
                continue
            for intent in _intents(decision, market[symbol], own, timeframes.get(symbol, ())):
                if isinstance(intent, Close):
                    if intent.ticket in closing:
                        continue
                    closing.add(intent.ticket)
                intents.append(intent)
        except _Refused as refused:
            refusals.append(_refusal(decision, refused))
    return Judged(intents=tuple(intents), refusals=tuple(refusals), holds=tuple(holds))


def _refusal(decision: Decision, why: _Refused) -> Refusal:
    said = storable(msgspec.to_builtins(decision, builtin_types=(Decimal,)))
    assert isinstance(said, dict)  # as a struct is
    return Refusal(
        symbol=clean(decision.asset, _MOST_SAID),
        rule=why.rule,
        limit=clean(str(why.limit), _MOST_SAID),
        figure=clean(str(why.figure), _MOST_SAID),
        text=clean(str(why), _MOST_TEXT),
        decision=said,
    )


# What is meant


def _symbol(decision: Decision, market: Mapping[str, View]) -> str | None:
    """The symbol that the asset names; _ALL for a hold of everything."""
    asset = decision.asset
    if asset in market:
        return asset
    if decision.action == Action.HOLD and asset in ALL_ASSETS:
        return _ALL
    if not asset.isascii():  # letters that only look alike, or become others in upper case
        return None
    alike = [symbol for symbol in market if _plain(symbol) == _plain(asset)]
    return alike[0] if len(alike) == 1 else None


def _plain(symbol: str) -> str:
    return _SEPARATORS.sub("", symbol).upper()


def _check_company(
    decision: Decision, *, before: Sequence[Decision], after: Sequence[Decision], own: Own
) -> None:
    """Refuses what cannot be meant beside the other decisions on the same asset."""
    for other in (*before, *after):
        if _clash(decision, other, own):
            raise _Refused(
                "contradiction", other.action, decision.action,
                f"{decision.action} and {other.action} of one asset cannot both be meant",
            )  # fmt: skip
    for other in before:
        if other.action == decision.action and (
            decision.action != Action.CLOSE or other.ticket == decision.ticket
        ):
            raise _Refused(
                "duplicate", "once", "again", f"{decision.action} was decided of this asset before"
            )


def _clash(one: Decision, other: Decision, own: Own) -> bool:
    if one.action == other.action:
        return False
    actions = {one.action, other.action}
    if Action.HOLD in actions or Action.CLOSE not in actions:
        return True
    close, opening = (one, other) if one.action == Action.CLOSE else (other, one)
    return any(ticket.side == _SIDES[opening.action] for ticket in _named(close, own))


def _named(close: Decision, own: Own) -> list[Ticket]:
    """The tickets on its asset that a close names."""
    return [ticket for ticket in own if close.ticket in (None, ticket.id)]


# What follows


def _intents(decision: Decision, seen: View, own: Own, lengths_ns: Collection[int]) -> list[Intent]:
    if decision.action == Action.CLOSE:
        ending = _named(decision, own)
        if not ending:
            which = "ticket" if decision.ticket is None else f"ticket {decision.ticket}"
            raise _Refused(
                "nothing-to-close", [ticket.id for ticket in own], decision.ticket,
                f"there is no {which} of your own on {seen.symbol}",
            )  # fmt: skip
        return [seen.close_ticket(ticket, thesis=decision.thesis) for ticket in ending]
    opening = _opening(decision, seen, lengths_ns)
    against = [ticket for ticket in own if ticket.side != opening.side]
    return [*(seen.close_ticket(ticket, thesis=decision.thesis) for ticket in against), opening]


def _opening(decision: Decision, seen: View, lengths_ns: Collection[int]) -> Open:
    side = _SIDES[decision.action]
    bid, ask = seen.bid, seen.ask
    if not (bid.is_finite() and ask.is_finite() and 0 < bid <= ask):
        raise _Refused("no-price", "a bid and an ask", bid, f"{seen.symbol} has no price yet")
    prices = _Prices(side=side, bid=bid, ask=ask, seen=seen)
    order, price = prices.order(decision)
    enters, leaves = (price, price) if price is not None else prices.touch()
    stop = prices.stop(decision.stop, enters, leaves)
    target = prices.target(decision.target, enters)
    risk_frac = _risk_frac(decision.risk_percent)
    invalidation = _invalidation(decision.invalidation, prices, lengths_ns)
    open_ = seen.buy if side == Side.BUY else seen.sell
    return open_(
        order=order,
        price=price,
        stop=stop,
        target=target,
        risk_frac=risk_frac,
        confidence=_float(decision.confidence),
        thesis=decision.thesis,
        expires_s=_seconds("expires_hours", decision.expires_hours),
        # Without a target there is nothing that could come first.
        target_first=None if target is None else _float(decision.p_target_before_stop),
        hold_s=_seconds("expected_hold_hours", decision.expected_hold_hours),
        invalidation=invalidation,
    )


class _Prices(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one opening against its market."""

    side: Side
    bid: Decimal
    ask: Decimal
    seen: View

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2

    def touch(self) -> tuple[Decimal, Decimal]:
        """(price at which a market order enters, price at which it could leave at once)."""
        return (self.ask, self.bid) if self.side == Side.BUY else (self.bid, self.ask)

    def near(self, name: str, price: Decimal) -> Decimal:
        """The price on the grid, where it is a price of this market at all."""
        mid, far = self.mid, FARTHEST_FACTOR
        if price.is_finite() and mid / far <= price <= mid * far:
            instrument = self.seen.instrument
            on_grid = instrument.price(instrument.ticks(price))
            if on_grid > 0:
                return on_grid
        raise _Refused(
            "far-price", f"1/{far} to {far} times {mid}", price,
            f"{name} {_said(price)} is no price of {self.seen.symbol}, which stands at {mid}",
        )  # fmt: skip

    def order(self, decision: Decision) -> tuple[OrderType, Decimal | None]:
        """The order's type and price, None for a market order."""
        order, said = decision.order_type, decision.limit_price
        if order is None:
            raise _Refused(
                "order-type", "market, limit or stop", None, "an opening needs an order type"
            )
        if order == OrderType.MARKET:
            if said is not None:
                raise _Refused(
                    "order-type", "limit or stop", order, f"a market order has no price {said}"
                )
            return order, None
        if said is None:
            raise _Refused("price-missing", "a price", None, f"a {order} order needs a price")
        price = self.near("limit_price", said)
        if abs(price - self.mid) > FARTHEST_ORDER_FRAC * self.mid:
            raise _Refused(
                "far-price", f"{FARTHEST_ORDER_FRAC:%} of {self.mid}", price,
                f"a {order} order at {price} is too far from the market at {self.mid}",
            )  # fmt: skip
        touch = self.touch()[0]
        waits = self.side * (touch - price)  # above 0: the market must come down (short: up) to it
        if waits == 0 or (waits > 0) != (order == OrderType.LIMIT):
            where = "below" if (self.side == Side.BUY) == (order == OrderType.LIMIT) else "above"
            raise _Refused(
                "limit-side", f"{where} {touch}", price,
                f"a {order} order to {self.side.name.lower()} must lie {where} {touch}",
            )  # fmt: skip
        return order, price

    def stop(self, said: Decimal | None, enters: Decimal, leaves: Decimal) -> Decimal:
        if said is None:
            raise _Refused("stop-missing", "a stop", None, "an opening needs a stop")
        stop = self.near("stop", said)
        if self.side * (leaves - stop) <= 0:
            raise _Refused(
                "stop-side", leaves, stop,
                f"stop {stop} does not lie on the losing side of {leaves}",
            )  # fmt: skip
        if abs(enters - stop) > FARTHEST_STOP_FRAC * enters:
            raise _Refused(
                "far-price", f"{FARTHEST_STOP_FRAC:%} of {enters}", stop,
                f"stop {stop} is too far from the entry at {enters}",
            )  # fmt: skip
        return stop

    def target(self, said: Decimal | None, enters: Decimal) -> Decimal | None:
        if said is None:
            return None
        target = self.near("target", said)
        if self.side * (target - enters) <= 0:
            raise _Refused(
                "target-side", enters, target,
                f"target {target} does not lie on the winning side of {enters}",
            )  # fmt: skip
        return target


def _risk_frac(percent: Decimal | None) -> Decimal | None:
    if percent is None:
        return None
    if not (percent.is_finite() and 0 < percent <= 100):
        raise _Refused(
            "absurd-size", "above 0 and at most 100 %", percent,
            f"a risk of {_said(percent)} % of equity makes no sense",
        )  # fmt: skip
    return percent / 100


def _seconds(name: str, hours: Decimal | None) -> float | None:
    if hours is None:
        return None
    if not (hours.is_finite() and hours >= _LEAST_HOURS):
        raise _Refused("expired", "a second", hours, f"{name} {_said(hours)} is over at once")
    if hours > _MOST_HOURS:
        raise _Refused("too-long", _MOST_HOURS, hours, f"{name} {_said(hours)} is too long")
    return float(hours * 3_600)


def _float(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


def _invalidation(
    said: StatedInvalidation | None, prices: _Prices, lengths_ns: Collection[int]
) -> Invalidation | None:
    if said is None:
        return None
    below, above = said.close_below, said.close_above
    resolution_ns = 0
    if below is not None or above is not None:
        resolution_ns = _resolution_ns(said.timeframe, lengths_ns)
    close = prices.seen.close
    for name, level, sign in (("close_below", below, 1), ("close_above", above, -1)):
        if level is None:
            continue
        prices.near(name, level)
        if (close < level) if sign == 1 else (close > level):
            raise _Refused(
                "invalidation-met", level, close,
                f"{name} {level} is met already: the newest close is {close}",
            )  # fmt: skip
    return Invalidation(
        resolution_ns=resolution_ns,
        below=below,
        above=above,
        within_s=_seconds("within_hours", said.within_hours),
        text=said.text or "",
    )


def _resolution_ns(timeframe: str | None, lengths_ns: Collection[int]) -> int:
    """The length of the bars whose closes are to count, one of those there are."""
    named = timeframe or ""
    try:
        length_ns = timeframe_ns(named) if len(named) <= _MOST_TIMEFRAME else 0
    except ConfigError:
        length_ns = 0
    if length_ns not in lengths_ns:
        known = ", ".join(timeframe_name(one) for one in sorted(lengths_ns))
        raise _Refused(
            "invalidation-unknown-timeframe", known, timeframe,
            f"closes of {clean(str(timeframe), _MOST_SAID)} bars are not watched",
        )  # fmt: skip
    return length_ns


def _said(number: Decimal) -> str:
    return clean(str(number), _MOST_SAID)
