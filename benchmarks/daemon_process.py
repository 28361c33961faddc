"""`hydra run` as a process: how long a recovery takes, how soon it decides, what it weighs."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl

from apps.runtime import status
from benchmarks.workload import candles

ROOT = Path(__file__).resolve().parents[1]
REAL = "bars/crypto_perp_1m_20250530_20250614_btc_eth_sol.parquet"
SYMBOLS = ("BTC-USD", "ETH-USD", "SOL-USD")
# Crossings of such short means come every few bars: a journal grows fast by them.
BUSY = tuple(
    f"ema_trend:fast={fast},slow={slow},stop_atr={stop}"
    for stop in (3, 4, 5, 6)
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
    """A live season of `hydra run` in a home of its own, on recorded bars unless told otherwise."""

    def __init__(
        self,
        home: Path,
        words: Sequence[str],
        engines: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`words` name the feed. `engines`: none for all that there are."""
        self.home = home
        self._words = [
            sys.executable, "-m", "apps.cli.main", "run", "--season", "bench", "--quiet",
            "--profile", "none", "--cash", "10000000", *words,
        ]  # fmt: skip
        if engines:
            self._words += ["--engines", ",".join(engines)]
        self._variables = variables or {}
        self._path = status.path_of(home, "bench")
        self.database = home / "data" / "hydra" / "hydra.db"

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Its process, killed at the end by a real SIGKILL."""
        self._path.unlink(missing_ok=True)
        with (self.home / "said").open("wb") as said:
            process = subprocess.Popen(
                [*self._words, *words],
                cwd=ROOT,
                env={
                    **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **self._variables,
                    "HYDRA_HOME": str(self.home),
                },
                stderr=said,
            )  # fmt: skip
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                process.wait()

    def until(
        self,
        process: subprocess.Popen[bytes],
        true: Callable[[status.Status], bool],
        most_s: float = 3_600,
    ) -> float:
        """Seconds until its status is one for which something is true. Raises OSError when it
        ends before, or takes too long."""
        began = time.perf_counter()
        while (spent := time.perf_counter() - began) < most_s:
            if self._path.exists() and true(status.read(self._path)):
                return spent
            if process.poll() is not None:
                raise OSError((self.home / "said").read_text()[-1_000:] or "it has ended")
            time.sleep(LOOK_S)
        raise OSError(f"not after {most_s:g} s: {self._path.read_text()}")

    def counts(self) -> dict[str, int]:
        """Rows of its journal, cycles, and rows of its bars."""
        with closing(sqlite3.connect(self.database)) as connection:
            return {
                name: connection.execute(statement).fetchone()[0]
                for name, statement in (
                    ("records", "SELECT max(journal_count) FROM seasons"),
                    ("cycles", "SELECT max(cycle) FROM seasons"),
                    ("bars", "SELECT count(*) FROM season_bars"),
                )
            }


def usage(pid: int) -> tuple[float, float]:
    """Of a process: seconds of CPU so far, all threads; and resident MB."""
    # After the name, which may hold spaces, from field 3 of proc(5) on.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def replaying(bars: Path) -> list[str]:
    """The words of a season on a file of bars."""
    return ["--feed", "replay", "--bars", str(bars)]


def _plays(told: status.Status) -> bool:
    return told.state == "playing" and told.cycle > 0


def store(season: Season, records: int) -> dict[str, int]:
    """Play as fast as can be until the journal has so many records, then kill it."""
    with season.running("--speed", "0") as process:
        season.until(process, _plays)
        while season.counts()["records"] < records:
            if process.poll() is not None:
                raise OSError((season.home / "said").read_text()[-1_000:] or "it has ended")
            time.sleep(0.2)
    return season.counts()


def recovery(season: Season) -> dict[str, float]:
    """Seconds and CPU from a start of the killed season until it plays on."""
    with season.running("--speed", "1") as process:
        took_s = season.until(process, lambda told: told.state == "playing")
        cpu_s, memory_mb = usage(process.pid)
    return {"took_s": took_s, "cpu_s": cpu_s, "memory_mb": memory_mb}


def start(home: Path, bars: Path) -> float:
    """Seconds from the start of a new season's process until its first cycle is committed: every
    engine has decided on the first bars."""
    season = Season(home, replaying(bars))
    with season.running("--speed", "0") as process:
        return season.until(process, lambda told: told.cycle > 0)


def memory(home: Path, bars: Path) -> dict[str, float]:
    """Resident MB of a season with all engines, at its beginning and after all of the bars but
    the last."""
    season = Season(home, replaying(bars))
    most = pl.scan_parquet(bars).select("timestamp").unique().collect().height
    with season.running("--speed", "0") as process:
        season.until(process, _plays)
        _, first_mb = usage(process.pid)
        season.until(process, lambda told: told.cycle >= most - 50)
        _, last_mb = usage(process.pid)
    return {"first_mb": first_mb, "last_mb": last_mb, "cycles": most - 50}


def load(home: Path, variables: Mapping[str, str], seconds: float) -> dict[str, float]:
    """Share of a core that a season with all engines takes while it listens to a venue, its
    minutes and the commits of what they bring included."""
    words = ["--feed", "venues", "--venues", "coinbase", "--warm-bars", "0"]
    season = Season(home, words, variables=variables)
    with season.running() as process:
        season.until(process, _plays, most_s=180)  # the first whole minute was played
        began, (before_s, _) = time.perf_counter(), usage(process.pid)
        time.sleep(seconds)
        wall_s, (after_s, memory_mb) = time.perf_counter() - began, usage(process.pid)
    return {"cpu_frac": (after_s - before_s) / wall_s, "memory_mb": memory_mb}
