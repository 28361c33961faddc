"""System prompts: found by version, complete, and short."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import pytest

from hydra.engines.llm.brief import ASK
from hydra.engines.llm.decisions import SCHEMA, Action
from hydra.engines.llm.prompt_files import prompt, versions
from hydra.engines.llm.roster import load_roster
from hydra.engines.llm.writing import tokens
from hydra.errors import ConfigError
from hydra.portfolio.intents import OrderType


def fields_of(schema: object) -> Iterator[str]:
    """Names of all properties, however deep."""
    if isinstance(schema, dict):
        properties = schema.get("properties", {})
        yield from properties
        for value in (*properties.values(), schema.get("items")):
            yield from fields_of(value)


def test_a_prompt_comes_with_its_version_and_digest() -> None:
    row = prompt("v1")

    assert row.version == "v1"
    assert row.sha256 == sha256(row.text.encode()).hexdigest()


def test_every_gladiator_that_ships_has_its_prompt() -> None:
    assert {one.prompt for one in load_roster().values()} <= set(versions())


@pytest.mark.parametrize("version", ["v0", "", "../prompts/v1", "v1.md"])
def test_an_unknown_version_names_those_there_are(version: str) -> None:
    with pytest.raises(ConfigError, match=r"there are: v1"):
        prompt(version)


@pytest.mark.parametrize("version", versions())
def test_a_prompt_explains_every_field_and_choice_of_the_answer(version: str) -> None:
    text = prompt(version).text

    names = {*fields_of(SCHEMA)}
    assert {"decisions", "p_target_before_stop", "close_below"} <= names
    for name in (*names, *Action, *OrderType):
        assert name in text


@pytest.mark.parametrize("version", versions())
def test_a_prompt_leaves_the_budget_to_the_brief(version: str) -> None:
    assert tokens(prompt(version).text) < 1_300


def test_the_prompt_names_the_markers_and_the_tool_that_the_brief_uses() -> None:
    text = prompt("v1").text

    assert "`<data " in text and "`</data>`" in text
    assert "`decide`" in text and "`decide`" in ASK
