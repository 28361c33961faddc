"""`hydra run` itself on three living venues: from its first bar through a death to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.cli.main import run
from tests.support.live.daemon import Daemon
from tests.support.live.fast import FastTime
from tests.support.live.market import LiveMarket

pytestmark = pytest.mark.slow

SPEED = 60  # a minute a second
WORDS = [
    "--assets", "BTC-USD,ETH-USD", "--warm-bars", "60",
    "--engines", "ema_trend:fast=2,slow=3,atr_period=3,buy_and_hold,flat",
]  # fmt: skip
CANDLE, MADE_UP = "source LIKE '% candles'", "unfit LIKE 'made up%'"


@pytest.fixture
def market() -> Iterator[LiveMarket]:
    with LiveMarket(["BTC-USDT", "ETH-USDT"], FastTime(SPEED, time.time_ns())) as market:
        yield market


def test_a_season_from_its_first_bar_through_silence_and_death_to_its_end(
    tmp_path: Path, market: LiveMarket, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    for name in ("HYDRA_DB_URL", "KILL_SWITCH"):
        monkeypatch.delenv(name, raising=False)
    daemon = Daemon(tmp_path, market, "e2e", WORDS)
    try:
        play(daemon, market, capsys)
    finally:
        if daemon.runs:
            daemon.kill()


def play(daemon: Daemon, market: LiveMarket, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.start()
    daemon.until(lambda: daemon.cycle >= 1)

    # It decides at the first bar that it heard, thanks to the candles before it.
    asked = "kind IN ('approved', 'refused') AND engine = 'buy_and_hold'"
    heard = f"SELECT min(open_ns + resolution_ns) FROM season_bars WHERE NOT ({CANDLE})"
    daemon.until(lambda: daemon.sql(heard) != [(None,)])
    daemon.until(lambda: daemon.sql(f"SELECT 1 FROM journal WHERE {asked}"))
    assert daemon.sql(f"SELECT min(at_ns) FROM journal WHERE {asked}") == daemon.sql(heard)
    warm = daemon.sql(
        f"SELECT symbol, count(*) FROM season_bars WHERE {CANDLE} AND unfit = '' GROUP BY symbol"
    )
    assert warm == [("BTC-USD", 60), ("ETH-USD", 60)]
    assert run(["status"]) == 0
    assert "playing" in capsys.readouterr().out

    # The first venue falls silent: the second takes over.
    market.coinbase.is_silent = True
    daemon.until(
        lambda: daemon.sql(
            "SELECT 1 FROM season_bars WHERE source = 'binance' GROUP BY open_ns"
            " HAVING count(*) = 2"
        )
    )
    market.coinbase.is_silent = False

    # Killed, it goes on: what it missed is settled on candles, on which nobody is asked.
    before = daemon.cycle
    daemon.kill()
    daemon.start()
    daemon.until(lambda: daemon.cycle > before + 3)
    made_up = daemon.sql(
        f"SELECT DISTINCT open_ns + resolution_ns FROM season_bars WHERE {MADE_UP}"
    )
    assert made_up
    instants = ", ".join(str(at_ns) for (at_ns,) in made_up)
    assert not daemon.sql(f"SELECT 1 FROM journal WHERE {asked} AND at_ns IN ({instants})")
    ((first_ns, last_ns, count),) = daemon.sql(
        "SELECT min(open_ns), max(open_ns), count(DISTINCT open_ns) FROM season_bars"
        f" WHERE symbol = 'BTC-USD' AND (NOT ({CANDLE}) OR {MADE_UP})"
    )
    assert last_ns - first_ns == (count - 1) * 60 * 10**9, "a minute is missing"

    assert daemon.stop() == 0
    told = daemon.status()
    assert told is not None
    assert told.state == "stopped"
    assert run(["db", "verify"]) == 0
    said = daemon.said.read_text()
    assert "goes on" in said
    assert "Traceback" not in said
