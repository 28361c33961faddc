"""Contestants that answer as gladiators do, without a model: seasons for standings and reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from hydra.engines.protocol import Answer
from hydra.engines.view import View
from hydra.market.bars import BarTable
from hydra.mother.contestants import Contestant
from hydra.storage.store import open_season
from hydra.tournament.season import EngineRow, ModelCallRow
from tests.support.seasons import USD, Played, a_contestant, a_season, play_bars

SECOND_NS = 1_000_000_000
Script = Callable[[View, int], Answer]


class Answering:
    """An engine one waits for; a script of the view and the number of the question, from 0."""

    features = ()

    def __init__(self, script: Script) -> None:
        self._script = script
        self._asked = 0

    async def decide(self, view: View) -> Answer:
        await asyncio.sleep(0)
        self._asked += 1
        return self._script(view, self._asked - 1)


def params_of(name: str, **changes: object) -> dict[str, object]:
    """What a season keeps of a gladiator's settings."""
    values: dict[str, object] = {
        "name": name, "provider": "anthropic", "model": "claude-test-1", "replicas": 1,
        "cutoff": None, "every": "1h", "prompt": "v1", "prompt_sha256": "ef" * 32,
        "timeframes": ["1h", "1d"], "temperature": None, "reflect": False,
    }  # fmt: skip
    return values | changes


def a_gladiator(name: str, script: Script, **changes: Any) -> Contestant:
    """Asked every hour; `changes` as `cutoff_ns=NEVER`. `claude#2` is a replica of `claude`."""
    family, _, number = name.partition("#")
    values: dict[str, Any] = {
        "every_s": 3_600,
        "params": params_of(family, replicas=2 if number else 1),
        "family": family if number else "",
    }
    return a_contestant(name, Answering(script), **(values | changes))


def benched(name: str, reason: str, **changes: object) -> EngineRow:
    """A gladiator that cannot play."""
    return EngineRow(
        engine=name, title="Gladiator", params=params_of(name.partition("#")[0], **changes),
        is_reference=False, state="benched", reason=reason,
    )  # fmt: skip


def a_call(engine: str, at_ns: int, attempt: int = 1, **changes: Any) -> ModelCallRow:
    values: dict[str, Any] = {
        "engine": engine, "at_ns": at_ns, "attempt": attempt, "provider": "anthropic",
        "model": "claude-test-1", "model_said": "claude-test-1", "prompt_version": "v1",
        "prompt_sha256": "ab" * 32, "system_sha256": "cd" * 32, "prompt": "[]", "params": {},
        "outcome": "answered", "error": "", "reply": '{"decisions": []}', "finish": "stop",
        "input_tokens": 1_000, "output_tokens": 100, "cached_tokens": 0, "cost_units": USD // 100,
        "latency_ns": SECOND_NS, "tries": 1, "called_ns": 1,
    }  # fmt: skip
    return ModelCallRow(**(values | changes))


def play_into(
    url: str,
    tables: Sequence[BarTable],
    engines: Sequence[Contestant],
    *,
    settings: dict[str, object] | None = None,
    **changes: Any,
) -> Played:
    """Play a season over the tables into a database; `settings` are those of its row."""
    with open_season(url, a_season(settings=settings or {}), resume=False) as store:
        return play_bars(tables, engines, store=store, **changes)  # type: ignore[arg-type]
