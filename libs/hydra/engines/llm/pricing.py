"""What a model's tokens cost: offline, from the table of genai-prices or the user's own figures.

What nobody knows costs None, never nothing: the budget refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

import msgspec

from hydra.clock import to_datetime
from hydra.engines.llm.calls import Question, Usage
from hydra.engines.llm.providers import PROVIDERS, is_own_address
from hydra.engines.llm.roster import Gladiator
from hydra.market.instruments import UNITS_PER_USD

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_MTOK = 1_000_000
# What a provider puts around the texts: roles, the tool's frame, its own system prompt for tools.
# Anthropic's is the largest that is documented, below 700 tokens:
# https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing
FRAME_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class Price:
    """What the tokens of one model cost: the user's figures where given, else the table's."""

    model: str
    usd_per_mtok_in: Decimal | None = None
    usd_per_mtok_out: Decimal | None = None
    table: tuple[Provider, ModelInfo] | None = field(default=None, repr=False, compare=False)

    def usd(self, usage: Usage, *, at_ns: int, cache_write_tokens: int = 0) -> Decimal | None:
        """Exact USD of the tokens at an instant of the machine's clock; None: nobody knows.

        Input is priced at the cached rate where it was read from the provider's cache, and at the
        rate of writing it there where it was (`cache_write_tokens`, part of the input), as far as
        the table knows such rates. Rates that change with the hour or the length are the table's.
        """
        if self.usd_per_mtok_in is not None and self.usd_per_mtok_out is not None:
            return (
                Decimal(usage.input_tokens) * self.usd_per_mtok_in
                + Decimal(usage.output_tokens) * self.usd_per_mtok_out
            ) / _MTOK
        if self.table is None:
            return None
        return _by_table(self.table, usage, at_ns, cache_write_tokens)


def price(gladiator: Gladiator) -> Price | None:
    """The price of the gladiator's model; None where neither its settings nor the table know it.

    A model behind somebody else's address that only speaks OpenAI's language has no known price:
    `usd_per_mtok_in` and `usd_per_mtok_out` say it, zeros for one's own machine.
    """
    if gladiator.usd_per_mtok_in is not None:
        return Price(gladiator.model, gladiator.usd_per_mtok_in, gladiator.usd_per_mtok_out)
    provider = PROVIDERS.get(gladiator.provider)
    if provider is None or not provider.price_id:
        return None
    if gladiator.provider == "openai" and is_own_address(gladiator):
        return None
    from genai_prices.data_snapshot import get_snapshot

    try:
        found = get_snapshot().find_provider_model(gladiator.model, None, provider.price_id, None)
    except LookupError:
        return None
    return Price(gladiator.model, table=found)


def cost_units(
    price: Price | None, usage: Usage | None, *, at_ns: int, cache_write_tokens: int = 0
) -> int | None:
    """1e-8 USD, rounded up; None where the price or the usage is unknown."""
    if price is None or usage is None:
        return None
    usd = price.usd(usage, at_ns=at_ns, cache_write_tokens=cache_write_tokens)
    return None if usd is None else _units(usd)


def most_units(price: Price | None, question: Question, *, at_ns: int) -> int | None:
    """The most that one request can cost, in 1e-8 USD; None where the price is unknown.

    The input has at most as many tokens as bytes (the tokenisers of all these models fall back to
    single bytes, so no token is shorter), all of it written to the cache; the output has as many
    as the question allows.
    """
    texts = [question.system, *(message.text for message in question.messages)]
    input_tokens = FRAME_TOKENS + len(msgspec.json.encode(question.schema))
    input_tokens += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    most = Usage(input_tokens=input_tokens, output_tokens=question.max_output_tokens)
    return cost_units(price, most, at_ns=at_ns, cache_write_tokens=input_tokens)


def _units(usd: Decimal) -> int:
    return int((usd * UNITS_PER_USD).to_integral_value(ROUND_CEILING))


def _by_table(
    table: tuple[Provider, ModelInfo], usage: Usage, at_ns: int, cache_write_tokens: int
) -> Decimal | None:
    from genai_prices import Usage as Counted

    provider, model = table
    at = to_datetime(at_ns)
    rates = model.get_prices(at)
    if rates.input_mtok is None or rates.output_mtok is None:
        return None  # the table has the model, but no rate for its tokens
    counted = Counted(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=cache_write_tokens,
    )
    try:
        return model.calc_price(counted, provider, genai_request_timestamp=at).total_price
    except ValueError:
        return None  # counts that contradict each other, as more cached tokens than input
