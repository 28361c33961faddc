"""From a venue to a season: what a user types, what is written, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.cli import fetch_command
from apps.cli.main import run
from hydra.feeds.history import rest
from hydra.feeds.history.rest import Patience
from tests.support.shared_data import ROOT
from tests.support.venue_rest import MINUTE_MS, Fault, VenueRest, candles

HOUR_MS = 60 * MINUTE_MS


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueRest]:
    """All three venues, at the addresses that the settings name."""
    made = candles("2024-01-01", 600, step_ms=HOUR_MS)
    other = candles("2024-01-01", 600, step_ms=HOUR_MS, base=2_300)
    series = {"BTC-USD": made, "BTC-USDT": made, "ETH-USD": other, "ETH-USDT": other}
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    with VenueRest(series, bar_ms=HOUR_MS) as running:
        for venue in ("coinbase", "binance", "bybit"):
            monkeypatch.setenv(f"{venue.upper()}_REST_URL", running.url(venue))
        yield running


def typed(venue: str, out: str, *more: str) -> list[str]:
    line = f"data fetch --venue {venue} --from 2024-01-01 --to 2024-01-26 --bar 1h --out {out}"
    return [*line.split(), *more]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("venue", "suffix"), [("coinbase", "csv"), ("binance", "parquet"), ("bybit", "csv")]
)
def test_what_was_fetched_is_inspected_and_played(
    venue: str, suffix: str, server: VenueRest, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"prices.{suffix}"
    quote = "USD" if venue == "coinbase" else "USDT"

    assert run(typed(venue, out, "--symbols", "BTC-USD", "ETH-USD", "--json")) == 0
    shown = capsys.readouterr()
    facts = json.loads(shown.out)
    assert [one["symbol"] for one in facts] == [f"BTC-{quote}", f"ETH-{quote}"]
    assert all(one["rows"] == 600 and one["faulty_rows"] == 0 for one in facts)
    assert ("quotes dollars in USDT" in shown.err) == (quote == "USDT")

    assert run(["data", "inspect", out, "--json"]) == 0
    shown = capsys.readouterr()
    for one in json.loads(shown.out):
        assert one["rows"] == 600
        assert (one["resolution"], one["gaps"], one["known"]) == ("1h", 0, True)
        assert one["volume"] is True
    assert shown.err == ""

    assert run(["replay", "--bars", out, "--engines", "ema_trend,flat", "--json"]) == 0
    shown = capsys.readouterr()
    assert {row["engine"] for row in json.loads(shown.out)} == {"ema_trend", "flat", "house"}
    assert "zone" not in shown.err
    assert list(Path().glob("prices*")) == [Path(out)]


def test_symbols_may_be_words_a_list_or_the_option_again(
    server: VenueRest, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = [
        ["--symbols", "BTC-USD", "ETH-USD"],
        ["--symbols", "BTC-USD,ETH-USD"],
        ["--symbols", "BTCUSD", "--symbols", "eth/usd"],
        ["BTC-USD", "ETH-USD"],
    ]
    for i, way in enumerate(ways):
        assert run(typed("binance", f"{i}.csv", *way)) == 0
    assert len({Path(f"{i}.csv").read_bytes() for i in range(len(ways))}) == 1


def test_the_table_names_faults_and_gaps(
    server: VenueRest, capsys: pytest.CaptureFixture[str]
) -> None:
    server.series["BTC-USD"] = server.series["BTC-USD"][:300] + server.series["BTC-USD"][303:]
    server.fault = lambda heard: (
        Fault.rows(lambda rows: [*rows, rows[0]]) if not heard.is_days else None
    )

    assert run(typed("coinbase", "a.csv", "BTC-USD")) == 0

    shown = capsys.readouterr()
    assert "──" in shown.out
    assert "BTC-USD: 2 rows: sent twice, taken once" in shown.out
    assert "largest gap 3 bars, from 2024-01-13T11:00:00Z to 2024-01-13T15:00:00Z" in shown.out
    assert shown.err == ""


def test_a_symbol_without_candles_is_said_and_the_others_are_written(
    server: VenueRest, capsys: pytest.CaptureFixture[str]
) -> None:
    server.series["ETH-USDT"] = []

    assert run(typed("bybit", "a.csv", "ETH-USDT", "BTC-USDT", "--json")) == 0

    shown = capsys.readouterr()
    assert [one["rows"] for one in json.loads(shown.out)] == [0, 600]
    assert "the venue has no candles of ETH-USDT" in shown.err


BAD = [
    ("data fetch", 2, "give --venue"),
    ("data fetch --venue kraken --from 2024-01-01 --out a.csv BTC-USD", 2, "no venue 'kraken'"),
    ("data fetch --venue bybit --from 2024-01-01 --out a.csv", 2, "no symbol given"),
    ("data fetch --venue bybit --from then --out a.csv BTC-USD", 2, "--from 'then'"),
    ("data fetch --venue bybit --from 2024-01-02 --to 2024-01-01 --out a.csv BTC-USD", 2, "no fin"),
    ("data fetch --venue bybit --from 2024-01-01 --out a.csv BITCOIN", 2, "no symbol"),
    ("data fetch --venue bybit --from 2024-01-01 --out a.xlsx BTC-USD", 2, ".parquet or .csv"),
    ("data fetch --venue bybit --from 2024-01-01 --bar 7m --out a.csv BTC-USD", 2, "no bars of 7m"),
    ("data fetch --venue bybit --from 2024-01-01 --bar x --out a.csv BTC-USD", 2, "'x'"),
    (
        "data fetch --venue bybit --from 2024-01-01 --bar 1h --out a.csv NOPE-USD",
        2,
        "not know NOPE",
    ),
]


@pytest.mark.parametrize(("line", "code", "said"), BAD, ids=[line for line, _, _ in BAD])
def test_bad_input_is_one_message_and_a_code(
    line: str, code: int, said: str, server: VenueRest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == code

    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert list(Path().iterdir()) == []


def test_a_venue_that_fails_leaves_what_was_fetched_and_says_how_to_go_on(
    server: VenueRest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rest, "PATIENCE", Patience(tries=2, first_pause_s=0.001))
    monkeypatch.setattr(fetch_command, "_NOTED_S", 0.0)
    server.fault = lambda heard: Fault.html(503) if heard.number > 2 else None

    assert run(typed("coinbase", "a.csv", "BTC-USD", "--json")) == 1

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "out of order or overloaded (503): <html><h1>Just a moment" in shown.err
    assert "; again in 0 s" in shown.err
    assert "a.csv.partial: the same command goes on" in shown.err
    server.fault = lambda heard: None
    assert run(typed("coinbase", "a.csv", "BTC-USD")) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "suffix"),
    [(signal.SIGINT, 130, "csv"), (signal.SIGKILL, -signal.SIGKILL, "parquet")],
)
def test_a_fetch_that_was_killed_goes_on_and_ends_with_the_same_bytes(
    sent: signal.Signals, code: int, suffix: str, server: VenueRest,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    made = candles("2024-01-01", 6_000)
    server.series, server.bar_ms = {"BTC-USDT": made, "ETH-USDT": made[500:]}, MINUTE_MS
    words = "data fetch BTC-USDT ETH-USDT --venue binance --from 2024-01-01 --to 2024-01-05 --out"
    assert run([*words.split(), f"whole.{suffix}"]) == 0
    needed = len(server.heard)
    server.heard.clear()
    server.fault = lambda heard: Fault.slow(0.05)
    process = subprocess.Popen(
        [sys.executable, "-m", "apps.cli.main", *words.split(), f"broken.{suffix}"],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'libs'}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(server.heard) < 5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(sent)
    said = process.communicate()[1]
    assert process.returncode == code
    assert "Traceback" not in said
    if sent == signal.SIGINT:
        assert "the same command goes on" in said
    assert not Path(f"broken.{suffix}").exists()
    server.fault = lambda heard: None

    assert run([*words.split(), f"broken.{suffix}"]) == 0

    assert len(server.heard) <= needed + 1  # at most one page twice
    assert Path(f"broken.{suffix}").read_bytes() == Path(f"whole.{suffix}").read_bytes()
    assert not list(Path().glob("*.partial"))
