"""OANDA from the command line, against servers on this machine that speak as it does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.cli.main import run
from apps.runtime import status
from hydra.clock import NS_PER_S, SystemClock, iso
from hydra.feeds.history import rest
from hydra.feeds.history.rest import Patience
from tests.support.shared_data import ROOT
from tests.support.venue_rest import MINUTE_MS, VenueRest, candles
from tests.support.venues import OandaServer, Session

TOKEN = "0123456789abcdef-canary-4711"
ACCOUNT = "101-004-7654321-001"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueRest]:
    """OANDA's candles, and who is let in to them."""
    for name in ("HYDRA_DB_URL", "KILL_SWITCH", "OANDA_ACCOUNT_ID", "OANDA_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.setenv("HYDRA_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setattr(rest, "PATIENCE", Patience(tries=2, first_pause_s=0.001))
    monkeypatch.chdir(tmp_path)
    series = {"EUR-USD": candles("2024-01-01", 600), "US30-USD": candles("2024-01-01", 600)}
    with VenueRest(series) as running:
        running.token = TOKEN
        monkeypatch.setenv("OANDA_REST_URL", running.url("oanda"))
        monkeypatch.setenv("OANDA_STREAM_URL", running.url("nowhere"))
        yield running


FETCH = "data fetch EURUSD US30.cash --venue oanda --from 2024-01-01 --to 2024-01-01T08:00 --bar 5m"


def test_what_was_fetched_is_known_and_has_its_own_spread(
    server: VenueRest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)

    assert run([*FETCH.split(), "--out", "fx.csv", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(one["symbol"], one["rows"]) for one in facts] == [("EUR-USD", 96), ("US30-USD", 96)]

    assert run(["data", "inspect", "fx.csv", "--json"]) == 0
    for one in json.loads(capsys.readouterr().out):
        assert (one["known"], one["real_spread"], one["volume"]) == (True, True, False)
    assert TOKEN not in Path("fx.csv").read_text()


RUN = "run --venues oanda --engines flat --assets"


@pytest.mark.parametrize(
    ("line", "token", "says"),
    [
        (f"{FETCH} --out a.csv", "", "OANDA_API_TOKEN is not set"),
        (f"{FETCH} --out a.csv", "another-canary-4712", "OANDA_API_TOKEN is wrong or withdrawn"),
        (f"{FETCH} NOPE_USD --out a.csv", TOKEN, "oanda does not know NOPE-USD"),
        (f"{FETCH} --bar 3m --out a.csv", TOKEN, "oanda has no bars of 3m"),
        (f"{RUN} EURUSD", "", "OANDA_ACCOUNT_ID is not set"),
        (f"{RUN} BTC-USD", "", "it is at coinbase, binance, bybit"),
        (f"{RUN} SPY", "", "SPY is listed at no venue"),
        ("run --assets BTC-USD,XAUUSD", "", "XAUUSD is not listed at coinbase, binance, bybit"),
        ("run --venues kraken", "", "kraken is none of the venues"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_a_line(
    line: str, token: str, says: str, server: VenueRest, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if token:
        monkeypatch.setenv("OANDA_API_TOKEN", token)

    assert run(line.split()) == 2

    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert not token or token not in said
    assert not list(Path().glob("a.csv*"))


class Now(OandaServer):
    """Tells a price of EUR_USD five times a second, as of now, and heartbeats. The first to come
    is not let in."""

    def __init__(self) -> None:
        super().__init__([])
        self.token = "of nobody"

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await super()._reply(reader, writer)
        self.token = TOKEN

    async def _market(self, session: Session) -> None:
        clock, number = SystemClock(), 0
        while True:
            now_ns = clock.now_ns()
            time = f"{iso(now_ns)[:19]}.{now_ns % NS_PER_S:09d}Z"
            if number % 5 == 0:
                await session.send(json.dumps({"type": "HEARTBEAT", "time": time}))
            price = {
                "type": "PRICE", "instrument": "EUR_USD", "time": time, "tradeable": True,
                "bids": [{"price": f"1.1{number % 7}000", "liquidity": 1_000_000}],
                "asks": [{"price": f"1.1{number % 7}010", "liquidity": "1000000"}],
            }  # fmt: skip
            await session.send(json.dumps(price))
            number += 1
            await asyncio.sleep(0.2)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Now]:
    """OANDA's prices as of now, served by a thread."""
    made, ready, over = Now(), threading.Event(), threading.Event()

    async def serve() -> None:
        async with made.open():
            ready.set()
            while not over.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    monkeypatch.setenv("OANDA_STREAM_URL", made.http_url)
    yield made
    over.set()
    thread.join()


def sql(home: Path, statement: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(home / "data" / "hydra" / "hydra.db") as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.slow
def test_a_season_on_oandas_prices_and_nothing_of_its_token(
    server: VenueRest, stream: Now, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Bars of a second, for the test is short; OANDA has candles of five."""
    monkeypatch.setenv("OANDA_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("OANDA_API_TOKEN", TOKEN)
    now_ms = SystemClock().now_ns() // NS_PER_S * 1000
    server.bar_ms = 5_000
    since = iso((now_ms - 10 * MINUTE_MS) // 5_000 * 5_000 * 1_000_000)[:19]
    server.series["EUR-USD"] = candles(since, 120, step_ms=5_000)
    words = [*RUN.split(), "EUR-USD", "--bar", "1s", "--warm-bars", "20", "--season", "fx"]
    words[words.index("flat")] = "ema_trend@5s,flat"
    child = subprocess.Popen(
        [sys.executable, "-m", "apps.cli.main", *words, "--log", str(tmp_path / "log")],
        cwd=ROOT, stderr=subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    path = status.path_of(tmp_path, "fx")
    pause = threading.Event()
    for _ in range(6_000):
        if path.exists() and status.read(path).cycle >= 2:
            break
        assert child.poll() is None, child.communicate()
        pause.wait(0.01)
    child.terminate()
    _, said = child.communicate(timeout=30)

    assert child.returncode == 0, said
    assert b"oanda has no such bars" in said  # of a second
    assert said.count(b"status 401, OANDA_API_TOKEN or OANDA_ACCOUNT_ID is wrong") == 1
    assert re.search(rb"warmed up with 20 candles", said), said
    rows = sql(
        tmp_path,
        "SELECT source, real_spread, volume FROM season_bars WHERE resolution_ns = 1000000000",
    )
    assert len(rows) >= 2
    assert set(rows) == {("oanda", 1, None)}
    assert run(["db", "verify"]) == 0
    for found in [path, tmp_path / "log", *(tmp_path / "data").rglob("*")]:
        if found.is_file():
            content = found.read_bytes()
            assert TOKEN.encode() not in content and ACCOUNT.encode() not in content, found
    assert TOKEN.encode() not in said and ACCOUNT.encode() not in said
    monkeypatch.delenv("OANDA_API_TOKEN")
    assert run(["run", "--season", "fx"]) == 2  # it knows what it traded, and where
    assert "OANDA_API_TOKEN is not set" in capsys.readouterr().err
