"""How much memory the four providers take: in a process of its own, for benchmarks.models.

It has Mother, the store, the kernels and a gladiator of each provider, asks each once at the
addresses that the environment names, and prints its peak of resident memory in MB.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import hydra.mother.mother
import hydra.storage.store
from hydra.clock import SystemClock
from hydra.engines.llm.caller import LiveModels
from hydra.engines.llm.calls import Message, Outcome, Question
from hydra.engines.llm.decisions import SCHEMA
from hydra.engines.llm.gladiator import GladiatorEngine
from hydra.engines.llm.prompt_files import prompt
from hydra.engines.llm.roster import Gladiator

LOADED = (hydra.mother.mother, hydra.storage.store, GladiatorEngine)  # beside the providers


def a_gladiator(provider: str) -> Gladiator:
    return Gladiator(
        name=provider,
        provider=provider,
        model="m",
        usd_per_mtok_in=Decimal(1),
        usd_per_mtok_out=Decimal(2),
    )


def peak_mb() -> float:
    """Peak resident memory of this process.

    Not getrusage's: that remembers the process from which this one was forked.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status has no VmHWM")


async def ask_all() -> None:
    """One question to each provider. Raises AssertionError where one does not answer."""
    gladiators = {name: a_gladiator(name) for name in ("deepseek", "anthropic", "xai", "google")}
    async with LiveModels(gladiators, clock=SystemClock()) as models:
        for name, one in gladiators.items():
            question = Question(
                engine=name,
                at_ns=0,
                attempt=1,
                provider=one.provider,
                model=one.model,
                prompt_version="v1",
                system=prompt("v1").text,
                messages=(Message("user", "Decide."),),
                schema=SCHEMA,
                max_output_tokens=1_000,
            )
            reply = await models.ask(question, deadline_s=60.0)
            assert reply.outcome is Outcome.ANSWERED, reply


if __name__ == "__main__":
    asyncio.run(ask_all())
    print(peak_mb())
