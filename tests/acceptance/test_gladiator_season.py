"""Whole seasons with gladiators, asked over the real SDKs at a server on this machine."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import run
from tests.support.llm_server import Brain, Heard, LoopbackModels, Say
from tests.support.minds import hold, lively, markets
from tests.support.shared_data import ROOT

pytestmark = pytest.mark.slow

CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")
KEY = "canary-f3b1c9d7e5a24680"
FOUR = {"deepseek": "deepseek", "claude": "anthropic", "grok": "xai", "gemini": "google"}
ROSTER = """
[gladiators.deepseek]
calls_per_minute = 100000
latency_s = 2
[gladiators.claude]
calls_per_minute = 100000
latency_s = 2
[gladiators.grok]
calls_per_minute = 100000
latency_s = 2
[gladiators.gemini]
calls_per_minute = 100000
latency_s = 2
[gladiators.mine]
provider = "openai"
model = "my-model"
base_url = "{openai}"
usd_per_mtok_in = 1
usd_per_mtok_out = 2
calls_per_minute = 100000
latency_s = 2
"""
EVERYONE = "deepseek,claude,grok,gemini,mine,ema_trend,flat"
Home = Callable[[Brain], "Arena"]


class Arena:
    """A home of its own, the loopback server, and what a user types there."""

    def __init__(self, home: Path, server: LoopbackModels) -> None:
        self.home = home
        self.server = server
        self.roster = home / "gladiators.toml"
        self.roster.write_text(ROSTER.format(openai=server.url("openai")))

    def words(self, season: str, *more: str, to: str = "2024-01-12") -> list[str]:
        return [
            "replay", "--bars", CRYPTO, "--to", to, "--season", season, "--engines", EVERYONE,
            "--gladiators", str(self.roster), *more,
        ]  # fmt: skip

    def replay(self, season: str, *more: str, to: str = "2024-01-12") -> int:
        return run(self.words(season, "--quiet", *more, to=to))

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.home / "data" / "hydra" / "hydra.db") as connection:
            return connection.execute(statement, values).fetchall()

    def digest(self, season: str) -> str:
        return str(self.sql("SELECT digest FROM seasons WHERE name = ?", season)[0][0])


def child_waits() -> None:
    """Let the other process have the machine for a moment."""
    threading.Event().wait(0.005)


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    servers: list[LoopbackModels] = []
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    for name in ("HYDRA_DB_URL", "KILL_SWITCH", "HYDRA_GLADIATORS", "OLLAMA_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def open_arena(brain: Brain) -> Arena:
        server = LoopbackModels(brain, key="").__enter__()
        servers.append(server)
        for provider in FOUR.values():
            variable = {"anthropic": "ANTHROPIC", "google": "GOOGLE"}.get(provider)
            variable = variable or provider.upper()
            monkeypatch.setenv(f"{variable}_API_KEY", KEY)
            monkeypatch.setenv(f"{variable}_BASE_URL", server.url(provider))
        return Arena(tmp_path, server)

    yield open_arena
    for server in servers:
        server.__exit__(None, None, None)


def test_five_gladiators_play_a_season_and_it_adds_up(
    arena: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    there = arena(lively)

    assert there.replay("live") == 0
    assert run(["db", "verify", "--season", "live"]) == 0
    asked = dict(there.sql("SELECT engine, count(*) FROM hydra_model_calls GROUP BY engine"))
    assert set(asked) == {*FOUR, "mine"}
    assert sum(asked.values()) == len(there.server.heard)
    trades = dict(there.sql("SELECT engine, count(*) FROM hydra_trades GROUP BY engine"))
    assert all(trades.get(name, 0) > 3 for name in (*FOUR, "mine"))
    # Nobody is a copy of another: each has its own account and its own answers.
    results = there.sql(
        "SELECT engine, sum(pnl) FROM hydra_trades WHERE status = 'CLOSED' GROUP BY engine"
    )
    assert len({pnl for _, pnl in results}) == len(results)
    # Their models may have read about 2024.
    assert {tag for (tag,) in there.sql(
        "SELECT DISTINCT tag FROM hydra_trades WHERE engine <> 'ema_trend'"
    )} == {"before-cutoff"}  # fmt: skip
    reasons = {r for (r,) in there.sql("SELECT DISTINCT exit_reason FROM hydra_trades")}
    assert "invalidation" in reasons

    capsys.readouterr()
    assert run(["standings", "--season", "live", "--json"]) == 0
    lines = {line["engine"]: line for line in json.loads(capsys.readouterr().out)}
    assert lines["mine"]["model_cost_usd"] == pytest.approx(
        asked["mine"] * (1_000 * 1 + 50 * 2) / 1e6
    )
    assert lines["mine"]["net_of_models_usd"] == pytest.approx(
        lines["mine"]["net_pnl_usd"] - lines["mine"]["model_cost_usd"]
    )
    assert lines["claude"]["rank"] is None


def test_a_season_that_is_recorded_and_replayed_has_the_same_digest_and_asks_nobody(
    arena: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = arena(lively)
    assert there.replay("live") == 0
    heard = len(there.server.heard)
    for provider in ("DEEPSEEK", "ANTHROPIC", "XAI", "GOOGLE"):
        monkeypatch.delenv(f"{provider}_API_KEY")
        monkeypatch.delenv(f"{provider}_BASE_URL")

    assert run(["replay", "--models", "recorded", "--season", "again", "--quiet"]) == 0

    assert there.digest("again") == there.digest("live")
    assert len(there.server.heard) == heard
    rows = "SELECT engine, c.at_ns, attempt, prompt, reply, cost_units, latency_ns, called_ns"
    live, again = (
        there.sql(
            f"{rows} FROM model_calls c JOIN seasons s ON s.id = c.season_id"
            " WHERE s.name = ? ORDER BY 1, 2, 3",
            name,
        )
        for name in ("live", "again")
    )
    assert live == again


def test_two_seasons_against_the_same_models_have_the_same_digest(arena: Home) -> None:
    there = arena(lively)

    assert there.replay("one", to="2024-01-06") == 0
    assert there.replay("two", to="2024-01-06") == 0

    assert there.digest("one") == there.digest("two")
    assert there.replay("other", "--seed", "2", to="2024-01-06") == 0
    assert there.digest("other") != there.digest("one")


def test_answers_that_take_longer_than_a_bar_verify_and_are_heard_again(arena: Home) -> None:
    there = arena(lively)
    slow = there.roster.read_text().replace("latency_s = 2", "latency_s = 20000")  # bars: 14400
    there.roster.write_text(slow)

    assert there.replay("live", to="2024-01-05") == 0

    assert there.sql("SELECT count(*) FROM hydra_trades WHERE engine = 'mine'")[0][0] > 0
    assert run(["db", "verify", "--season", "live"]) == 0
    again = ["again", "--models", "recorded", "--recording", "live"]
    assert there.replay(*again, to="2024-01-05") == 0
    assert there.digest("again") == there.digest("live")


def test_a_season_killed_in_the_middle_goes_on_and_asks_nothing_twice(arena: Home) -> None:
    there = arena(lively)
    assert there.replay("whole") == 0
    there.server.heard.clear()
    words = there.words("torn", "--quiet")
    child = subprocess.Popen([sys.executable, "-m", "apps.cli.main", *words], cwd=ROOT)
    try:
        while len(there.server.heard) < 150:
            assert child.poll() is None, "it ended before it could be killed"
            child_waits()
    finally:
        child.kill()
        child.wait()
    answered = len(there.sql("SELECT 1 FROM model_calls WHERE season_id = 2"))
    before = len(there.server.heard)

    assert run(["replay", "--resume", "--season", "torn", "--quiet"]) == 0

    assert there.digest("torn") == there.digest("whole")
    again = len(there.server.heard) - before
    everything = len(there.sql("SELECT 1 FROM model_calls WHERE season_id = 2"))
    # Only what no committed row answers was asked again.
    assert 0 < answered < everything
    assert again == everything - answered


def test_replies_to_other_prompts_are_not_heard_as_if_they_fitted(
    arena: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    there = arena(lively)
    assert there.replay("live") == 0
    capsys.readouterr()

    code = run(
        ["replay", "--models", "recorded", "--season", "poorer", "--cash", "10000", "--quiet"]
    )

    assert code == 0
    assert "had no recorded reply" in capsys.readouterr().err
    outcomes = there.sql("SELECT DISTINCT outcome FROM hydra_model_calls")
    assert outcomes == [("not-recorded",)]
    kinds = dict(there.sql(
        "SELECT kind, count(*) FROM journal j JOIN seasons s ON s.id = j.season_id"
        " WHERE s.name = 'poorer' AND engine = 'claude' GROUP BY kind"
    ))  # fmt: skip
    assert kinds["abstained"] == kinds["model"]
    assert "approved" not in kinds


def test_models_off_benches_them_and_the_others_play(arena: Home) -> None:
    there = arena(lively)

    assert there.replay("off", "--models", "off") == 0

    assert not there.server.heard
    states = dict(there.sql("SELECT engine, reason FROM engines WHERE state = 'benched'"))
    assert set(states) == {*FOUR, "mine"}
    assert set(states.values()) == {"models are off (--models off)"}


def test_without_keys_the_four_are_on_the_bench_and_say_what_to_set(
    arena: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = arena(lively)
    variables = {"deepseek": "DEEPSEEK", "claude": "ANTHROPIC", "grok": "XAI", "gemini": "GOOGLE"}
    for variable in variables.values():
        monkeypatch.delenv(f"{variable}_API_KEY")

    assert there.replay("bench") == 0

    reasons = dict(there.sql("SELECT engine, reason FROM engines WHERE state = 'benched'"))
    assert set(reasons) == set(FOUR)
    for name, variable in variables.items():
        assert f"{variable}_API_KEY" in reasons[name]
    assert {heard.provider for heard in there.server.heard} == {"openai"}


def test_keys_are_nowhere_in_what_a_season_leaves_behind(
    arena: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    def echoing(heard: Heard) -> Say:
        if len(heard.messages) > 1:
            return Say.status(400, f"bad key {heard.key}")
        return Say.status(401, f"incorrect API key provided: {heard.key}")

    there = arena(echoing)
    assert there.replay("echo") == 0
    assert run(["decisions", "--season", "echo", "--limit", "500", "--json"]) == 0
    assert run(["report", "--season", "echo"]) == 0
    shown = capfd.readouterr()

    assert all(heard.key in (KEY, "", "no-key") for heard in there.server.heard)
    assert KEY in {heard.key for heard in there.server.heard}
    assert KEY not in shown.out + shown.err
    files = [path for path in there.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".html" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
    benched = dict(there.sql("SELECT engine, reason FROM engines WHERE state = 'benched'"))
    assert set(FOUR) <= set(benched)


# Every way to misbehave

PROSE = "I think this is best:\n```json\n{}\n```\nGood luck."


def sound(heard: Heard) -> dict[str, object]:
    return {"decisions": [markets(heard)[0].open()]}


def changed(**changes: Any) -> Callable[[Heard], Say]:
    """A sound decision but for what is changed."""
    return lambda heard: Say.decisions({"decisions": [markets(heard)[0].open(**changes)]})


def in_prose(heard: Heard) -> Say:
    return Say.plain(PROSE.replace("{}", json.dumps(sound(heard))))


def repaired(first: Callable[[Heard], Say]) -> Callable[[Heard], Say]:
    """`first`, and a sound answer once it is asked to repair it."""
    return lambda heard: Say.decisions(sound(heard)) if len(heard.messages) > 1 else first(heard)


def numbers_as_text(heard: Heard) -> Say:
    one = markets(heard)[0].open()
    return Say.decisions({"decisions": [one | {"stop": str(one["stop"]), "risk_percent": "0.5"}]})


# (what the model does, what comes of it: a decision, ("abstained", reason) or ("refused", rule))
MISBEHAVIOURS: dict[str, tuple[Callable[[Heard], Say], str | tuple[str, str]]] = {
    "401": (lambda heard: Say.status(401), ("abstained", "unauthorised")),
    "429": (lambda heard: Say.status(429, retry_after="3600"), ("abstained", "rate-limited")),
    "500": (lambda heard: Say.status(500), ("abstained", "overloaded")),
    "529": (lambda heard: Say.status(529), ("abstained", "overloaded")),
    "slow": (lambda heard: Say.slow(1.8, Say.decisions(sound(heard))), ("abstained", "late")),
    "cut": (lambda heard: Say.cut(), ("abstained", "unreachable")),
    "invalid envelope": (lambda heard: Say.invalid_json(), ("abstained", "garbled")),
    # Some SDKs read what they can of it; no decision comes of that either.
    "wrong encoding": (lambda heard: Say.wrong_encoding(), ("abstained", "garbled|unparseable")),
    "refusal": (lambda heard: Say.refusal(), ("abstained", "declined")),
    "empty": (lambda heard: Say.empty(), ("abstained", "empty")),
    "5 MB": (lambda heard: Say.huge(5_000_000), ("abstained", "unparseable")),
    "cut short": (lambda heard: Say.plain("").cut_short(), ("abstained", "cut-short")),
    "broken JSON": (lambda heard: Say.plain('{"decisions": [{'), ("abstained", "unparseable")),
    "wrong schema": (
        lambda heard: Say.decisions({"trades": [{"buy": "BTC"}]}), ("abstained", "unparseable"),
    ),
    "indicators": (
        lambda heard: Say.plain('[{"indicator": "rsi14", "value": 51.2}]'),
        ("abstained", "unparseable"),
    ),
    "prose around JSON": (in_prose, "approved"),
    "numbers as text": (numbers_as_text, "approved"),
    "repaired": (repaired(lambda heard: Say.plain("Buy!")), "approved"),
    "unknown asset": (changed(asset="DOGE-USD"), ("refused", "unknown-asset")),
    "stop on the wrong side": (changed(stop=10_000_000), ("refused", "far-price")),
    "stop above a long": (
        lambda heard: Say.decisions(
            {"decisions": [markets(heard)[0].open(stop=round(markets(heard)[0].ask * 1.02, 2))]}
        ),
        ("refused", "stop-side"),
    ),
    "absurd size": (changed(risk_percent=5_000), ("refused", "absurd-size")),
    "far price": (
        changed(order_type="limit", limit_price=1.0), ("refused", "far-price"),
    ),
    "no stop": (changed(stop=None), ("refused", "stop-missing")),
    "holds": (lambda heard: Say.decisions({"decisions": [hold()]}), "held"),
    "decides nothing": (lambda heard: Say.decisions({"decisions": []}), "held"),
}  # fmt: skip


@pytest.mark.parametrize("how", MISBEHAVIOURS)
def test_whatever_a_model_does_ends_in_a_record_and_the_season_goes_on(
    arena: Home, how: str
) -> None:
    say, ends = MISBEHAVIOURS[how]
    there = arena(say)
    there.roster.write_text(
        there.roster.read_text().replace("100000", "100000\ndeadline_s = 1.5\nevery = '1d'")
    )

    assert there.replay("odd", to="2024-01-05") == 0

    for engine in (*FOUR, "mine"):
        records = there.sql(
            "SELECT kind, body FROM journal j JOIN seasons s ON s.id = j.season_id"
            " WHERE s.name = 'odd' AND engine = ? ORDER BY seq",
            engine,
        )
        kinds = [kind for kind, _ in records]
        first = next(
            (kind, json.loads(body))
            for kind, body in records
            if kind in ("approved", "refused", "held", "abstained")
        )
        kind, body = first
        assert "model" in kinds
        if isinstance(ends, str):
            assert kind == ends, (engine, body)
        else:
            why = body["reason"] if kind == "abstained" else body["refused"]["rule"]
            assert kind == ends[0], (engine, body)
            assert why in ends[1].split("|"), (engine, body)
    states = dict(there.sql("SELECT name, state FROM seasons"))
    assert states == {"odd": "finished"}
    # The others have not noticed.
    assert there.sql("SELECT count(*) FROM hydra_trades WHERE engine = 'ema_trend'")[0][0] > 0
