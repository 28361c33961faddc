"""`hydra run` as a process: how long a recovery takes, how soon it decides, what it weighs."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from apps.runtime import status
from benchmarks.workload import MINUTE_NS, candles

ROOT = Path(__file__).resolve().parents[1]
REAL = "bars/crypto_perp_1m_20250530_20250614_btc_eth_sol.parquet"
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
# Crossings of such short means come every few bars: a journal grows fast by them.
BUSY = tuple(
    f"ema_trend:fast={fast},slow={slow},stop_atr={stop}"
    for stop in (3, 4, 5)
    for fast, slow in ((1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (2, 5), (1, 5), (3, 4))
)
LOOK_S = 0.005  # between two looks at a running season


def bars_file(bars: int, folder: Path, data: Path) -> tuple[Path, str]:
    """A file of so many minutes of three symbols, and where they are from.

    Real ones at `data`; beyond them and where there are none, a seeded walk.
    """
    path = folder / f"bars_{bars}.parquet"
    real = data / REAL
    if real.exists():
        read = pl.read_parquet(real)
        if len(read) >= bars * len(SYMBOLS):
            kept = read.sort("timestamp", "symbol").group_by("symbol", maintain_order=True)
            kept.head(bars).write_parquet(path)
            return path, "real minutes of BTC, ETH and SOL"
    walk = candles(bars * len(SYMBOLS))
    tables = []
    for i, symbol in enumerate(SYMBOLS):
        rows = slice(i * bars, (i + 1) * bars)
        tables.append(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "timestamp": (walk.open_ns[:bars] // 1_000).astype("datetime64[us]"),
                    **{c: getattr(walk, c)[rows] for c in ("open", "high", "low", "close")},
                    "volume": walk.volume[rows],
                }
            )
        )
    pl.concat(tables).write_parquet(path)
    return path, "seeded walks"


class Season:
    """A live season of `hydra run --feed replay` in a home of its own."""

    def __init__(self, home: Path, bars: Path, engines: Sequence[str] = ()) -> None:
        self.home = home
        self._words = [
            sys.executable, "-m", "apps.cli.main", "run", "--feed", "replay", "--bars", str(bars),
            "--season", "bench", "--quiet", "--profile", "none", "--cash", "10000000",
        ]  # fmt: skip
        if engines:
            self._words += ["--engines", ",".join(engines)]
        self._path = status.path_of(home, "bench")
        self.database = home / "data" / "hydra" / "hydra.db"

    @contextmanager
    def running(self, speed: float) -> Iterator[psutil.Popen]:
        """Its process, killed at the end by a real SIGKILL."""
        self._path.unlink(missing_ok=True)
        process = psutil.Popen(
            [*self._words, "--speed", f"{speed:g}"],
            cwd=ROOT,
            env={**os.environ, "HYDRA_HOME": str(self.home), "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()

    def status(self) -> status.Status | None:
        """What it tells of itself; None as long as it tells nothing."""
        return status.read(self._path) if self._path.exists() else None

    def until(
        self, process: psutil.Popen, true: Callable[[status.Status], bool], most_s: float = 3_600
    ) -> float:
        """Seconds until a status for which something is true. Raises OSError when it ends."""
        began = time.perf_counter()
        while time.perf_counter() - began < most_s:
            told = self.status()
            if told is not None and true(told):
                return time.perf_counter() - began
            if process.poll() is not None:
                raise OSError(process.communicate()[1].decode()[-1_000:] or "it has ended")
            time.sleep(LOOK_S)
        raise OSError(f"not after {most_s:g} s: {self.status()}")

    def counts(self) -> dict[str, int]:
        """Rows of its journal and of its bars."""
        with closing(sqlite3.connect(self.database)) as connection:
            return {
                name: connection.execute(statement).fetchone()[0]
                for name, statement in (
                    ("records", "SELECT max(journal_count) FROM seasons"),
                    ("cycles", "SELECT max(cycle) FROM seasons"),
                    ("bars", "SELECT count(*) FROM season_bars"),
                )
            }


def stored(season: Season, records: int) -> dict[str, int]:
    """Play until the journal has so many records, then kill it."""
    with season.running(0) as process:
        season.until(process, lambda told: told.state == "playing" and told.cycle > 0)
        while season.counts()["records"] < records:
            if process.poll() is not None:
                raise OSError(process.communicate()[1].decode()[-1_000:] or "it has ended")
            time.sleep(0.5)
    return season.counts()


def recovery(season: Season) -> dict[str, float]:
    """Seconds and CPU from a start of the killed season until it plays."""
    with season.running(1) as process:
        took_s = season.until(process, lambda told: told.state == "playing")
        spent = process.cpu_times()
        memory_mb = process.memory_info().rss / 1e6
    return {"took_s": took_s, "cpu_s": spent.user + spent.system, "memory_mb": memory_mb}
