"""`hydra run --bar 1s` on living venues: an order fills on the book of the second it comes in."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path

import pytest

from apps.cli.main import run
from hydra.clock import NS_PER_S
from tests.support.live.daemon import Daemon
from tests.support.live.fast import FastTime
from tests.support.live.market import LiveMarket

pytestmark = pytest.mark.nightly

SPEED = 5  # five bars a second
WORDS = [
    "--assets", "BTC-USD", "--bar", "1s", "--warm-bars", "20", "--profile", "none",
    "--engines", "buy_and_hold@15s,flat",
]  # fmt: skip


def test_an_order_walks_the_book_of_the_second_two_after_the_bars_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.delenv("HYDRA_DB_URL", raising=False)
    with LiveMarket(["BTC-USDT"], FastTime(SPEED, time.time_ns())) as market:
        daemon = Daemon(tmp_path, market, "seconds", WORDS)
        daemon.start()
        try:
            held = "SELECT 1 FROM tickets WHERE status = 'OPEN'"
            daemon.until(lambda: daemon.sql(held) if daemon.cycle else (), wait_s=60)
            before = daemon.cycle
            daemon.kill()
            daemon.start()
            daemon.until(lambda: daemon.cycle > before + 5)
            assert daemon.stop() == 0
        finally:
            if daemon.runs:
                daemon.kill()
    assert run(["db", "verify"]) == 0
    assert "Traceback" not in daemon.said.read_text()
    heard = "resolution_ns = 1000000000"
    assert daemon.sql(f"SELECT count(*) FROM season_bars WHERE {heard} AND depth IS NULL") == [(0,)]

    tickets = daemon.sql(
        "SELECT direction, lots, decided_ns, opened_ns, entry_price FROM tickets"
        " WHERE opened_ns IS NOT NULL"
    )
    assert tickets
    for direction, lots, decided_ns, opened_ns, entry_price in tickets:
        assert opened_ns >= decided_ns + 2 * NS_PER_S
        ((bid, ask, depth),) = daemon.sql(
            f"SELECT bid_open, ask_open, depth FROM season_bars WHERE open_ns = {opened_ns}"
        )
        side = 1 if direction == "LONG" else 0
        (offset, size), *_ = json.loads(depth)[side]
        assert offset == 0
        assert Decimal(lots) * 100_000 <= size  # at the best, then
        assert Decimal(entry_price) * 100 == (ask if side else bid)
