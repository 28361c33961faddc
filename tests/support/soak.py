"""The daemon for as long as one likes, at 60 times the market's pace, under random faults.

    python -m tests.support.soak --minutes 10 --seed 1

`hydra run` itself, as a process, on three living loopback venues: they fall silent, go down, lose
and spoil messages, one by one and all at once; the process is killed, and stopped; its database is
locked for a while. In the second half nobody ends the process, so that its memory can be judged.
At the end the season is verified and its invariants are checked. Exit status 1: something is wrong.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hydra.storage.database import reading
from hydra.storage.verify import verify_season
from tests.support.faults.check import check
from tests.support.faults.wire import disturb
from tests.support.live.daemon import Daemon
from tests.support.live.fast import FastTime
from tests.support.live.market import LiveMarket

SPEED = 60.0
SEASON = "soak"
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
ENGINES = (
    "ema_trend:fast=2,slow=5,atr_period=5", "donchian_breakout:entry=10,exit=5,atr_period=10",
    "mean_reversion:period=10,rsi_period=7", "ema_trend@5m:fast=2,slow=4,atr_period=4",
    "buy_and_hold", "flat",
)  # fmt: skip
TICK_S = 0.25
WARM_S = 20.0  # of a process, in which its memory may still grow
MOST_GROWTH_FRAC, MOST_GROWTH_MB = 0.10, 20.0
NS_PER_MINUTE = 60 * 10**9


@dataclass
class Soak:
    """One run of it, and what it came to."""

    daemon: Daemon
    market: LiveMarket
    rng: Random
    wall_s: float
    began_s: float = field(default_factory=time.monotonic)
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # what must not be
    lives: list[list[tuple[float, float]]] = field(default_factory=list)  # uptime s, MB
    _mends: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _started_s: float = 0.0
    _locked_s: float = 0.0  # until then somebody may hold the database

    @property
    def at_s(self) -> float:
        return time.monotonic() - self.began_s

    def run(self) -> None:
        pause = threading.Event()
        told_s = 0.0
        self._start()
        while self.at_s < self.wall_s:
            pause.wait(TICK_S)
            self._sample()
            self._mend()
            if not self.daemon.runs:
                self._ended()
                self._start()
            elif self.daemon.cycle:
                self._happen()
            if self.at_s - told_s >= 30:
                told_s = self.at_s
                self._tell()
        self._mend(all_of_them=True)
        if not self.daemon.runs:
            self._start()
        self._until_it_plays()
        status = self.daemon.stop(wait_s=120)
        if status != 0:
            self.wrong.append(f"stopped, it ended with status {status}")

    def _start(self) -> None:
        self.lives.append([])
        self._started_s = self.at_s
        self.daemon.start()

    def _ended(self) -> None:
        """It ended by itself, which only a database that is locked when it starts excuses."""
        if self._started_s > self._locked_s:
            self.wrong.append(f"it ended with status {self.daemon.child.returncode}")

    def _until_it_plays(self) -> None:
        try:
            before = self.daemon.cycle
            self.daemon.until(lambda: self.daemon.cycle > before, wait_s=120)
        except AssertionError as error:
            self.wrong.append(f"at the end it does not play on: {error}")

    def _sample(self) -> None:
        with suppress(OSError, IndexError, ValueError):
            pages = int(Path(f"/proc/{self.daemon.child.pid}/statm").read_text().split()[1])
            megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            if megabytes:
                self.lives[-1].append((self.at_s - self._started_s, megabytes))

    # Faults

    def _happen(self) -> None:
        """Something, every few seconds."""
        rng = self.rng
        if rng.random() > TICK_S / 4:
            return
        what = rng.random()
        if what < 0.55:
            self._at_venues(rng.choice((1, 1, 1, 2)), rng.uniform(0.1, 3))
        elif what < 0.65:
            self._at_venues(3, rng.uniform(0.1, 4))
        elif what < 0.8:
            self._lock(rng.choice((0.2, 1.0, 3.0, 18.0)))
        elif self.at_s < self.wall_s / 2 and self.at_s - self._started_s > WARM_S / 2:
            if what < 0.93:
                self.faults["killed"] += 1
                self.daemon.kill()
            else:
                self.faults["stopped"] += 1
                status = self.daemon.stop(wait_s=120)
                if status != 0:
                    self.wrong.append(f"stopped, it ended with status {status}")
            threading.Event().wait(rng.choice((0.0, 0.5, 3.0)))
            self._start()

    def _at_venues(self, count: int, for_s: float) -> None:
        self.faults[f"trouble at {count} of the venues"] += 1
        for venue in self.rng.sample(self.market.venues, count):
            self._mends.append((self.at_s + for_s, disturb(venue, self.rng)))

    def _lock(self, for_s: float) -> None:
        if self.at_s < self._locked_s:
            return
        other = sqlite3.connect(
            self.daemon.database, isolation_level=None, timeout=5, check_same_thread=False
        )
        with suppress(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")
            self.faults["database locked"] += 1
        self._locked_s = self.at_s + for_s
        self._mends.append((self._locked_s, other.close))

    def _mend(self, *, all_of_them: bool = False) -> None:
        for due_s, mend in list(self._mends):
            if all_of_them or self.at_s >= due_s:
                mend()
                self._mends.remove((due_s, mend))

    # What came of it

    def _tell(self) -> None:
        told = self.daemon.status()
        state = "starting" if told is None else f"{told.state}, cycle {told.cycle}"
        megabytes = self.lives[-1][-1][1] if self.lives[-1] else 0.0
        count = sum(self.faults.values())
        print(f"{self.at_s:6.0f} s: {state}, {megabytes:.0f} MB, {count} faults", flush=True)

    def judge(self) -> None:
        """Check all that must hold of the season; print the figures."""
        url = f"sqlite:///{self.daemon.database}"
        with reading(url) as connection:
            verdict = verify_season(connection, SEASON)
        self.wrong += verdict.faults
        try:
            check(url, SEASON)
        except AssertionError as error:
            self.wrong.append(str(error))
        said = self.daemon.said.read_text()
        if "Traceback" in said:
            self.wrong.append(f"a traceback in {self.daemon.said}")
        self._judge_memory()
        self._judge_minutes()
        kinds = self.daemon.sql("SELECT kind, count(*) FROM journal GROUP BY kind ORDER BY 2 DESC")
        print(f"faults: {dict(self.faults.most_common())}; {len(self.lives)} lives")
        print(f"journal: {verdict.records:,} records: {dict(kinds)}")

    def _judge_memory(self) -> None:
        """Of the life that lasted longest: its last third against its first, once it was warm."""
        longest = max(self.lives, key=lambda life: life[-1][0] if life else 0.0)
        warm = [(up_s, mb) for up_s, mb in longest if up_s >= WARM_S]
        if len(warm) < 30:
            print("memory: no process lived long enough to judge it")
            return
        third = len(warm) // 3
        first, last = (
            statistics.median(mb for _, mb in part) for part in (warm[:third], warm[-third:])
        )
        print(
            f"memory: {first:.1f} MB in the first third of {warm[-1][0]:.0f} s, {last:.1f} MB in"
            f" the last; at most {max(mb for _, mb in longest):.1f} MB"
        )
        if last - first > max(MOST_GROWTH_MB, MOST_GROWTH_FRAC * first):
            self.wrong.append(f"memory grew from {first:.1f} to {last:.1f} MB")

    def _judge_minutes(self) -> None:
        """Every minute of the season was heard or made up, but where no candle was to be had."""
        ((count, first_ns, last_ns),) = self.daemon.sql(
            "SELECT count(DISTINCT open_ns), min(open_ns), max(open_ns) FROM season_bars"
            " WHERE source NOT LIKE '% candles' OR unfit LIKE 'made up%'"
        )
        due = (last_ns - first_ns) // NS_PER_MINUTE + 1
        kinds = Counter[str]()
        for source, unfit, bars in self.daemon.sql(
            "SELECT source, unfit, count(*) FROM season_bars GROUP BY source, unfit"
        ):
            kinds[_kind(source, unfit)] += bars
        print(f"minutes: {count:,} of {due:,}; bars: {dict(kinds.most_common())}")


def _kind(source: str, unfit: str) -> str:
    if unfit.startswith("made up"):
        return "made up"
    if unfit.startswith("played too late"):
        return "late"
    if source.endswith(" candles"):
        return "warming up"
    return f"unfit of {source}" if unfit else f"fit of {source}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the machine's time")
    parser.add_argument("--seed", type=int, default=None, help="of the faults; default: the time")
    parser.add_argument("--home", type=Path, default=None, help="where it plays; it is kept")
    asked = parser.parse_args()
    seed = time.time_ns() % 10**6 if asked.seed is None else asked.seed
    home = asked.home or Path(tempfile.mkdtemp(prefix="hydra-soak-"))
    home.mkdir(parents=True, exist_ok=True)
    print(f"soak: {asked.minutes:g} minutes at {SPEED:g} times, seed {seed}, in {home}", flush=True)
    os.environ.setdefault("HYDRA_ENV_FILE", os.devnull)
    os.environ.pop("HYDRA_DB_URL", None)
    with LiveMarket(SYMBOLS, FastTime(SPEED, time.time_ns()), seed=seed) as market:
        assets = ",".join(symbol.removesuffix("T") for symbol in SYMBOLS)
        words = ["--assets", assets, "--engines", ",".join(ENGINES), "--warm-bars", "120"]
        daemon = Daemon(home, market, SEASON, words)
        soak = Soak(daemon, market, Random(seed), asked.minutes * 60)
        try:
            soak.run()
        finally:
            if daemon.runs:
                daemon.kill()
    soak.judge()
    for text in soak.wrong:
        print(f"WRONG: {text}")
    print("sound" if not soak.wrong else f"not sound; again by --seed {seed}")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
