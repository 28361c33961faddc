"""The providers' SDKs are heavy: who asks no model does not load them."""

from __future__ import annotations

import subprocess
import sys

from tests.support.shared_data import ROOT

PROGRAM = """
import importlib, pkgutil, sys
import hydra.engines.llm
found = [module.name for module in pkgutil.iter_modules(hydra.engines.llm.__path__)]
for name in found:
    importlib.import_module(f"hydra.engines.llm.{name}")
heavy = {"pydantic_ai", "openai", "anthropic", "google.genai", "genai_prices"}
print(sorted(found), sorted(heavy & set(sys.modules)), sep="\\n")
"""


def run(program: str) -> list[str]:
    paths = [str(ROOT / "libs"), str(ROOT)]
    code = f"import sys; sys.path[:0] = {paths!r}\n{program}"
    done = subprocess.run(  # the folder is not the repository: no file there is imported by chance
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout.splitlines()


def test_importing_the_gladiators_imports_no_sdk() -> None:
    found, loaded = run(PROGRAM)

    assert all(f"'{name}'" in found for name in ("providers", "line", "pricing", "caller"))
    assert loaded == "[]"


def test_asking_a_provider_loads_its_sdk_and_no_other() -> None:
    program = """
import asyncio, sys
from decimal import Decimal
from hydra.clock import ManualClock
from hydra.engines.llm.caller import LiveModels, Patience
from hydra.engines.llm.calls import Message, Question
from hydra.engines.llm.roster import Gladiator
one = Gladiator(name="a", provider="ollama", model="m", base_url="http://127.0.0.1:9",
                usd_per_mtok_in=Decimal(0), usd_per_mtok_out=Decimal(0))
question = Question(engine="a", at_ns=0, attempt=1, provider="ollama", model="m",
                    prompt_version="v1", system="s", messages=(Message("user", "q"),),
                    schema={"type": "object"}, max_output_tokens=100)
async def main():
    async with LiveModels({"a": one}, clock=ManualClock(), patience=Patience(tries=1)) as models:
        return await models.ask(question, deadline_s=30)
print(asyncio.run(main()).outcome)
print(sorted({"openai", "anthropic", "google.genai"} & set(sys.modules)))
"""
    assert run(program) == ["unreachable", "['openai']"]
