"""`hydra gladiators` as a user types it: without a key, with one, with a wrong one, and offline."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import run
from hydra.engines.llm.decisions import SCHEMA
from tests.support.llm_server import Heard, LoopbackModels, Say

ROOT = Path(__file__).resolve().parents[2]
CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")
CANARY = "sk-canary-7f3d9a2c51e0"
START = "2024-03-20"
SHORT = ["--bars", CRYPTO, "--from", START]
# Nothing of a season then hangs on how fast this machine is.
STEADY = "latency_s = 1\ncalls_per_minute = 60000\n"
MINE = f"""
[gladiators.claude]
{STEADY}
[gladiators.deepseek]
{STEADY}
[gladiators.trio]
provider = "openrouter"
model = "anthropic/claude-sonnet-5"
replicas = 3
cutoff = 2024-01-31
usd_per_mtok_in = 3
usd_per_mtok_out = 15.5
{STEADY}
[gladiators.local]
provider = "openai"
model = "some-model"
base_url = "http://somebody:letmein@127.0.0.1:9/v1"
"""
HOLD: dict[str, object] = {
    "decisions": [{"asset": "*", "action": "hold", "thesis": "No edge after costs."}]
}
NOTHING: dict[str, object] = {"decisions": []}


class Traders:
    """What the models say: claude talks and decides nothing, the others trade or hold."""

    def __init__(self) -> None:
        self.say: dict[str, Say] = {}  # by provider, instead of the usual
        self._asked = 0

    def __call__(self, heard: Heard) -> Say:
        if heard.provider in self.say:
            return self.say[heard.provider]
        if "check of the line" in heard.system:
            return Say.decisions(NOTHING)
        if heard.provider == "anthropic":
            return Say.plain("I would rather not say.")
        if heard.provider == "deepseek":
            return Say.decisions(self._trade(heard))
        return Say.decisions(HOLD)

    def _trade(self, heard: Heard) -> dict[str, object]:
        """Buys bitcoin at every second question, with a stop 4 % below."""
        self._asked += 1
        said = heard.messages[-1][1].split('asset "BTC-USDT"')[1]
        ask = float(said.split("ask ")[1].split()[0])
        if self._asked % 2:
            return HOLD
        return {
            "decisions": [
                {
                    "asset": "BTC-USDT", "action": "open_long", "order_type": "market",
                    "stop": round(0.96 * ask), "risk_percent": 0.3, "thesis": "It goes up.",
                }
            ]
        }  # fmt: skip


@pytest.fixture
def server() -> Iterator[LoopbackModels]:
    with LoopbackModels(Traders(), key=CANARY) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    monkeypatch.delenv("KILL_SWITCH", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(MINE)
    return tmp_path


@pytest.fixture
def line(home: Path, server: LoopbackModels, monkeypatch: pytest.MonkeyPatch) -> LoopbackModels:
    """The providers' addresses lead to the server; keys for two of them are set."""
    for provider in ("anthropic", "deepseek", "xai", "google", "openrouter"):
        monkeypatch.setenv(f"{provider.upper()}_BASE_URL", server.url(provider))
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    monkeypatch.setenv("DEEPSEEK_API_KEY", CANARY)
    monkeypatch.setenv("HYDRA_GLADIATORS", "mine.toml")
    return server


@pytest.fixture(autouse=True)
def canary(home: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """All that was printed; no key and no password is in it, nor in any file."""
    printed: list[str] = []
    yield printed
    last = capfd.readouterr()
    for text in (*printed, last.out, last.err):
        assert CANARY not in text
        assert "letmein" not in text
        assert "Traceback" not in text
    for path in home.rglob("*"):
        if path.is_file() and path.name != "mine.toml":
            assert CANARY.encode() not in path.read_bytes(), path


class Typed:
    """What a command printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self) -> list[dict[str, Any]]:
        found = json.loads(self.out)
        assert isinstance(found, list)
        return found

    def by_name(self) -> dict[str, dict[str, Any]]:
        return {row["gladiator"]: row for row in self.rows}


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str], canary: list[str]) -> Any:
    def type_in(*words: str) -> Typed:
        capfd.readouterr()
        code = run(["gladiators", *words])
        shown = capfd.readouterr()
        canary.extend((shown.out, shown.err))
        return Typed(code, shown.out, shown.err)

    return type_in


def replay(*words: str) -> None:
    assert run(["replay", *SHORT, *words, "--quiet"]) == 0


# Who there is


def test_without_a_key_all_are_listed_with_what_to_set(typed: Any, home: Path) -> None:
    shown = typed("--json")

    found = shown.by_name()
    assert shown.code == 0
    assert list(found) == ["deepseek", "claude", "grok", "gemini", "ollama"]
    assert {name: row["state"] for name, row in found.items()} == {
        "deepseek": "benched", "claude": "benched", "grok": "benched", "gemini": "benched",
        "ollama": "optional",
    }  # fmt: skip
    assert "ANTHROPIC_API_KEY" in found["claude"]["reason"]
    assert "OLLAMA_BASE_URL" in found["ollama"]["reason"]
    assert found["claude"]["usd_per_mtok_in"] > 0
    assert found["claude"]["cutoff"] == "2026-06-30"
    assert found["claude"]["spent_today_usd"] == 0
    assert not list(home.rglob("*.db"))


def test_the_table_says_what_unknown_means(typed: Any, line: LoopbackModels) -> None:
    shown = typed()

    assert shown.code == 0
    assert shown.err == ""
    assert "──" in shown.out
    assert (
        "price unknown: not asked until usd_per_mtok_in and usd_per_mtok_out are set" in shown.out
    )
    assert "cutoff unknown: what it decides in a replay holds no rank" in shown.out


def test_a_file_adds_gladiators_and_keys_make_them_ready(typed: Any, line: LoopbackModels) -> None:
    found = typed("--json").by_name()

    assert found["claude"]["state"] == found["deepseek"]["state"] == "ready"
    assert found["grok"]["state"] == "benched"
    assert found["trio"] | {"reason": ""} == {
        "gladiator": "trio", "replicas": 3, "state": "benched", "reason": "",
        "provider": "openrouter", "model": "anthropic/claude-sonnet-5",
        "cutoff": "2024-01-31", "every": "4h", "daily_budget_usd": 1, "spent_today_usd": 0,
        "usd_per_mtok_in": 3, "usd_per_mtok_out": 15.5, "key_variable": "OPENROUTER_API_KEY",
        "address": line.url("openrouter"),
    }  # fmt: skip
    assert found["local"]["state"] == "unpriced"
    assert found["local"]["usd_per_mtok_in"] is None
    assert "set usd_per_mtok_in" in found["local"]["reason"]
    assert found["local"]["address"] == "http://127.0.0.1:9/v1"
    assert line.heard == []


def test_a_model_that_the_price_table_knows_without_a_rate_is_unpriced(
    typed: Any, line: LoopbackModels, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", CANARY)
    (home / "free.toml").write_text(
        '[gladiators.free]\nprovider = "openrouter"\nmodel = "deepseek/deepseek-chat:free"\n'
    )
    found = typed("--gladiators", "free.toml", "--json").by_name()

    assert found["free"]["state"] == "unpriced"
    assert typed("check", "free", "--gladiators", "free.toml", "--json").rows[0]["outcome"] == (
        "unpriced"
    )


# Do they answer


def test_all_that_can_answer_do_so_at_once(
    typed: Any, line: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", CANARY)
    all_asked = threading.Event()

    def brain(heard: Heard) -> Say:
        if len(line.heard) == 3:
            all_asked.set()
        return Say.once(all_asked, Say.decisions(NOTHING))

    line.brain = brain
    shown = typed("check", "claude", "deepseek", "trio#2", "--json")

    found = shown.by_name()
    assert shown.code == 0
    assert "real questions for real money" in shown.err
    assert list(found) == ["claude", "deepseek", "trio"]
    for row in found.values():
        assert row["outcome"] == "answered"
        assert row["model_said"] == row["model"]
        assert (row["input_tokens"], row["output_tokens"]) == (1_000, 50)
        assert row["latency_s"] > 0
        assert 0 < row["cost_usd"] < 0.01
        assert row["error"] == ""
    assert [(len(one.messages), one.schema == SCHEMA) for one in line.heard] == [(1, True)] * 3
    assert all(0 < (one.max_tokens or 0) <= 2_000 for one in line.heard)


def test_who_is_benched_is_listed_and_fails_only_where_named(typed: Any, home: Path) -> None:
    everyone, named = typed("check", "--json"), typed("check", "claude", "--json")

    assert everyone.code == 0
    assert {row["outcome"] for row in everyone.rows} == {"benched"}
    assert "nobody can be asked" in everyone.err
    assert "real money" not in everyone.err
    assert named.code == 1
    assert "ANTHROPIC_API_KEY" in named.rows[0]["error"]


def test_a_refused_key_is_a_failure_that_names_the_variable_and_never_the_key(
    typed: Any, line: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "sk-wrong-93ba8801c7"
    monkeypatch.setenv("ANTHROPIC_API_KEY", wrong)
    shown = typed("check", "claude", "deepseek")

    assert shown.code == 1
    assert "unauthorised" in shown.out
    assert "see ANTHROPIC_API_KEY" in shown.out
    assert "answered" in shown.out
    assert wrong not in shown.out + shown.err


@pytest.mark.parametrize(
    ("say", "outcome", "words"),
    [
        (Say.status(404, "no such model"), "rejected", "does not know the model"),
        (Say.plain("Buy low, sell high."), "unreadable", "cannot be read"),
        (Say.refusal(), "declined", "declined"),
        (Say.empty(), "empty", "said nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_went_wrong_is_said_in_words(
    say: Say, outcome: str, words: str, typed: Any, line: LoopbackModels
) -> None:
    assert isinstance(line.brain, Traders)
    line.brain.say["anthropic"] = say
    shown = typed("check", "claude", "--json")

    assert shown.code == 1
    assert shown.rows[0]["outcome"] == outcome
    assert words in shown.rows[0]["error"]


def test_a_server_that_is_down_is_unreachable(
    typed: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    shown = typed("check", "claude", "--json")

    assert shown.code == 1
    assert shown.rows[0]["outcome"] == "unreachable"
    assert "http://127.0.0.1:9" in shown.rows[0]["error"]


def test_no_call_goes_beyond_the_budget_or_without_a_price(
    typed: Any, line: LoopbackModels, home: Path
) -> None:
    (home / "poor.toml").write_text(
        "[gladiators.claude]\ndaily_budget_usd = 0.0001\n"
        '[gladiators.free]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\n'
    )
    shown = typed("check", "claude", "free", "--gladiators", "poor.toml", "--json")

    found = shown.by_name()
    assert shown.code == 1
    assert found["claude"]["outcome"] == "over-budget"
    assert found["free"]["outcome"] == "unpriced"
    assert found["claude"]["latency_s"] is None
    assert line.heard == []


# What they are told


def test_a_prompt_is_byte_for_byte_what_a_season_sent(typed: Any, line: LoopbackModels) -> None:
    replay("--engines", "ema_trend,claude,deepseek", "--season", "sent")
    sent = [one for one in line.heard if one.provider == "deepseek"]
    with sqlite3.connect("home/data/hydra/hydra.db") as database:
        instants = [
            row[0]
            for row in database.execute(
                "SELECT replace(substr(timestamp, 1, 19), ' ', 'T') FROM hydra_model_calls"
                " WHERE engine = 'deepseek' AND attempt = 1 ORDER BY timestamp"
            )
        ]
    database.close()
    assert len(sent) == len(instants) > 10

    for heard, instant in zip(sent, instants, strict=True):
        (row,) = typed("prompt", "deepseek", "--at", instant, "--json").rows
        assert (row["at"], row["source"], row["season"]) == (f"{instant}Z", "recorded", "sent")
        assert row["system"].encode() == heard.system.encode()
        said = tuple((message["role"], message["text"]) for message in row["messages"])
        assert said == heard.messages
        assert row["schema"] == heard.schema
        assert row["model"] == heard.model
        assert row["params"]["max_output_tokens"] == heard.max_tokens
        assert row["outcome"] == "answered"
    (newest,) = typed("prompt", "deepseek", "--json").rows
    assert newest == row
    (between,) = typed("prompt", "deepseek", "--at", f"{START}T10:30", "--json").rows
    assert between["at"] == f"{START}T08:00:00Z"

    shown = typed("prompt", "deepseek", "--season", "sent").out
    assert "deepseek was sent this at" in shown
    assert sent[-1].messages[-1][1].rstrip() in shown
    assert sent[-1].system.rstrip() in shown


def test_a_gladiator_on_the_bench_is_shown_what_it_would_have_been_sent(
    typed: Any, line: LoopbackModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    engines = ["--engines", "ema_trend,donchian_breakout,flat,claude,deepseek"]
    assert isinstance(line.brain, Traders)
    replay(*engines, "--season", "benched")
    asked = len(line.heard)
    would = {}
    for at in (f"{START}T04:00", "2024-03-21T16:00", "2024-03-22T16:00"):
        (row,) = typed("prompt", "claude", "--at", at, "--season", "benched", "--json").rows
        would[row["at"]] = row
    assert len(line.heard) == asked  # nothing was sent

    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    line.brain._asked = 0
    line.heard.clear()
    replay(*engines, "--season", "played")
    told = {
        f"{one.messages[0][1].split('now: ')[1][:16]}:00Z".replace(" ", "T"): one
        for one in line.heard
        if one.provider == "anthropic" and len(one.messages) == 1
    }
    for at, row in would.items():
        assert (row["source"], row["season"], row["outcome"]) == ("replayed", "benched", None)
        assert row["messages"][0]["text"].encode() == told[at].messages[0][1].encode()
        assert row["system"] == told[at].system
        (recorded,) = typed("prompt", "claude", "--at", at, "--season", "played", "--json").rows
        assert recorded["sha256"] == row["sha256"]
        assert recorded["source"] == "recorded"


def test_of_bars_alone_it_plays_with_the_rule_engines(typed: Any, line: LoopbackModels) -> None:
    at = "2024-01-05T00:00"
    (row,) = typed("prompt", "claude", "--bars", CRYPTO, "--at", at, "--json").rows
    assert (row["source"], row["season"], row["at"]) == ("replayed", None, f"{at}:00Z")
    assert line.heard == []

    assert run(["replay", "--bars", CRYPTO, "--to", at, "--quiet"]) == 0
    (sent,) = typed("prompt", "claude", "--at", at, "--json").rows
    assert sent["messages"] == row["messages"]
    assert sent["source"] == "recorded"


def test_a_prompt_needs_neither_key_nor_season(typed: Any, home: Path) -> None:
    shown = typed("prompt", "claude", "--bars", CRYPTO)

    assert shown.code == 0
    assert shown.err == ""
    assert shown.out.startswith("claude would be sent this at 2024-03-22T16:00:00Z of the bars\n")
    assert '<data block="clock"' in shown.out
    assert not list(home.rglob("*.db"))


def test_a_replica_has_its_own_prompt(typed: Any, home: Path) -> None:
    shown = [
        typed(
            "prompt",
            name,
            "--bars",
            CRYPTO,
            "--gladiators",
            "mine.toml",
            "--at",
            "2024-01-03",
            "--json",
        ).rows[0]
        for name in ("trio", "trio#1", "trio#3")
    ]

    assert [row["engine"] for row in shown] == ["trio#1", "trio#1", "trio#3"]
    assert shown[0] == shown[1]
    assert shown[0]["messages"] == shown[2]["messages"]


def test_what_was_not_sent_is_not_said_to_have_been(
    typed: Any, line: LoopbackModels, home: Path
) -> None:
    (home / "poor.toml").write_text(f"[gladiators.claude]\ndaily_budget_usd = 0\n{STEADY}")
    replay("--engines", "flat,claude", "--gladiators", "poor.toml")
    shown = typed("prompt", "claude")

    assert shown.out.startswith("claude would be sent this")
    assert "outcome over-budget" in shown.out


def test_money_that_a_season_spent_is_shown(typed: Any, line: LoopbackModels) -> None:
    replay("--engines", "flat,deepseek", "--season", "live")

    found = typed("--json").by_name()
    assert 0 < found["deepseek"]["spent_today_usd"] < 1
    assert found["claude"]["spent_today_usd"] == 0

    # Replies that are heard again were paid once.
    replay("--models", "recorded", "--recording", "live", "--season", "again")
    assert typed("--json").by_name() == found


def test_a_prompt_that_cannot_be_made_to_fit_says_so(typed: Any, home: Path) -> None:
    rows = "".join(
        f"COIN{n:02d}-USD,2024-01-{1 + i // 24:02d}T{i % 24:02d}:00Z,100,108,90,{101 + i % 5}\n"
        for n in range(60)
        for i in range(30)
    )
    (home / "many.csv").write_text("symbol,time,open,high,low,close\n" + rows)
    shown = typed("prompt", "claude", "--bars", "many.csv")

    assert shown.code == 2
    assert "claude cannot be asked" in shown.err
    assert "over the" in shown.err


# What the docs tell


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/gladiators.md"])
def test_what_a_page_tells_to_type_with_a_key_works_in_its_order(
    page: str,
    line: LoopbackModels,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("HYDRA_GLADIATORS")
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    lines = [one for block in blocks for one in block.splitlines() if one.startswith("hydra ")]
    assert len(lines) >= 3
    for one in lines:
        code = run(shlex.split(one)[1:])
        shown = capfd.readouterr()
        assert code == 0, f"{one}: {shown.err}"
        assert shown.out
    assert run(["seasons", "--json"]) == 0
    live, again = json.loads(capfd.readouterr().out)
    assert live["digest"] == again["digest"]


def test_the_sql_of_the_page_reads_what_a_season_left(line: LoopbackModels) -> None:
    replay("--engines", "flat,claude,deepseek")
    page = (ROOT / "docs" / "gladiators.md").read_text("utf-8")
    statements = page.split("```sql\n")[1].split("```")[0].split(";")[:-1]
    with sqlite3.connect("home/data/hydra/hydra.db") as database:
        found = [database.execute(statement).fetchall() for statement in statements]
    database.close()

    assert len(found) == 5
    assert {row[0] for row in found[0]} == {"claude", "deepseek"}
    assert len(found[1]) == 5


# Bad input

BAD = [
    ("zz", 2, "zz"),
    ("--nope", 2, "--nope"),
    ("--db nonsense", 3, "no database URL"),
    ("--gladiators nope.toml", 2, "nope.toml"),
    ("--gladiators bad.toml", 2, "bad.toml is no TOML"),
    ("--gladiators typo.toml", 2, "gladiator x"),
    ("--gladiators taken.toml", 2, "gladiator flat: the name is taken"),
    ("--gladiators version.toml", 2, "gladiator x: no prompt 'v99'; there are: v1"),
    ("--gladiators mine.toml check", 2, "options come after the command"),
    ("check clod", 2, "did you mean claude?"),
    ("check claude#2", 2, "no gladiator 'claude#2'"),
    ("check --gladiators bad.toml", 2, "bad.toml is no TOML"),
    ("prompt", 2, "NAME"),
    ("prompt clod", 2, "did you mean claude?"),
    ("prompt claude --at yesterday", 2, "--at 'yesterday'"),
    ("prompt claude --at 2020-01-01", 2, "the first closes at 2024-03-20T04:00:00Z"),
    ("prompt claude --season zz", 2, "no season zz"),
    ("prompt claude --db sqlite:///nope.db", 3, "or give prices by --bars"),
    ("prompt claude --season season-1 --bars x.csv", 2, "leave out --bars or --season"),
    ("prompt claude --bars x.csv", 2, "no such file"),
    (f"prompt claude --bars {CRYPTO} --at 2020-01-01", 2, "give a later --at"),
    (f"prompt claude --bars {CRYPTO} --gladiators typo.toml", 2, "gladiator x"),
]  # fmt: skip


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a season in which nobody had a key."""
    home = tmp_path_factory.mktemp("played")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_HOME", str(home))
        assert run(["replay", *SHORT, "--engines", "flat,claude", "--quiet"]) == 0
    return home / "data" / "hydra" / "hydra.db"


@pytest.mark.parametrize(("words", "code", "said"), BAD, ids=[words for words, _, _ in BAD])
def test_bad_input_is_one_message_and_a_code(
    words: str,
    code: int,
    said: str,
    typed: Any,
    home: Path,
    played: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYDRA_DB_URL", f"sqlite:///{played}")
    (home / "bad.toml").write_text("a =")
    (home / "typo.toml").write_text('[gladiators.x]\nprovider = "openai"\nmodel = "m"\nevry = 1\n')
    (home / "taken.toml").write_text('[gladiators.flat]\nprovider = "openai"\nmodel = "m"\n')
    (home / "version.toml").write_text(
        '[gladiators.x]\nprovider = "openai"\nmodel = "m"\nprompt = "v99"\n'
    )
    shown = typed(*words.split())

    assert shown.code == code
    assert said in shown.err
    assert shown.err.startswith("error: ")
    assert shown.out == ""


def test_before_its_first_question_there_is_no_prompt(typed: Any, line: LoopbackModels) -> None:
    replay("--engines", "flat,claude")
    shown = typed("prompt", "claude", "--at", "2020-01-01")

    assert shown.code == 2
    assert "claude was first asked at 2024-03-20T04:00:00Z of season season-1" in shown.err


def test_a_season_whose_prices_have_changed_is_not_played_again(typed: Any, home: Path) -> None:
    prices = home / "prices.csv"
    lines = Path(CRYPTO).read_text().splitlines(keepends=True)
    prices.write_text("".join(lines[:400]))
    assert run(["replay", "--bars", "prices.csv", "--engines", "flat,claude", "--quiet"]) == 0
    prices.write_text("".join(lines[:401]))
    shown = typed("prompt", "claude")

    assert shown.code == 2
    assert "prices.csv" in shown.err
    assert "are not what they were" in shown.err
