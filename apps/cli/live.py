"""What a season shows while it plays: progress and standings, or plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apps.cli.tables import NOTHING, change, gain
from hydra.clock import iso, monotonic_ns
from hydra.market.instruments import UNITS_PER_USD
from hydra.tournament.ranking import Standing

_LEVELS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 24
_WIDE = 100  # columns from which a terminal has room for the curves
_LINE_STEPS = 10  # lines of a season in a pipe


class View(Protocol):
    """Is told how far the season is; a context, so that a terminal is left as it was."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def update(self, cycle: int, now_ns: int) -> None: ...


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def update(self, cycle: int, now_ns: int) -> None:
        pass


class Lines(Silence):
    """A line now and then, for output that nobody watches."""

    def __init__(self, cycles: int, standings: Callable[[], Sequence[Standing]]) -> None:
        self._cycles = cycles
        self._standings = standings
        self._step = 0

    def update(self, cycle: int, now_ns: int) -> None:
        step = _LINE_STEPS * cycle // self._cycles
        if step <= self._step:
            return
        self._step = step
        leader = next((s for s in self._standings() if s.rank == 1), None)
        ahead = ""
        if leader is not None:
            pnl = gain(leader.entrant.net_pnl_units / UNITS_PER_USD)
            ahead = f"  leads: {leader.entrant.engine} {pnl}"
        print(f"{100 * cycle // self._cycles:3d}%  {iso(now_ns)[:16]}{ahead}", flush=True)


class Screen:
    """A progress bar over the standings, redrawn at every commit."""

    def __init__(
        self,
        console: Console,
        *,
        title: str,
        cycles: int,
        engine_bars: int,
        initial_units: int,
        standings: Callable[[], Sequence[Standing]],
    ) -> None:
        self._console = console
        self._title = title
        self._cycles = cycles
        self._engine_bars = engine_bars
        self._initial_units = initial_units
        self._standings = standings
        self._curves: dict[str, list[int]] = {}
        self._started_ns = monotonic_ns()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Screen:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, cycle: int, now_ns: int) -> None:
        standings = self._standings()
        for one in standings:
            self._curves.setdefault(one.entrant.engine, []).append(one.entrant.net_pnl_units)
        self._live.update(
            Group(self._progress(cycle, now_ns), self._table(standings)), refresh=True
        )

    def _progress(self, cycle: int, now_ns: int) -> Table:
        done = cycle / self._cycles
        elapsed_s = max(1e-9, (monotonic_ns() - self._started_ns) / 1e9)
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(
            Text(self._title, style="bold"),
            ProgressBar(total=1.0, completed=done, width=20),
            Text(f"{done:4.0%}"),
            Text(f"{cycle:,}/{self._cycles:,}"),
            Text(iso(now_ns)[:10], style="cyan"),
            Text(f"{_rate(self._engine_bars * done / elapsed_s)} bars/s", style="dim"),
        )
        return line

    def _table(self, standings: Sequence[Standing]) -> Table:
        wide = self._console.width >= _WIDE
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim")
        table.add_column("", justify="right")
        table.add_column("engine", overflow="fold")
        for heading in ("net pnl", "return", "trades", "weight"):
            table.add_column(heading, justify="right", no_wrap=True)
        if wide:
            table.add_column("so far", no_wrap=True)
        for one in standings:
            entrant = one.entrant
            up = entrant.net_pnl_units >= 0
            colour = "green" if up else "red"
            cells = [
                Text(str(one.rank) if one.rank else NOTHING, style="dim"),
                Text(entrant.engine, style="dim" if entrant.is_reference else ""),
                Text(gain(entrant.net_pnl_units / UNITS_PER_USD), style=colour),
                Text(change(entrant.net_pnl_units / self._initial_units), style=colour),
                Text(f"{entrant.trades:,}"),
                Text(f"{float(one.weight):.0%}" if one.rank else NOTHING, style="dim"),
            ]
            if wide:
                cells.append(Text(sparkline(self._curves[entrant.engine]), style=colour))
            table.add_row(*cells)
        return table


def sparkline(values: Sequence[float], width: int = _SPARK_WIDTH) -> str:
    """A curve in `width` block letters, its lowest value lowest."""
    count = min(width, len(values))
    picked = [values[(i + 1) * len(values) // count - 1] for i in range(count)]
    low, high = min(picked, default=0.0), max(picked, default=0.0)
    top = len(_LEVELS) - 1
    return "".join(
        _LEVELS[round(top * (value - low) / (high - low)) if high > low else top // 2]
        for value in picked
    )


def _rate(per_second: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if per_second >= size:
            return f"{per_second / size:.1f}{unit}"
    return f"{per_second:.0f}"
