"""Looks after a live season from a thread of its own: whatever holds the market up, it is told.

The season's loop writes on `Pulse` what it lives through; the sentinel reads it, judges, and
raises alarms. It uses neither the loop nor the database: those are what it looks after.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from apps.runtime.status import Board
from hydra.clock import NS_PER_S, monotonic_ns
from hydra.market.instruments import Instrument
from hydra.market.sessions import is_open
from hydra.operations.alarms import Alarms, Condition, Notice, run_command

LOOK_S = 1.0  # between two looks
STORAGE_S = 10.0  # that a database may be away before an alarm
STALL_S = 60.0  # that a minute may be overdue
LEAST_FREE_BYTES = 256 * 1024 * 1024


@dataclass(slots=True)
class Pulse:
    """What the season's loop lives through. Values are replaced, never changed in place."""

    bar_s: float | None  # how often a minute is due; None: as its file has them
    is_playing: bool = False
    beat_ns: int = field(default_factory=monotonic_ns)  # when a minute was last played
    symbols: int = 0  # that trade now
    unfit: Mapping[str, str] = field(default_factory=dict)  # of those, and why
    exposed: frozenset[str] = frozenset()  # symbols with open tickets
    storage: str = ""  # why the database cannot be used

    def feel(
        self, unfit: Mapping[str, str], instruments: Iterable[Instrument], now_ns: int
    ) -> None:
        """Take in the prices of a minute. A market that is shut is unfit, and no matter."""
        trading = {one.symbol for one in instruments if is_open(one, now_ns)}
        self.symbols = len(trading)
        self.unfit = {symbol: why for symbol, why in unfit.items() if symbol in trading}


def conditions(pulse: Pulse, now_ns: int, *, prices_s: float) -> Iterator[Condition]:
    """What is amiss by the pulse. `prices_s`: how long prices may be unfit before an alarm."""
    if pulse.storage:
        yield Condition("storage", f"the season waits for its database: {pulse.storage}", STORAGE_S)
    elif pulse.is_playing and pulse.bar_s is not None:
        silent_s = (now_ns - pulse.beat_ns) / NS_PER_S
        if silent_s > pulse.bar_s + STALL_S:
            yield Condition("stall", f"no minute has been played for {silent_s:.0f} s")
    unfit = pulse.unfit  # once: the loop may replace it at any moment
    unknown = sorted(pulse.exposed & unfit.keys())
    if unknown:
        yield Condition(
            "equity",
            "what open tickets are worth is not known: "
            + "; ".join(f"{symbol}: {unfit[symbol]}" for symbol in unknown),
            prices_s,
        )
    elif unfit and len(unfit) >= pulse.symbols:
        symbol, why = min(unfit.items())
        yield Condition("prices", f"no symbol has fit prices: {symbol}: {why}", prices_s)


class Sentinel:
    """A context: within it, the season is looked after."""

    def __init__(
        self,
        pulse: Pulse,
        board: Board,
        *,
        folder: Path,
        prices_s: float,
        command: Sequence[str],
        warn: Callable[[str], None],
    ) -> None:
        """`folder`: on whose disk space is needed. `command` is given each notice, empty for none.
        `warn` tells whoever looks, and the log; it is called from threads."""
        self._pulse = pulse
        self._board = board
        self._folder = folder
        self._prices_s = prices_s
        self._command = command
        self._warn = warn
        self._alarms = Alarms()
        self._ends = Event()
        self._thread = Thread(target=self._run, name="sentinel", daemon=True)

    def __enter__(self) -> Sentinel:
        self._thread.start()
        return self

    def __exit__(self, *of_the_error: object) -> None:
        self._ends.set()
        self._thread.join()
        if self._board.status.alarms:  # of a season that does not run nothing lasts
            self._board.tell(alarms=[])

    def _run(self) -> None:
        while not self._ends.wait(LOOK_S):
            try:
                self.look(monotonic_ns())
            except Exception as error:  # who looks after a season must not fall silent
                self._board.tell(alarms=[f"the sentinel failed: {type(error).__name__}: {error}"])

    def look(self, now_ns: int) -> None:
        """Judge what there is, and tell what is news."""
        found = [*conditions(self._pulse, now_ns, prices_s=self._prices_s), *self._of_the_disk()]
        notices = self._alarms.look(found, now_ns)
        if notices:
            self._board.tell(alarms=self._alarms.standing())
        for notice in notices:
            self._warn(str(notice))
            if self._command:
                # The operator's program may hang: it must not keep the next look.
                Thread(target=self._run_command, args=(notice,), daemon=True).start()

    def _of_the_disk(self) -> Iterator[Condition]:
        if self._board.fault:
            yield Condition("status", self._board.fault)
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            yield Condition("disk", f"{self._folder} cannot be looked at: {error.strerror}")
            return
        if free < LEAST_FREE_BYTES:
            yield Condition("disk", f"{self._folder} has {free >> 20} MiB of space left")

    def _run_command(self, notice: Notice) -> None:
        fault = run_command(self._command, notice)
        if fault:
            self._warn(f"HYDRA_ALARM_COMMAND failed: {fault}")
