"""Consensus mode: the engines vote, the house makes one decision.

Every engine still trades its own account, since its P&L is what its vote weighs. Each cycle the
engines' wishes to open or to close are votes on their symbol, weighted by the engine's weight
(rank's share; equal shares before the first scoring). Written rules:

- to buy or to sell needs at least QUORUM of all weights, and more than the other side has; a
  tie decides nothing;
- a decision against the house's open tickets on the symbol closes them first; one for the side
  that it holds already changes nothing;
- to close what the house holds needs QUORUM as well, and more than either side has;
- an engine has one vote a side and symbol, its first, however many tickets it asks for; one
  with a price or risk that is no number has none;
- stop and target are the weighted medians of the winning voters', risk their weighted mean
  (of those who named one), and a voter without a stop does not decide the stop;
- votes count together when they are put on the desk together: those of a cycle, and those
  answers that take longer than a bar and arrive before the next one closes. The house's order
  is as late as the latest of its voters. An abstention is no vote, and weighs against nobody:
  the quorum is of all weights, so where too many abstain nothing is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from hydra.engines.protocol import Answer, Decision
from hydra.mother.contestants import Contestant
from hydra.mother.ledgers import Account
from hydra.mother.seats import Seat
from hydra.portfolio.intents import Close, Intent, Open, Side

QUORUM = Fraction(1, 2)
# Weights are small fractions (4/9, 7/20) that come as floats: near enough to find them again.
FINEST = 1_000_000
Vote = tuple[Fraction, Open]


class Weights(Protocol):
    """Whose word weighs how much."""

    weights: dict[str, float]


class Consensus:
    """Collects a cycle's votes and turns them into the house's intents."""

    def __init__(self, account: Account, scores: Weights) -> None:
        self.account = account
        self._scores = scores
        self._opens: dict[tuple[str, Side], dict[str, Vote]] = {}  # by engine
        self._closes: dict[str, dict[str, Fraction]] = {}  # by symbol and engine
        self.latency_ns = 0  # of the slowest of the voters that were heard

    def hear(
        self, decisions: Sequence[tuple[Seat, Decision, int]], accounts: Sequence[Account]
    ) -> None:
        """Count the decisions that come together, each with its latency in ns.

        References and engines without weight have no vote; who abstains or holds gives none.
        """
        self._opens.clear()
        self._closes.clear()
        self.latency_ns = 0
        for seat, decision, latency_ns in decisions:
            intents = decision.intents if isinstance(decision, Answer) else decision
            engine, weight = seat.contestant.name, self._weight(seat.contestant)
            if weight and intents:
                self.latency_ns = max(self.latency_ns, latency_ns)
            for intent in intents if weight else ():
                if isinstance(intent, Open):
                    if _is_sound(intent):
                        votes = self._opens.setdefault((intent.symbol, intent.side), {})
                        votes.setdefault(engine, (weight, intent))
                elif isinstance(intent, Close):
                    ticket = accounts[seat.account].live.get(intent.ticket)
                    if ticket is not None:
                        symbol = ticket.instrument.symbol
                        self._closes.setdefault(symbol, {})[engine] = weight

    def _weight(self, contestant: Contestant) -> Fraction:
        if contestant.is_reference:
            return Fraction(0)
        weight = self._scores.weights.get(contestant.name, 0.0)
        return Fraction(weight).limit_denominator(FINEST)

    def decide(self) -> list[Intent]:
        """The house's intents of this cycle."""
        intents: list[Intent] = []
        for symbol in sorted({symbol for symbol, _ in self._opens} | self._closes.keys()):
            buyers = list(self._opens.get((symbol, Side.BUY), {}).values())
            sellers = list(self._opens.get((symbol, Side.SELL), {}).values())
            buying = sum((weight for weight, _ in buyers), Fraction(0))
            selling = sum((weight for weight, _ in sellers), Fraction(0))
            closing = sum(self._closes.get(symbol, {}).values(), Fraction(0))
            mine = [t for t in self.account.tickets if t.symbol == symbol]
            if max(buying, selling) >= QUORUM and buying != selling:
                side, votes = (Side.BUY, buyers) if buying > selling else (Side.SELL, sellers)
                intents += [Close(ticket=t.id) for t in mine if t.side is not side]
                if not any(t.side is side for t in mine):
                    intents.append(_merged(symbol, side, votes))
            elif closing >= QUORUM and closing > max(buying, selling):
                intents += [Close(ticket=t.id, thesis="the vote is to close") for t in mine]
        return intents


def _is_sound(vote: Open) -> bool:
    return all(
        value is None or value.is_finite() for value in (vote.stop, vote.target, vote.risk_frac)
    )


def _merged(symbol: str, side: Side, votes: Sequence[Vote]) -> Open:
    risks = [(w, Fraction(v.risk_frac)) for w, v in votes if v.risk_frac is not None]
    mean: Decimal | None = None
    if risks:
        whole = sum((weight for weight, _ in risks), Fraction(0))
        exact = sum((weight * risk for weight, risk in risks), Fraction(0)) / whole
        mean = Decimal(exact.numerator) / Decimal(exact.denominator)
    share = float(sum(weight for weight, _ in votes))
    return Open(
        symbol=symbol,
        side=side,
        stop=_median([(w, v.stop) for w, v in votes if v.stop is not None]),
        target=_median([(w, v.target) for w, v in votes if v.target is not None]),
        risk_frac=mean,
        confidence=min(1.0, share),
        thesis=f"{share:.0%} of the weight votes {side.name.lower()}",
    )


def _median(values: Sequence[tuple[Fraction, Decimal]]) -> Decimal | None:
    """The weighted lower median."""
    half = sum((weight for weight, _ in values), Fraction(0)) / 2
    seen = Fraction(0)
    for weight, value in sorted(values, key=lambda pair: pair[1]):
        seen += weight
        if seen >= half:
            return value
    return None
