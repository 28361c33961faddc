"""What a gladiator is told: the user message of a question, made of blocks of data.

Made from a `View` and the gladiator's memory alone, so it holds nothing that is not known at
that moment; the same view and memory give the same text, byte for byte.

What does not fit into the tokens allowed is left out in the order of `TRIMMING`, the same for
all gladiators: fewer lessons, fewer points of the coarser bars, fewer of the finer ones, older
rulings, then each of them further down. Never left out are the clock, the account with the
guardian's rules, own tickets with their theses, and of each asset its price, its costs and its
newest bars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hydra.clock import NS_PER_S, to_datetime
from hydra.engines.llm.memory import MOST_LESSONS, Memory
from hydra.engines.llm.roster import Gladiator
from hydra.engines.llm.series import MOST_POINTS, Series, price_places, tick_places
from hydra.engines.llm.writing import (
    data,
    quoted,
    span,
    stamp,
    tokens_of,
    twelfths,
    usd,
)
from hydra.engines.llm.writing import (
    tokens as tokens,
)
from hydra.engines.view import OwnAccount, Ruling, TradingCosts, View
from hydra.errors import EngineError
from hydra.market.instruments import UNITS_PER_USD
from hydra.market.timeframes import timeframe_name
from hydra.portfolio.intents import Invalidation, Side, Ticket

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MOST_NAME = 40  # characters of a symbol or another name
MOST_RULE = 300  # characters of a sentence of the guardian's
ASK = "Decide now: call the tool `decide` once, or answer with its JSON alone.\n"


class Sizes(NamedTuple):
    """How much of each is told, at most."""

    lessons: int = MOST_LESSONS
    coarser: int = 10  # bars of an asset
    finer: int = MOST_POINTS
    rulings: int = 5
    record: int = 1  # all of it or nothing
    calibration: int = 1  # likewise


TRIMMING: tuple[tuple[str, int], ...] = (
    ("lessons", 8), ("lessons", 4),
    ("coarser", 6),
    ("finer", 8),
    ("rulings", 2),
    ("lessons", 2),
    ("coarser", 4),
    ("finer", 6),
    ("lessons", 1),
    ("coarser", 2),
    ("finer", 4),
    ("rulings", 1),
    ("record", 0),
    ("lessons", 0),
    ("calibration", 0),
    ("coarser", 1),
    ("finer", 2),
    ("rulings", 0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the brief. `age_s`: from its newest data to now; None: there is none yet."""

    name: str
    text: str
    age_s: float | None

    def __str__(self) -> str:
        age = "no data yet" if self.age_s is None else span(self.age_s)
        return data(self.name, age, self.text)


class _Part(NamedTuple):
    """A block as a function of sizes. It holds values of its moment, nothing that moves on."""

    name: str
    age_s: float | None
    text: Callable[[Sizes], str]  # "": no such block
    reads: tuple[str, ...] = ()  # the sizes on which the text depends

    def block(self, sizes: Sizes) -> Block:
        return Block(self.name, self.text(sizes), self.age_s)


class Brief:
    """All that is to be told. Immutable; `blocks` are the blocks in full."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = tuple(parts)
        self._full = tuple(part.block(Sizes()) for part in self._parts)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """In the order of the text, nothing left out."""
        return tuple(block for block in self._full if block.text)

    def text(self, most_tokens: int, system: str = "") -> str:
        """The user message, as much of it as fits beside `system`.

        `system` is all else that is sent: the system prompt, and the schema of the answer where
        it counts. Raises EngineError, saying by how much, where even the rest after all trimming
        is too long.
        """
        written = [_written(block) for block in self._full]
        besides = twelfths(system) + twelfths(ASK)
        if tokens_of(besides + twelfths("".join(written))) > most_tokens:
            self._trim(written, besides, most_tokens)
        return "".join((*written, ASK))

    def _trim(self, written: list[str], besides: int, most_tokens: int) -> None:
        """Write blocks anew, shorter and shorter, until all fits."""
        lengths = [twelfths(text) for text in written]
        sizes = Sizes()
        for field, most in TRIMMING:
            sizes = sizes._replace(**{field: most})
            for place, part in enumerate(self._parts):
                if field in part.reads:
                    written[place] = _written(part.block(sizes))
                    lengths[place] = twelfths(written[place])
            needed = tokens_of(besides + sum(lengths))
            if needed <= most_tokens:
                return
        raise EngineError(
            f"a brief of {needed} tokens, shortened as far as may be and with the system prompt"
            f" counted in, is {needed - most_tokens} over the {most_tokens} allowed"
        )


def _written(block: Block) -> str:
    return str(block) if block.text else ""


def compose(view: View, gladiator: Gladiator, memory: Memory) -> Brief:
    """All that `view` shows now, and what `memory` holds, for one question.

    The memory has to have taken in the closed tickets before. A gladiator without lessons is
    told neither lessons nor calibration; nothing else changes. Raises KeyError for an asset
    whose costs the account does not know.
    """
    account = view.account
    market = view.market or {view.symbol: view}
    now_ns = account.now_ns
    parts = [
        _fixed("clock", _clock(now_ns, gladiator)),
        _fixed("account", _account(account)),
        _fixed("tickets", _tickets(account.tickets, market, now_ns)),
    ]
    for place, (symbol, one) in enumerate(market.items(), 1):
        parts.append(
            _market(f"market {place}", one, view.wider.get(symbol), account.costs(symbol), now_ns)
        )
    parts.append(_rulings(account.rulings, now_ns))
    if gladiator.lessons:
        parts += _past(memory, now_ns)
    return Brief(parts)


def _fixed(name: str, text: str) -> _Part:
    """A block that is never trimmed, of figures as they are now."""
    return _Part(name, 0.0, lambda _: text)


def _age_s(now_ns: int, newest_ns: int | None) -> float | None:
    return None if newest_ns is None else (now_ns - newest_ns) / NS_PER_S


def _clock(now_ns: int, gladiator: Gladiator) -> str:
    every = timeframe_name(gladiator.every_s * NS_PER_S)
    return (
        f"now: {stamp(now_ns)}, {_WEEKDAYS[to_datetime(now_ns).weekday()]}\n"
        f"you are asked every {every}; between two questions only stops, targets, expiries,"
        " invalidations and the guardian act for you"
    )


# The account


def _account(account: OwnAccount) -> str:
    equity, initial = account.equity_units, account.initial_units
    today, in_all = (
        "no limit" if room is None else usd(max(0, room)) for room in account.room_units
    )
    rank, ranked = account.place
    standing = f"none yet; {ranked} hold one" if rank is None else f"{rank} of {ranked}"
    lines = [
        f"equity {usd(equity)}, balance {usd(account.balance_units)}",
        f"opening balance {usd(initial)}; equity since then {usd(equity - initial, sign=True)}"
        f" ({100 * (equity - initial) / initial:+z.2f} %)",
        f"may still be lost before the guardian stops you: today {today}, in all {in_all}",
        f"your rank: {standing}",
        "the guardian on single orders:",
        *(f"- {quoted(rule, MOST_RULE)}" for rule in account.rules),
    ]
    return "\n".join(lines)


def _tickets(tickets: Sequence[Ticket], market: Mapping[str, View], now_ns: int) -> str:
    """Every ticket of the account, oldest first."""
    if not tickets:
        return "no open ticket, no working order"
    told = [_ticket(one, market.get(one.symbol), now_ns) for one in tickets]
    return "in brackets: profit or loss at that price, before commission\n" + "\n".join(told)


def _ticket(ticket: Ticket, seen: View | None, now_ns: int) -> str:
    side = "long" if ticket.side is Side.BUY else "short"
    what = f"{side} {quoted(ticket.symbol, MOST_NAME)}, {ticket.lots.normalize():f} lots"
    ago = span((now_ns - ticket.entry_ns) / NS_PER_S)
    if ticket.entry is None:
        order = (
            ticket.order.value if ticket.price is None else f"{ticket.order} at {ticket.price:f}"
        )
        lines = [f"ticket {ticket.id}: working {order} order, not filled: {what}; placed {ago} ago"]
    else:
        lines = [f"ticket {ticket.id}: {what}; entry {ticket.entry:f}, open for {ago}"]
    lines.append("  " + ", ".join(_exits(ticket, seen)))
    if ticket.target_first is not None:
        lines.append(f"  you stated {ticket.target_first:.2f} that the target comes first")
    lines.append(f"  your thesis: {quoted(ticket.thesis) if ticket.thesis else 'none given'}")
    if ticket.invalidation is not None:
        lines.append(f"  your invalidation: {_invalidation(ticket.invalidation)}")
    return "\n".join(lines)


def _exits(ticket: Ticket, seen: View | None) -> Iterator[str]:
    """The price at which it would be closed now, its stop and its target; what each brings."""
    prices = [("stop", ticket.stop), ("target", ticket.target)]
    worth = None
    if ticket.entry is not None and seen is not None and seen.now_ns:
        prices.insert(0, ("now", seen.bid if ticket.side is Side.BUY else seen.ask))
        worth = int(ticket.side) * ticket.lots * seen.instrument.contract_size * UNITS_PER_USD
    for name, price in prices:
        if price is None:
            yield f"{name} none"
        elif worth is None or ticket.entry is None:
            yield f"{name} {price:f}"
        else:
            yield f"{name} {price:f} ({usd(int((price - ticket.entry) * worth), sign=True)})"


def _invalidation(one: Invalidation) -> str:
    said = []
    bar = timeframe_name(one.resolution_ns) if one.resolution_ns else ""
    for price, where in ((one.below, "below"), (one.above, "above")):
        if price is not None:
            said.append(f"a {bar} close {where} {price:f}")
    if one.within_s is not None:
        said.append(f"still open {span(one.within_s)} after its entry")
    return " or ".join(said) + (f"; {quoted(one.text)}" if one.text else "")


# The market


def _market(
    name: str, finer: View, coarser: View | None, costs: TradingCosts, now_ns: int
) -> _Part:
    instrument = finer.instrument
    lines = [
        f"asset {quoted(finer.symbol, MOST_NAME)} ({quoted(instrument.asset_class, MOST_NAME)});"
        f" price in {instrument.quote}, tick {instrument.tick_size.normalize():f},"
        f" 1 lot = {instrument.contract_size.normalize():f} base units"
    ]
    if finer.now_ns:
        lines.append(f"bid {finer.bid:f}, ask {finer.ask:f} at the newest close")
    lines.append(_costs(costs, finer))
    series = [(Series.of(finer, now_ns), "finer")]
    if coarser is not None:
        series.append((Series.of(coarser, now_ns), "coarser"))

    def text(sizes: Sizes) -> str:
        return "\n".join((*lines, *(one.text(getattr(sizes, size)) for one, size in series)))

    newest_ns = max(finer.now_ns, 0 if coarser is None else coarser.now_ns)
    return _Part(name, _age_s(now_ns, newest_ns or None), text, ("finer", "coarser"))


def _costs(costs: TradingCosts, seen: View) -> str:
    """In basis points and, once there is a price, in the price itself."""

    def both(bps: float) -> str:
        if math.isnan(seen.close):
            return f"{bps:.2f} bps"
        return f"{bps:.2f} bps ({bps * seen.close / 10_000:.{places}f})"

    places = 0
    if not math.isnan(seen.close):
        places = price_places(tick_places(seen.instrument), seen.close) + 1
    return (
        f"costs, in brackets in units of the price: spread {both(costs.spread_bps)}; on each side"
        f" commission {both(costs.commission_bps)} and slippage {both(costs.slippage_bps)};"
        f" a move of {both(costs.least_move_bps)} in your favour pays for opening and closing"
    )


# The past


def _rulings(rulings: Sequence[Ruling], now_ns: int) -> _Part:
    told = tuple(
        f"{span((now_ns - one.at_ns) / NS_PER_S)} ago, {quoted(one.symbol, MOST_NAME)}"
        f" {quoted(one.kind, MOST_NAME)} by rule {quoted(one.rule, MOST_NAME)}:"
        f" {quoted(one.text, MOST_RULE)}"
        for one in rulings[-Sizes().rulings :]
    )
    newest_ns = rulings[-1].at_ns if rulings else None

    def text(sizes: Sizes) -> str:
        return "\n".join(told[max(0, len(told) - sizes.rulings) :])

    return _Part("rulings", _age_s(now_ns, newest_ns), text, ("rulings",))


def _past(memory: Memory, now_ns: int) -> tuple[_Part, ...]:
    """Record, lessons and calibration, as they stand now."""
    age_s = _age_s(now_ns, memory.newest_ns)
    count, lessons = memory.count, memory.lines()
    record, calibration = "\n".join(memory.record()), "\n".join(memory.calibration())

    def newest_lessons(sizes: Sizes) -> str:
        if not lessons or not sizes.lessons:
            return ""
        told = lessons[-sizes.lessons :]
        heading = f"{len(told)} of your {count} closed tickets, oldest first"
        return "\n".join((heading, *(f"- {line}" for line in told)))

    return (
        _Part("record", age_s, lambda sizes: record if sizes.record else "", ("record",)),
        _Part("lessons", age_s, newest_lessons, ("lessons",)),
        _Part(
            "calibration",
            age_s,
            lambda sizes: calibration if sizes.calibration else "",
            ("calibration",),
        ),
    )
