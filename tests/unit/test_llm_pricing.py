"""What tokens cost, by hand: USD per million tokens is 100 units (1e-8 USD) a token."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from hydra.clock import to_ns
from hydra.engines.llm.calls import Message, Question, Usage
from hydra.engines.llm.pricing import FRAME_TOKENS, Price, cost_units, most_units, price
from hydra.engines.llm.providers import PROVIDERS
from hydra.engines.llm.roster import Gladiator


@pytest.fixture(autouse=True)
def _real_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        monkeypatch.delenv(provider.url_variable, raising=False)


def a_gladiator(provider: str, model: str, **settings: Any) -> Gladiator:
    return Gladiator(name="them", provider=provider, model=model, **settings)


def at(year: int, month: int, day: int, hour: int = 0) -> int:
    return to_ns(datetime(year, month, day, hour, tzinfo=UTC))


USAGE = Usage(input_tokens=1_000, output_tokens=500, cached_tokens=200)
NOON = at(2026, 11, 26, 12)


@pytest.mark.parametrize(
    ("provider", "model", "units"),
    [  # 800 × input + 200 × cached + 500 × output
        ("anthropic", "claude-sonnet-5-5", 800 * 200 + 200 * 10 + 500 * 1_000),
        ("xai", "grok-4.7", 800 * 200 + 200 * 50 + 500 * 600),
        ("google", "gemini-3.8-flash", 800 * 75 + 1_500 + 500 * 375),
        ("deepseek", "deepseek-v4-pro", 800 * 66 + 440 + 500 * 198),
        ("openai", "gpt-5.2", 800 * 175 + 3_500 + 500 * 1_400),
        ("openrouter", "anthropic/claude-sonnet-5.5", 800 * 200 + 200 * 10 + 500 * 1_000),
    ],
)
def test_the_table_prices_input_cached_input_and_output(
    provider: str, model: str, units: int
) -> None:
    assert cost_units(price(a_gladiator(provider, model)), USAGE, at_ns=NOON) == units


def test_a_price_may_change_with_the_hour_and_with_the_date() -> None:
    deepseek = price(a_gladiator("deepseek", "deepseek-v4-pro"))
    at_peak = cost_units(deepseek, USAGE, at_ns=at(2026, 11, 26, 2))
    assert at_peak == 800 * 132 + 880 + 500 * 396  # twice that of noon

    gemini = price(a_gladiator("google", "gemini-3.8-flash"))
    next_year = cost_units(gemini, USAGE, at_ns=at(2027, 1, 1))
    assert next_year == 2 * (cost_units(gemini, USAGE, at_ns=at(2026, 12, 31)) or 0)


def test_a_long_prompt_is_priced_at_its_own_rate() -> None:
    grok = price(a_gladiator("xai", "grok-4.7"))

    short = cost_units(grok, Usage(input_tokens=199_999, output_tokens=0), at_ns=NOON)
    long = cost_units(grok, Usage(input_tokens=200_000, output_tokens=0), at_ns=NOON)

    assert short == 199_999 * 200
    assert long == 200_000 * 400


def test_what_is_written_to_the_cache_has_its_own_rate() -> None:
    claude = price(a_gladiator("anthropic", "claude-sonnet-5-5"))
    usage = Usage(input_tokens=1_000, output_tokens=0)

    units = cost_units(claude, usage, at_ns=NOON, cache_write_tokens=400)

    assert units == 600 * 200 + 400 * 250


def test_the_users_figures_take_the_tables_place() -> None:
    one = a_gladiator(
        "anthropic", "claude-sonnet-5-5",
        usd_per_mtok_in=Decimal("0.5"), usd_per_mtok_out=Decimal(4),
    )  # fmt: skip

    assert cost_units(price(one), USAGE, at_ns=NOON) == 1_000 * 50 + 500 * 400


def test_a_model_of_ones_own_machine_costs_nothing_where_that_is_said() -> None:
    free = {"usd_per_mtok_in": Decimal(0), "usd_per_mtok_out": Decimal(0)}

    assert cost_units(price(a_gladiator("ollama", "qwen3:8b", **free)), USAGE, at_ns=NOON) == 0
    assert price(a_gladiator("ollama", "qwen3:8b")) is None


@pytest.mark.parametrize("provider", [*PROVIDERS, "acme"])
def test_an_unknown_model_has_no_price(provider: str) -> None:
    unknown = price(a_gladiator(provider, "of-our-own"))

    assert unknown is None
    assert cost_units(unknown, USAGE, at_ns=NOON) is None


@pytest.mark.parametrize("how", ["setting", "variable"])
def test_a_model_at_somebody_elses_address_has_no_price(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "variable":
        monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
        elsewhere = a_gladiator("openai", "gpt-5.2")
    else:
        elsewhere = a_gladiator("openai", "gpt-5.2", base_url="http://localhost:8000/v1")

    assert price(elsewhere) is None


def test_unknown_usage_and_contradictory_usage_have_an_unknown_cost() -> None:
    claude = price(a_gladiator("anthropic", "claude-sonnet-5-5"))
    more_cached_than_read = Usage(input_tokens=10, output_tokens=1, cached_tokens=11)

    assert cost_units(claude, None, at_ns=NOON) is None
    assert cost_units(claude, more_cached_than_read, at_ns=NOON) is None


def test_a_table_without_a_rate_for_tokens_is_no_price() -> None:
    speech = price(a_gladiator("openai", "whisper-1"))  # priced by the second

    assert cost_units(speech, USAGE, at_ns=NOON) is None


def test_a_part_of_a_unit_is_a_whole_one() -> None:
    tiny = Price("m", Decimal("0.001"), Decimal(0))

    assert cost_units(tiny, Usage(input_tokens=1, output_tokens=0), at_ns=NOON) == 1
    assert cost_units(tiny, Usage(input_tokens=11, output_tokens=0), at_ns=NOON) == 2


def a_question(**what: Any) -> Question:
    usual: dict[str, Any] = {
        "engine": "them", "at_ns": 0, "attempt": 1, "provider": "anthropic", "model": "m",
        "prompt_version": "v1", "system": "é", "messages": (Message("user", "abc"),),
        "schema": {}, "max_output_tokens": 1_000,
    }  # fmt: skip
    return Question(**usual | what)


def test_the_worst_case_counts_every_byte_as_a_token_and_the_whole_output() -> None:
    one_each = Price("m", Decimal(1), Decimal(1))

    most = most_units(one_each, a_question(), at_ns=NOON)

    assert most == 100 * (FRAME_TOKENS + len("{}") + len("é".encode()) + len("abc") + 1_000)
    assert most_units(None, a_question(), at_ns=NOON) is None


def test_no_reply_can_cost_more_than_the_worst_case() -> None:
    claude = price(a_gladiator("anthropic", "claude-sonnet-5-5"))
    question = a_question(system="0123456789" * 100)

    most = most_units(claude, question, at_ns=NOON)

    all_written = Usage(input_tokens=1_000 + FRAME_TOKENS, output_tokens=1_000)
    dearest = cost_units(claude, all_written, at_ns=NOON, cache_write_tokens=2_000)
    assert most is not None
    assert dearest is not None
    assert most >= dearest


def test_lone_surrogates_in_a_prompt_do_not_stop_the_count() -> None:
    assert most_units(Price("m", Decimal(1), Decimal(1)), a_question(system="\ud800"), at_ns=NOON)
