"""What the answers of a gladiator add up to: calls, money, abstentions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hydra.engines.protocol import Answer
from hydra.market.instruments import UNITS_PER_USD


@dataclass(slots=True)
class Tally:
    """Of one account's engine, over the season."""

    answers: int = 0  # abstentions included
    calls: int = 0
    repairs: int = 0
    refused: int = 0  # decisions that made no sense on the market
    holds: int = 0  # answers that only held
    input_tokens: int = 0
    output_tokens: int = 0
    cost_units: int = 0  # of the calls whose cost is known
    unknown_costs: int = 0  # calls that went out and whose cost nobody knows
    abstentions: Counter[str] = field(default_factory=Counter)

    def add_calls(self, answer: Answer) -> None:
        """Take in what was asked for an answer, as soon as it was asked."""
        for call in answer.calls:
            self.calls += call.tries > 0
            self.repairs += call.attempt == 2
            self.input_tokens += call.input_tokens or 0
            self.output_tokens += call.output_tokens or 0
            if call.cost_units is not None:
                self.cost_units += call.cost_units
            elif call.tries:
                self.unknown_costs += 1

    def add_answer(self, answer: Answer) -> None:
        """Take in what it said."""
        self.answers += 1
        self.refused += len(answer.refusals)
        if answer.abstention is not None:
            self.abstentions[answer.abstention.reason] += 1
        elif answer.holds and not answer.intents and not answer.refusals:
            self.holds += 1

    def metrics(self, net_pnl_usd: float) -> dict[str, object]:
        """For the standings; nothing for an engine that asks no model.

        P&L net of model cost is unknown where the cost of a call is.
        """
        if not self.answers and not self.calls:
            return {}
        cost_usd = self.cost_units / UNITS_PER_USD
        return {
            "model_answers": self.answers,
            "model_calls": self.calls,
            "model_repairs": self.repairs,
            "model_refused": self.refused,
            "model_holds": self.holds,
            "model_abstentions": dict(sorted(self.abstentions.items())),
            "model_input_tokens": self.input_tokens,
            "model_output_tokens": self.output_tokens,
            "model_cost_usd": cost_usd,
            "model_unknown_costs": self.unknown_costs,
            "net_of_models_usd": None if self.unknown_costs else net_pnl_usd - cost_usd,
        }
