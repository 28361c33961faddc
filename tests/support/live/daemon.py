"""`hydra run` as a process of its own, on a loopback market and by its time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from apps.runtime import status
from tests.support.live.market import LiveMarket
from tests.support.shared_data import ROOT


class Daemon:
    """One season in one home; it may be started and killed again and again."""

    def __init__(
        self, home: Path, market: LiveMarket, season: str, words: Sequence[str] = ()
    ) -> None:
        """`words`: what `hydra run` is told beside the season's name."""
        self.home = home
        self.season = season
        self.said = home / f"{season}.said"  # standard error of all its processes
        self._words = tuple(words)
        self._variables = market.variables()
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def child(self) -> subprocess.Popen[bytes]:
        assert self._child is not None, "it was never started"
        return self._child

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def database(self) -> Path:
        return self.home / "data" / "hydra" / "hydra.db"

    def start(self) -> None:
        with self.said.open("ab") as said:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.support.live.fast", "run", "--paper",
                 "--season", self.season, *self._words],
                cwd=ROOT,
                env={**os.environ, **self._variables, "HYDRA_HOME": str(self.home)},
                stdout=said,
                stderr=said,
            )  # fmt: skip

    def kill(self) -> None:
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def stop(self, *, wait_s: float = 30) -> int:
        """SIGTERM; its exit status."""
        self.child.terminate()
        return self.child.wait(timeout=wait_s)

    def status(self) -> status.Status | None:
        path = status.path_of(self.home, self.season)
        return status.read(path) if path.exists() else None

    @property
    def cycle(self) -> int:
        """The last one that the running process tells of; 0: it has not got so far."""
        told = self.status()
        return told.cycle if told is not None and told.pid == self.child.pid else 0

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement).fetchall()

    def until(self, true: Callable[[], object], *, wait_s: float = 60) -> None:
        """Wait for something while it runs."""
        pause = threading.Event()
        for _ in range(round(wait_s * 50)):
            if true():
                return
            assert self.runs, self.said.read_text()
            pause.wait(0.02)
        raise AssertionError(f"it has not come about: {self.said.read_text()[-2_000:]}")
