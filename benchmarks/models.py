"""What a gladiator's call costs beside the model: `python -m benchmarks.models [--docs]`.

The models are a server on this machine, in a process of its own, that answers at once or after
a fixed time; so what is measured is Hydra, the SDKs and the loopback line, never a model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.report import AIM_COLUMNS, Aim, Rows
from hydra.clock import SystemClock
from hydra.engines.llm.caller import LiveModels
from hydra.engines.llm.calls import Outcome, Question, Reply, Usage
from hydra.engines.llm.gladiator import GladiatorEngine
from hydra.engines.llm.prompt_files import prompt
from hydra.engines.llm.roster import Gladiator
from hydra.engines.view import View
from hydra.market.resample import resampled
from tests.support.llm_server import Heard, LoopbackModels, Say
from tests.support.minds import Market, markets
from tests.support.processes import sample_tables
from tests.support.views import view_of

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"
DAY_NS = 86_400 * 10**9
FOUR = {"deepseek": "DEEPSEEK", "anthropic": "ANTHROPIC", "xai": "XAI", "google": "GOOGLE"}
CROWD = 200
ANSWER_S = 0.5  # what the server takes when the crowd asks
CROWD_DEADLINE_S = 10.0
KEY = "no-key-of-anybody"
Times = Sequence[float]


@dataclass(frozen=True, slots=True)
class Delay:
    """Milliseconds of many calls."""

    p50: float
    p99: float
    calls: int

    @classmethod
    def of(cls, seconds: Times) -> Delay:
        ms = np.array(seconds) * 1e3
        return cls(float(np.percentile(ms, 50)), float(np.percentile(ms, 99)), len(ms))


@dataclass(slots=True)
class Found:
    """Everything that was measured."""

    ours: Delay  # sight, prompt, parsing, judging; the answer is there at once
    ours_again: Delay  # the same of a second gladiator that sees the same bars
    wires: dict[str, tuple[Delay, Delay]]  # by provider: a whole decision, the SDK's call alone
    crowd: Delay  # beyond the server's own time
    late: int  # of the crowd
    memory_mb: float  # resident, with the four providers loaded and used


def a_gladiator(provider: str, name: str = "g", **changes: object) -> Gladiator:
    values: dict[str, object] = {
        "name": name, "provider": provider, "model": "m", "calls_per_minute": 100_000.0,
        "calls_at_once": CROWD, "daily_budget_usd": Decimal(1_000_000),
        "usd_per_mtok_in": Decimal(1), "usd_per_mtok_out": Decimal(2),
    }  # fmt: skip
    return Gladiator(**(values | changes))  # type: ignore[arg-type]


def a_view(before: int = 0) -> View:
    """Three assets in two resolutions, real prices, so many bars before the last."""
    fine = sample_tables()[:3]
    now_ns = int(fine[0].open_ns[-1 - before]) + fine[0].resolution_ns
    return view_of(fine, wider=[resampled(table, DAY_NS) for table in fine], now_ns=now_ns)


def answer_to(heard: Heard) -> Say:
    """An opening for each asset that is shown."""
    return Say.decisions({"decisions": [one.open() for one in markets(heard)]})


# The server


def _serve(pipe: Connection, wait_s: float) -> None:
    def brain(heard: Heard) -> Say:
        return Say.slow(wait_s, answer_to(heard)) if wait_s else answer_to(heard)

    with LoopbackModels(brain) as server:
        pipe.send({provider: server.url(provider) for provider in FOUR})
        pipe.recv()


@contextmanager
def served(wait_s: float = 0.0) -> Iterator[None]:
    """The four providers' addresses lead to a server in another process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, wait_s))
    process.start()
    urls: dict[str, str] = here.recv()
    addresses = {f"{variable}_BASE_URL": urls[provider] for provider, variable in FOUR.items()}
    keys = {f"{variable}_API_KEY": KEY for variable in FOUR.values()}
    try:
        with patch.dict(os.environ, addresses | keys):
            yield
    finally:
        here.send("end")
        process.join()


# Measurements


class Instant:
    """A `ModelClient` that has the answer already."""

    def __init__(self, text: str) -> None:
        usage = Usage(input_tokens=5_000, output_tokens=300)
        self._reply = Reply(outcome=Outcome.ANSWERED, text=text, usage=usage, cost_units=1, tries=1)

    async def ask(self, question: Question, *, deadline_s: float) -> Reply:
        return self._reply


async def ours(calls: int) -> tuple[Delay, Delay]:
    """A decision, from the view to the intents, when the model takes no time at all.

    That of the first gladiator of a moment, and that of another one after it.
    """
    first: list[float] = []
    again: list[float] = []
    for i in range(calls):
        view = a_view(calls - i)  # bar by bar, as a season goes
        text = json.dumps({"decisions": [one.open() for one in priced(view)]})
        engines = [
            GladiatorEngine(
                name=name,
                settings=a_gladiator("openai", name),
                client=Instant(text),
                prompt=prompt("v1"),
            )
            for name in ("first", "again")
        ]
        for engine, times in zip(engines, (first, again), strict=True):
            start = time.perf_counter()
            answer = await engine.decide(view)
            times.append(time.perf_counter() - start)
            assert len(answer.intents) == 3, answer
    return Delay.of(first[20:]), Delay.of(again[20:])


def priced(view: View) -> list[Market]:
    """The markets of a view."""
    return [Market(name, float(one.bid), float(one.ask)) for name, one in view.market.items()]


async def wire(provider: str, calls: int) -> tuple[Delay, Delay]:
    """A whole decision over the real SDK, and the SDK's call without Hydra around it."""
    view, one = a_view(), a_gladiator(provider)
    asked: list[Question] = []
    async with LiveModels({"g": one}, clock=SystemClock()) as models:
        engine = GladiatorEngine(
            name="g", settings=one, client=_Keeping(models, asked), prompt=prompt("v1")
        )
        for _ in range(5):
            answer = await engine.decide(view)
        assert len(answer.intents) == 3, answer
        whole = []
        for _ in range(calls):
            start = time.perf_counter()
            await engine.decide(view)
            whole.append(time.perf_counter() - start)
    return Delay.of(whole), Delay.of(await _bare(one, asked[-1], calls))


class _Keeping:
    def __init__(self, client: LiveModels, asked: list[Question]) -> None:
        self._client, self._asked = client, asked

    async def ask(self, question: Question, *, deadline_s: float) -> Reply:
        self._asked.append(question)
        return await self._client.ask(question, deadline_s=deadline_s)


async def _bare(one: Gladiator, question: Question, calls: int) -> list[float]:
    """Seconds of pydantic-ai's own call of the same question."""
    from pydantic_ai.direct import model_request
    from pydantic_ai.messages import (
        ModelRequest,
        ModelRequestPart,
        SystemPromptPart,
        UserPromptPart,
    )
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.tools import ToolDefinition

    from hydra.engines.llm.line import http_client
    from hydra.engines.llm.providers import PROVIDERS, base_url_of

    tool = ToolDefinition(name="decide", parameters_json_schema=question.schema)
    parameters = ModelRequestParameters(output_tools=[tool], allow_text_output=True)
    parts: list[ModelRequestPart] = [
        SystemPromptPart(question.system),
        UserPromptPart(question.messages[0].text),
    ]
    settings = ModelSettings(max_tokens=question.max_output_tokens)
    async with http_client() as client:
        model = PROVIDERS[one.provider].build(one.model, base_url_of(one), KEY, client)
        times = []
        for i in range(calls + 5):
            start = time.perf_counter()
            await model_request(
                model,
                [ModelRequest(parts=parts)],
                model_settings=settings,
                model_request_parameters=parameters,
            )
            if i >= 5:
                times.append(time.perf_counter() - start)
        return times


async def crowd() -> tuple[Delay, int]:
    """Two hundred gladiators of four providers ask at the same instant."""
    view = a_view()
    names = [f"g{i}" for i in range(CROWD)]
    gladiators = {
        name: a_gladiator(provider, name, deadline_s=CROWD_DEADLINE_S)
        for name, provider in zip(names, list(FOUR) * (CROWD // len(FOUR)), strict=True)
    }
    text = prompt("v1")
    async with LiveModels(gladiators, clock=SystemClock()) as models:
        engines = [
            GladiatorEngine(name=name, settings=one, client=models, prompt=text)
            for name, one in gladiators.items()
        ]
        await asyncio.gather(*(engine.decide(view) for engine in engines[:8]))

        async def timed(engine: GladiatorEngine) -> tuple[float, bool]:
            answer = await engine.decide(view)
            return time.perf_counter() - start, bool(answer.intents)

        start = time.perf_counter()
        done = await asyncio.gather(*(timed(engine) for engine in engines))
    return Delay.of([took - ANSWER_S for took, _ in done]), sum(not here for _, here in done)


def _memory_alone() -> float:
    """Peak resident MB of a process that has what the daemon has and has asked all four once."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.models_memory"], cwd=ROOT, check=True,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return float(done.stdout.strip().splitlines()[-1])


def measure(*, calls: int, say: Callable[[str], None]) -> Found:
    """All of it. `calls` of each kind."""
    say("Hydra's own part of a decision")
    own, own_again = asyncio.run(ours(min(400, 2 * calls)))
    wires = {}
    with served():
        for provider in FOUR:
            say(f"decisions over the SDK of {provider}")
            wires[provider] = asyncio.run(wire(provider, calls))
        say("memory of the four providers")
        memory_mb = _memory_alone()
    with served(ANSWER_S):
        say(f"{CROWD} gladiators at once")
        delay, late = asyncio.run(crowd())
    return Found(own, own_again, wires, delay, late, memory_mb)


# Tables


def aims(found: Found) -> list[Aim]:
    """The goals."""
    return [
        Aim("Hydra's own part of a decision, p50", found.ours.p50, 1, at_least=False, unit=" ms"),
        Aim(f"missed deadlines, {CROWD} at once", found.late, 0, at_least=False),
        Aim("memory, four providers", found.memory_mb, 350, at_least=False, unit=" MB"),
    ]


CALL_COLUMNS = ("decision of three orders on three assets", "p50 ms", "p99 ms", "calls")


def call_rows(found: Found) -> Rows:
    """One line a kind of call."""
    rows: Rows = [
        _row("Hydra alone: the first gladiator of a moment", found.ours),
        _row("Hydra alone: another one after it", found.ours_again),
    ]
    for provider, (whole, sdk) in found.wires.items():
        rows.append(_row(f"{provider}: whole decision over SDK and loopback", whole))
        rows.append(_row(f"{provider}: pydantic-ai and its SDK alone", sdk))
    rows.append(_row(f"{CROWD} at once: delay beyond the model's {ANSWER_S:g} s", found.crowd))
    return rows


def _row(name: str, delay: Delay) -> tuple[str, ...]:
    return (name, f"{delay.p50:.2f}", f"{delay.p99:.2f}", f"{delay.calls:,}")


def markdown(found: Found) -> str:
    """Both tables."""
    lines: list[str] = []
    for columns, rows in (
        (AIM_COLUMNS, [aim.row() for aim in aims(found)]), (CALL_COLUMNS, call_rows(found)),
    ):  # fmt: skip
        lines += ["", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines[1:]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--calls", type=int, default=200, help="of each kind; %(default)s")
    parser.add_argument("--docs", action="store_true", help="put the tables in docs/benchmarks.md")
    given = parser.parse_args(arguments)
    note = Console(stderr=True)
    found = measure(calls=given.calls, say=lambda what: note.print(f"[dim]{what}[/dim]"))
    console = Console(width=110)
    for columns, rows in (
        (AIM_COLUMNS, [aim.row() for aim in aims(found)]), (CALL_COLUMNS, call_rows(found)),
    ):  # fmt: skip
        table = Table(*columns)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    out = ROOT / "benchmarks" / "results" / "models.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(asdict(found), indent=1) + "\n")
    console.print(f"written: {out}")
    if given.docs:
        page = ROOT / "docs" / "benchmarks.md"
        text = page.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        page.write_text(f"{before}{BEGIN}\n{markdown(found)}{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
