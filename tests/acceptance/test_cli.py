"""What a user types, and what comes back: exit codes, pure JSON, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apps.cli.main import app, run

ROOT = Path(__file__).resolve().parents[2]
CRYPTO = str(ROOT / "data" / "sample" / "crypto_4h.csv")
EURUSD = str(ROOT / "data" / "sample" / "eurusd_1h.csv")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which one season was played."""
    home = tmp_path_factory.mktemp("played")
    before = os.environ.get("HYDRA_HOME")
    os.environ["HYDRA_HOME"] = str(home)
    try:
        assert run(["replay", "--bars", CRYPTO, "--quiet"]) == 0
    finally:
        if before is None:
            del os.environ["HYDRA_HOME"]
        else:
            os.environ["HYDRA_HOME"] = before
    return home


@pytest.fixture
def home(played: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of it, with another folder as the current one."""
    own = tmp_path / "home"
    shutil.copytree(played, own)
    monkeypatch.setenv("HYDRA_HOME", str(own))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    monkeypatch.delenv("KILL_SWITCH", raising=False)
    monkeypatch.chdir(tmp_path)
    return own


# Help


def command_lines() -> list[list[str]]:
    import typer.main

    root = typer.main.get_command(app)
    lines: list[list[str]] = [[]]
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        lines.append([name])
        lines += [[name, below] for below in getattr(command, "commands", {})]
    return lines


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_help_of_every_command_has_an_example(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--help"]) == 0

    shown = capsys.readouterr().out
    assert "hydra" in shown
    if words not in (["db"], ["data"]):
        assert "hydra replay" in shown if not words else f"hydra {words[0]}" in shown


@pytest.mark.parametrize("words", command_lines()[1:], ids=" ".join)
def test_docs_name_every_command_and_option(words: list[str]) -> None:
    import typer.main

    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    command: object = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    assert f"hydra {' '.join(words)}" in page
    for parameter in command.params:  # type: ignore[attr-defined]
        for option in parameter.opts:
            assert not option.startswith("--") or option == "--help" or option in page, option


def test_help_needs_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; from apps.cli.main import run; run(['--help']);"
        "heavy = {'numba', 'numpy', 'polars', 'sqlalchemy', 'scipy', 'pydantic', 'jinja2'};"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"


# JSON

JSON_COMMANDS = [
    "standings",
    "trades --limit 5",
    "decisions --limit 5",
    "equity --limit 5",
    "engines",
    "engines --all",
    "seasons",
    "guardian --limit 5",
    "guardian status",
    "config",
    "db check",
    "db verify",
    f"data inspect {CRYPTO}",
]


@pytest.mark.parametrize("line", JSON_COMMANDS)
def test_json_is_a_list_of_objects_and_nothing_else(
    line: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*line.split(), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, list)
    assert found
    assert all(isinstance(row, dict) and list(row) == list(found[0]) for row in found)
    if "--limit" in line:
        assert len(found) == 5


@pytest.mark.parametrize("line", JSON_COMMANDS)
def test_without_json_the_same_is_a_table(
    line: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == 0

    shown = capsys.readouterr()
    assert "──" in shown.out
    assert shown.err == ""


def test_a_replay_s_json_stays_pure_while_warnings_go_to_standard_error(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = tmp_path / "XYZ.csv"
    rows = "".join(
        f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00,{100 + i % 7},{108 + i % 7},90,{101 + i % 5}\n"
        for i in range(300)
    )
    bars.write_text("time,open,high,low,close\n" + rows)

    assert run(["replay", "--bars", str(bars), "--season", "xyz", "--json"]) == 0

    shown = capsys.readouterr()
    standings = json.loads(shown.out)
    assert {row["engine"] for row in standings} >= {"ema_trend", "flat", "house"}
    assert "XYZ is not in the instrument catalogue" in shown.err
    assert "name no zone" in shown.err
    assert shown.err.count("not in the instrument catalogue") == 1


def test_standings_hold_what_a_season_promises(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["standings", "--json"])

    rows = {row["engine"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["house"]["rank"] is None
    assert rows["flat"]["net_pnl_usd"] == 0
    ranked = [row for row in rows.values() if row["rank"] is not None]
    assert sorted(row["rank"] for row in ranked) == [1, 2, 3, 4, 5, 6]
    assert sum(row["weight_frac"] for row in ranked) == pytest.approx(1)
    assert sum(row["p_first"] for row in ranked) == pytest.approx(1)
    for row in ranked:
        assert row["low_frac"] < row["high_frac"]
        assert 0 <= row["luck_percentile"] <= 100


# Bad input

BAD = [
    ("replay", 2, "no price file given"),
    ("replay --bars nope.csv", 2, "no such file"),
    ("replay --bars .", 2, "folder"),
    ("replay --bars faulty.csv", 2, "faulty.csv"),
    ("replay --bars empty.csv", 2, "empty"),
    ("replay --bars junk.csv", 2, "junk.csv"),
    ("replay --bars junk.parquet", 2, "junk.parquet"),
    (f"replay --bars {CRYPTO} --from yesterday", 2, "--from 'yesterday'"),
    (f"replay --bars {CRYPTO} --from 2030-01-01", 2, "--from"),
    (f"replay --bars {CRYPTO} --from 2024-02-01 --to 2024-01-01", 2, "not before"),
    (f"replay --bars {CRYPTO} --engines nobody", 2, "no engine 'nobody'"),
    (f"replay --bars {CRYPTO} --engines ema_trend:fast=x", 2, "whole number"),
    (f"replay --bars {CRYPTO} --engines ,", 2, "names no engine"),
    (f"replay --bars {CRYPTO} --engines flat,flat", 2, "twice"),
    (f"replay --bars {CRYPTO} --engines ema_trend@7h", 2, "cannot be gathered"),
    (f"replay --bars {CRYPTO} --profile nope", 2, "no guardian profile"),
    (f"replay --bars {CRYPTO} --seed x", 2, "--seed"),
    (f"replay --bars {CRYPTO} --seed -1", 2, "--seed"),
    (f"replay --bars {CRYPTO} --costs x", 2, "cost model"),
    (f"replay --bars {CRYPTO} --mode x", 2, "--mode"),
    (f"replay --bars {CRYPTO} --cash 0", 2, "--cash"),
    (f"replay --bars {CRYPTO} --cash nan", 2, "--cash"),
    (f"replay --bars {CRYPTO} --cash 1e30", 2, "--cash"),
    (f"replay --bars {CRYPTO} --latency-ms -5", 2, "--latency-ms"),
    (f"replay --bars {CRYPTO} --tz Mars", 2, "Mars"),
    (f"replay --bars {CRYPTO} --instruments bad.toml", 2, "bad.toml"),
    (f"replay --bars {CRYPTO} --profiles bad.toml", 2, "bad.toml"),
    (f"replay --bars {CRYPTO} --season ../x", 2, "--season"),
    (f"replay --bars {CRYPTO} --season season-1", 2, "--resume"),
    (f"replay --bars {CRYPTO} --db nonsense", 3, "no database URL"),
    (f"replay --bars {CRYPTO} --db mysql://a/b", 3, "not supported"),
    (f"replay --bars {CRYPTO} --db sqlite:///junk.db", 3, "not a database"),
    (f"replay --bars {CRYPTO} --db sqlite:///other.db", 3, "another program"),
    (f"replay --bars {CRYPTO} --db sqlite:////proc/nowhere/x.db", 3, "folder"),
    (f"replay --bars {CRYPTO} --db postgresql://u@127.0.0.1:1/x", 3, "127.0.0.1"),
    ("replay --resume --season zz", 2, "no season zz"),
    ("nonsense", 2, "nonsense"),
    ("--nope", 2, "--nope"),
    ("trades --limit 0", 2, "--limit"),
    ("trades --limit x", 2, "--limit"),
    ("trades --engine zz", 2, "no engine 'zz'"),
    ("trades --season zz", 2, "no season zz"),
    ("standings --db sqlite:///nope.db", 3, "no database"),
    ("standings --db sqlite:///junk.db", 3, "not a database"),
    ("decisions --kind zz", 2, "--kind"),
    ("equity --from zz", 2, "--from"),
    ("report --season zz", 2, "no season zz"),
    ("report --out .", 2, "folder"),
    ("report --out /proc/x.html", 2, "cannot be written"),
    ("guardian zz", 2, "zz"),
    ("guardian --engine zz", 2, "no engine 'zz'"),
    ("db upgrade --revision zzz", 3, "zzz"),
    ("db verify --season zz", 2, "no season zz"),
    ("data inspect nope.csv", 2, "no such file"),
    ("data inspect faulty.csv", 1, ""),
]


@pytest.mark.parametrize(("line", "code", "said"), BAD, ids=[line for line, _, _ in BAD])
def test_bad_input_is_one_message_and_a_code(
    line: str,
    code: int,
    said: str,
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "faulty.csv").write_text(
        "symbol,time,open,high,low,close\nX,2024-01-01T00:00Z,1,2,0.5,nan\n"
        "X,2024-01-02T00:00Z,1,2,3,1\nX,2024-01-03T00:00Z,1,2,1,1\n"
    )
    (tmp_path / "empty.csv").touch()
    for name in ("junk.csv", "junk.parquet", "junk.db"):
        (tmp_path / name).write_bytes(bytes(range(255, 0, -1)) * 9)
    (tmp_path / "bad.toml").write_text("a =")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table theirs (a)")
    other.close()

    assert run(line.split()) == code

    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
    assert said in shown.err
    if said:
        assert shown.err.startswith("error: ")
        assert shown.out == ""
    assert not list(home.glob("data/hydra/logs/*"))


def test_a_fault_of_the_program_leaves_a_log_and_no_traceback(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(connection: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("hydra.storage.queries.seasons", broken)

    assert run(["seasons"]) == 70

    (log,) = home.glob("data/hydra/logs/*.log")
    shown = capsys.readouterr()
    assert str(log) in shown.err
    assert "Traceback" not in shown.err
    assert "RuntimeError: boom" in log.read_text()


def test_a_wrong_setting_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KILL_SWITCH", "banana")

    assert run(["standings"]) == 2
    assert "KILL_SWITCH='banana'" in capsys.readouterr().err


# Seasons


def test_equal_seasons_have_equal_digests_and_another_seed_another(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["replay", "--bars", CRYPTO, "--quiet"]
    assert run([*again, "--season", "again"]) == 0
    assert run([*again, "--season", "other", "--seed", "2"]) == 0

    run(["seasons", "--json"])
    digests = {row["season"]: row["digest"] for row in json.loads(capsys.readouterr().out)}
    assert digests["again"] == digests["season-1"]
    assert digests["other"] != digests["season-1"]


def test_a_finished_season_needs_no_resuming(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", "--resume", "--json"]) == 0

    shown = capsys.readouterr()
    assert "season-1 is finished" in shown.err
    assert json.loads(shown.out)


def test_the_next_commands_that_a_season_names_work(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", "--bars", CRYPTO, "--season", "shown"]) == 0

    shown = capsys.readouterr().out
    report = next(line.split(maxsplit=1)[1] for line in shown.splitlines() if "report " in line)
    assert Path(report).is_file()
    lines = shown.split("next\n")[1].splitlines()
    assert len(lines) == 3
    for line in lines:
        assert run(line.split()[1:]) == 0


def test_the_kill_switch_stays_until_it_is_released(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["guardian", "kill", "--reason", "a test"]) == 0
    assert run(["replay", "--bars", CRYPTO, "--season", "killed", "--json"]) == 0
    shown = capsys.readouterr().out
    standings = json.loads(shown[shown.index("[") :])
    played = [row for row in standings if row["state"] != "benched"]
    assert played and all(row["net_pnl_usd"] == 0 for row in played)

    assert run(["guardian", "release"]) == 0
    capsys.readouterr()
    run(["guardian", "status", "--json"])
    (status,) = json.loads(capsys.readouterr().out)
    assert status["kill_switch"] is False


def test_an_altered_balance_does_not_verify(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as database:
        database.execute("UPDATE tickets SET pnl_units = pnl_units + 1 WHERE ticket = 3")
    database.close()

    assert run(["db", "verify"]) == 3
    assert capsys.readouterr().err.startswith("fault: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_season_goes_on_from_any_folder(
    sent: signal.Signals, code: int, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "apps.cli.main", "replay"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}"}
    bars = ["--bars", EURUSD, "--engines", "ema_trend,mean_reversion,flat"]
    process = subprocess.Popen(
        [*command, *bars, "--season", "broken"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    database = home / "data" / "hydra" / "hydra.db"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with sqlite3.connect(database) as connection:
            found = connection.execute("SELECT cycle FROM seasons WHERE name='broken'").fetchone()
        connection.close()
        if found and found[0] >= 0:
            break
        time.sleep(0.005)
    process.send_signal(sent)
    said = process.communicate()[1]
    assert process.returncode == code
    if sent == signal.SIGINT:
        assert "replay --resume --season broken" in said
    assert "Traceback" not in said

    assert run(["replay", "--resume", "--quiet"]) == 0, capsys.readouterr().err
    assert run(["replay", *bars, "--season", "whole", "--quiet"]) == 0

    with sqlite3.connect(database) as connection:
        rows = dict(connection.execute("SELECT name, digest FROM seasons").fetchall())
    connection.close()
    assert rows["broken"] == rows["whole"]


def test_resuming_with_other_settings_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as database:
        database.execute("UPDATE seasons SET state = 'playing'")
    database.close()

    assert run(["replay", "--resume", "--profile", "none"]) == 2
    assert "profile was 'ftmo-2step', now 'none'" in capsys.readouterr().err


def test_output_that_nobody_reads_any_more_is_no_fault(home: Path) -> None:
    line = f"{sys.executable} -m apps.cli.main trades --limit 10000 --json | head -c 1"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}"}

    done = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode in (0, 141)
    assert done.stderr == ""
