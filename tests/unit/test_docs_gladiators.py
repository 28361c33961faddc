"""What docs/gladiators.md, docs/cli.md and .env.example say of gladiators is what there is."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from apps.cli.decision_text import KINDS
from apps.cli.gladiator_check import state_of, usd_per_mtok
from hydra.engines.llm.calls import Outcome
from hydra.engines.llm.providers import PROVIDERS
from hydra.engines.llm.roster import Gladiator, load_roster
from hydra.settings import Settings

NOW_NS = 1_790_000_000 * 1_000_000_000  # a day in 2026
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gladiators.md").read_text("utf-8")
ENV = (ROOT / ".env.example").read_text("utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def settings_table() -> dict[str, str]:
    """Setting → default, as the page's table of settings has them."""
    section = PAGE.split("## Settings")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| ", section, re.MULTILINE))


def written(field: msgspec.structs.FieldInfo) -> str:
    """A default as the page writes it: TOML in a code span, or a dash for nothing."""
    if field.name == "name":
        return "the table's"
    if field.required:
        return "needed"
    value = field.default
    if value is None or value == "":
        return "–"
    if isinstance(value, tuple):
        return f"`[{', '.join(json.dumps(one) for one in value)}]`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:f}`" if isinstance(value, Decimal) else f"`{value}`"


def test_the_table_of_settings_is_that_of_gladiators() -> None:
    assert settings_table() == {
        field.name: written(field) for field in msgspec.structs.fields(Gladiator)
    }


def test_every_example_is_a_gladiator_with_a_price(tmp_path: Path) -> None:
    assert len(BLOCKS) == 5
    (tmp_path / "all.toml").write_text("\n".join(BLOCKS))
    roster = load_roster(tmp_path / "all.toml")

    assert set(roster) == {
        "deepseek", "claude", "gemini", "ollama", "gpt", "opus", "small", "mine",
    }  # fmt: skip
    for name, one in roster.items():
        assert None not in usd_per_mtok(one, NOW_NS), name
    assert roster["ollama"].model == "llama3.3"
    assert state_of(roster["mine"], NOW_NS)[1].startswith("no key: set VLLM_API_KEY in the")


def test_each_block_of_toml_stands_by_itself(tmp_path: Path) -> None:
    for i, block in enumerate(BLOCKS):
        path = tmp_path / f"{i}.toml"
        path.write_text(block)
        load_roster(path)


@pytest.mark.parametrize("name", sorted(load_roster()))
def test_every_gladiator_that_ships_is_on_the_page_with_its_provider_and_key(name: str) -> None:
    one = load_roster()[name]
    provider = PROVIDERS[one.provider]
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))

    assert provider.title in row
    assert (provider.key_variable or one.only_with) in row


def variables() -> list[str]:
    names = [str(field.validation_alias) for field in Settings.model_fields.values()]
    for provider in PROVIDERS.values():
        names += [provider.key_variable, provider.url_variable]
    return sorted(filter(None, names))


@pytest.mark.parametrize("name", variables())
def test_the_example_of_env_names_every_variable(name: str) -> None:
    assert re.search(rf"^#{name}=", ENV, re.MULTILINE)


@pytest.mark.parametrize(
    "name", [name for name in variables() if name.endswith(("KEY", "BASE_URL"))]
)
def test_the_page_names_every_key_and_address(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_the_addresses_of_the_example_are_the_providers_own() -> None:
    said = dict(re.findall(r"^#(\w+_BASE_URL)=(\S+)$", ENV, re.MULTILINE))

    assert said == {one.url_variable: one.url for one in PROVIDERS.values()}


def test_every_reason_to_abstain_is_on_the_page() -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("| `abstained` |"))
    reasons = {outcome.value for outcome in Outcome} - {"answered"}

    assert set(re.findall(r"`([a-z-]+)`", row)) == {
        "abstained", "unparseable", "still-thinking", *reasons,
    }  # fmt: skip


def test_the_page_of_the_command_names_every_kind_of_decision() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| `hydra decisions` |"))

    assert set(KINDS) == set(re.findall(r"[a-z.]+", row.split("again for more:")[1]))
