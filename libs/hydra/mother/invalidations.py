"""What proves a ticket's thesis wrong, as its engine had said: judged by machine, bar by bar."""

from __future__ import annotations

from collections.abc import Mapping

from hydra.clock import NS_PER_S
from hydra.mother.ledgers import LiveTicket


def proved_wrong(ticket: LiveTicket, closes: Mapping[tuple[str, int], float], now_ns: int) -> str:
    """The proof in words, "" where there is none.

    `closes` are those of the newest bars, by symbol and length of the bar in ns.
    """
    wrong = ticket.intent.invalidation
    if wrong is None:
        return ""
    close = closes.get((ticket.instrument.symbol, wrong.resolution_ns))
    if close is not None:
        if wrong.below is not None and close < wrong.below:
            return f"a close at {close:g}, below {wrong.below}"
        if wrong.above is not None and close > wrong.above:
            return f"a close at {close:g}, above {wrong.above}"
    if wrong.within_s is None or ticket.status != "OPEN":
        return ""
    is_over = now_ns - ticket.entry_ns >= int(wrong.within_s * NS_PER_S)
    return f"still open {wrong.within_s / 3600:g} h after its entry" if is_over else ""
