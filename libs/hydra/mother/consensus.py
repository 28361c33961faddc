"""Consensus mode: the engines vote, the house makes one decision.

Every engine still trades its own account, since its P&L is what its vote weighs. Each cycle the
engines' wishes to open or to close are votes on their symbol, weighted by the engine's weight
(rank's share; equal shares before the first scoring). Written rules:

- the votes cast must weigh at least QUORUM of all weights, or nothing is decided;
- more weight for buying than for selling buys, and the reverse; a tie decides nothing;
- a decision against the house's open tickets on the symbol closes them first;
- weight for closing that exceeds the weight for holding on closes what the house holds;
- stop and target are the weighted medians of the winning voters', risk their weighted mean
  (of those who named one), and a voter without a stop does not decide the stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from hydra.mother.contestants import Contestant
from hydra.mother.ledgers import Account
from hydra.mother.seats import Seat
from hydra.portfolio.intents import Close, Intent, Open, Side

QUORUM = 0.5


class Weights(Protocol):
    """Whose word weighs how much."""

    weights: dict[str, float]


class Consensus:
    """Collects a cycle's votes and turns them into the house's intents."""

    def __init__(self, account: Account, scores: Weights) -> None:
        self.account = account
        self._scores = scores
        self._opens: dict[str, list[tuple[float, Open]]] = {}
        self._closes: dict[str, float] = {}

    def hear(self, wishes: Sequence[tuple[Seat, object]], accounts: Sequence[Account]) -> None:
        """Count a cycle's wishes. References and engines without weight have no vote."""
        self._opens.clear()
        self._closes.clear()
        for seat, wish in wishes:
            weight = self._weight(seat.contestant)
            if weight <= 0.0 or not isinstance(wish, (tuple, list)):
                continue
            for intent in wish:
                if isinstance(intent, Open):
                    self._opens.setdefault(intent.symbol, []).append((weight, intent))
                elif isinstance(intent, Close):
                    ticket = accounts[seat.account].live.get(intent.ticket)
                    if ticket is not None:
                        symbol = ticket.instrument.symbol
                        self._closes[symbol] = self._closes.get(symbol, 0.0) + weight

    def _weight(self, contestant: Contestant) -> float:
        if contestant.is_reference:
            return 0.0
        return self._scores.weights.get(contestant.name, 0.0)

    def decide(self) -> list[Intent]:
        """The house's intents of this cycle."""
        intents: list[Intent] = []
        for symbol in sorted(self._opens.keys() | self._closes.keys()):
            votes = self._opens.get(symbol, [])
            buying = sum(weight for weight, vote in votes if vote.side is Side.BUY)
            selling = sum(weight for weight, vote in votes if vote.side is Side.SELL)
            closing = self._closes.get(symbol, 0.0)
            mine = [t for t in self.account.tickets if t.symbol == symbol]
            if max(buying, selling) >= QUORUM and buying != selling:
                side = Side.BUY if buying > selling else Side.SELL
                intents += [Close(ticket=t.id) for t in mine if t.side is not side]
                if not any(t.side is side for t in mine):
                    intents.append(_merged(symbol, side, votes))
            elif closing >= QUORUM and closing > max(buying, selling):
                intents += [Close(ticket=t.id, thesis="the vote is to close") for t in mine]
        return intents


def _merged(symbol: str, side: Side, votes: Sequence[tuple[float, Open]]) -> Open:
    won = [(weight, vote) for weight, vote in votes if vote.side is side]
    risks = [(weight, vote.risk_frac) for weight, vote in won if vote.risk_frac is not None]
    total = sum((Decimal(repr(weight)) for weight, _ in risks), Decimal(0))
    risk = sum((Decimal(repr(weight)) * risk for weight, risk in risks), Decimal(0))
    share = sum(weight for weight, _ in won)
    return Open(
        symbol=symbol,
        side=side,
        stop=_median([(w, v.stop) for w, v in won if v.stop is not None]),
        target=_median([(w, v.target) for w, v in won if v.target is not None]),
        risk_frac=risk / total if total else None,
        confidence=min(1.0, share),
        thesis=f"{share:.0%} of the weight votes {side.name.lower()}",
    )


def _median(values: Sequence[tuple[float, Decimal]]) -> Decimal | None:
    """The weighted lower median."""
    half = sum(weight for weight, _ in values) / 2.0
    seen = 0.0
    for weight, value in sorted(values, key=lambda pair: pair[1]):
        seen += weight
        if seen >= half:
            return value
    return None
