"""What the daemon's jobs do, and how `hydra status` tells of them and of the venues."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from apps.cli.main import run
from apps.runtime import status
from apps.runtime.chores import clean, feed_of
from apps.runtime.status import AssetFeed, Feed, JobStatus, Status, VenueFeed
from hydra.clock import NS_PER_S, ManualClock
from hydra.feeds.venue_minutes import Stats
from hydra.market.events import Down
from hydra.settings import Settings
from tests.support.scripted_feeds import BINANCE, COINBASE, scripted

AT_NS = 1_700_000_000 * NS_PER_S


class Silent:
    def stats(self) -> Stats | None:
        return None


async def test_what_venues_told_is_in_the_status() -> None:
    async with scripted(COINBASE, BINANCE) as script:
        script.quote(COINBASE, 100)
        script.feeds["binance"].connects = 3
        script.tell(BINANCE, Down(source="binance", reason="hung up", at_ns=0))
        feed = feed_of(script.source)

    assert feed == Feed(
        venues={
            "coinbase": VenueFeed(connected=True, reconnects=0, bad=0, resyncs=0, down=""),
            "binance": VenueFeed(connected=False, reconnects=2, bad=0, resyncs=0, down="hung up"),
        },
        assets={"BTC-USD": AssetFeed(source="coinbase", late=0, switches=0)},
        restarts=0,
    )


def test_recorded_prices_and_who_does_not_listen_yet_told_nothing() -> None:
    assert feed_of(object()) is None
    assert feed_of(Silent()) is None


def a_status(state: str = "playing") -> Status:
    return Status(
        season="live-1", state=state, pid=os.getpid(), db="hydra.db", started_ns=AT_NS,
        updated_ns=AT_NS, cycle=7, at_ns=AT_NS,
        feed=Feed(
            venues={
                "coinbase": VenueFeed(connected=True, reconnects=1, bad=2, resyncs=3, down="late"),
                "bybit": VenueFeed(connected=False, reconnects=0, bad=0, resyncs=0, down="refused"),
            },
            assets={
                "BTC-USD": AssetFeed(source="coinbase", late=4, switches=0),
                "ETH-USD": AssetFeed(source="coinbase", late=0, switches=0),
            },
            restarts=0,
        ),
        jobs={
            "checkpoint": JobStatus(ran_ns=AT_NS, next_ns=AT_NS + 60 * NS_PER_S),
            "clean-up": JobStatus(ran_ns=None, next_ns=AT_NS, error="disk full", failed_ns=AT_NS),
        },
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    return tmp_path


def test_status_shows_jobs_and_venues_of_a_season_that_runs(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status.write(status.path_of(home, "live-1"), a_status())

    assert run(["status"]) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "live-1 checkpoint 2023-11-14 22:13:20 2023-11-14 22:14:20 – –" in lines
    assert "live-1 clean-up – 2023-11-14 22:13:20 2023-11-14 22:13:20 disk full" in lines
    assert "live-1 coinbase yes 1 2 3 BTC-USD, ETH-USD late" in lines
    assert "live-1 bybit no 0 0 0 – refused" in lines


def test_of_one_that_has_ended_no_run_is_to_come(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status.write(status.path_of(home, "live-1"), a_status("stopped"))

    assert run(["status"]) == 1
    assert "checkpoint" not in capsys.readouterr().out
    assert run(["status", "--json"]) == 1

    (told,) = json.loads(capsys.readouterr().out)
    assert told["feed"]["venues"]["coinbase"]["bad"] == 2
    assert told["feed"]["assets"]["ETH-USD"]["source"] == "coinbase"
    assert [job["next_run"] for job in told["jobs"]] == [None, None]
    assert told["jobs"][1]["error"] == "disk full"


def test_the_clean_up_says_what_it_deleted_and_nothing_of_nothing(tmp_path: Path) -> None:
    old = tmp_path / "data" / "hydra" / "logs" / "live.log.1"
    old.parent.mkdir(parents=True)
    old.write_text("x" * 1_000_000)
    os.utime(old, (0, 0))
    settings = Settings.model_validate({"HYDRA_HOME": tmp_path})
    said: list[str] = []

    for _ in range(2):
        clean(settings, ManualClock(AT_NS), said.append, None)

    assert said == ["clean-up: 1 logs deleted, 1.0 MB"]
    assert not old.exists()
