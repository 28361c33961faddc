"""What was aimed at, whether it was reached, and the tables that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import Measurement
from benchmarks.suite import HYDRA, SLEEPING, TITLES, Results

Rows = list[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Aim:
    """One goal. `figure` None: it could not be measured."""

    name: str
    figure: float | None
    limit: float
    at_least: bool = True
    unit: str = ""

    @property
    def reached(self) -> bool | None:
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def row(self) -> tuple[str, ...]:
        aim = f"{'≥' if self.at_least else '≤'} {self.limit:,g}{self.unit}"
        if self.figure is None:
            return (self.name, aim, "not measured", "?")
        big = abs(self.figure) >= 1_000
        figure = f"{self.figure:,.0f}" if big else f"{self.figure:.3g}"
        return (self.name, aim, f"{figure}{self.unit}", "yes" if self.reached else "no")


def aims(r: Results) -> list[Aim]:
    """The goals for the full plan; smaller plans are judged by the same, for want of others."""

    def times(ours: Measurement, theirs: dict[str, Measurement], peer: str) -> float | None:
        return ours.rate / theirs[peer].rate if peer in theirs else None

    def again(twice: Measurement | None) -> float | None:
        return twice.cpu_s[0] / twice.cpu_s[1] if twice else None

    engines = f"{r.plan.engines} engines"
    found: list[Aim] = []
    for hydra, how in ((HYDRA, "asked at every bar"), (SLEEPING, "woken at crossings")):
        one, many = r.one[hydra], r.many[hydra]
        found += [
            Aim(f"{engines}, {how}: engine-bars a CPU second", many.rate, 1_000_000),
            Aim(
                f"{engines}, {how} ÷ backtesting.py",
                times(many, r.many, "backtesting_py"),
                5,
                unit="×",
            ),
            Aim(
                f"one engine, {how} ÷ backtesting.py",
                times(one, r.one, "backtesting_py"),
                1.5,
                unit="×",
            ),
            Aim(
                f"one engine, {how} ÷ backtrader", times(one, r.one, "backtrader_py"), 15, unit="×"
            ),
        ]
    one, many = r.one[HYDRA], r.many[HYDRA]
    return [
        *found,
        Aim(
            f"rate at {r.plan.one_bars:,} bars ÷ at {r.plan.few_bars:,}",
            one.rate / r.few.rate if r.few else None,
            0.95,
        ),
        Aim("second run ÷ first, one engine", again(r.again_one), 0.95),
        Aim(f"second run ÷ first, {engines}", again(r.again_many), 0.95),
        Aim("peak memory, one engine", one.peak_mb, 300, at_least=False, unit=" MB"),
        Aim(f"peak memory, {engines}", many.peak_mb, 300, at_least=False, unit=" MB"),
        Aim(
            "store's share of CPU, one engine", r.store["one"] * 100, 20, at_least=False, unit=" %"
        ),
        Aim(
            f"store's share of CPU, {engines}", r.store["many"] * 100, 20, at_least=False, unit=" %"
        ),
    ]


def aim_rows(r: Results) -> Rows:
    return [aim.row() for aim in aims(r)]


AIM_COLUMNS = ("aim", "limit", "measured", "reached")
PEER_COLUMNS = (
    "program", "engines", "CPU s", "engine-bars/CPU s", "Hydra is", "trades", "P&L USD", "peak MB",
)  # fmt: skip


def peer_rows(r: Results, found: dict[str, Measurement]) -> Rows:
    """One line a program; `Hydra is` says how many times its rate that of the first line is."""
    rows: Rows = []
    for peer, title in TITLES.items():
        if peer in r.absent:
            rows.append((title, "", "", "absent", "", "", "", ""))
        elif peer in found:
            m = found[peer]
            played = m.task.sample or m.task.engines
            of = f"{min(played, m.task.engines)} of {m.task.engines}"
            rows.append(
                (
                    f"{title} {m.version}",
                    of if played < m.task.engines else str(m.task.engines),
                    f"{min(m.cpu_s):.2f}",
                    f"{m.rate:,.0f}",
                    "" if peer in (HYDRA, SLEEPING) else f"{found[HYDRA].rate / m.rate:.1f}×",
                    f"{m.trades:,}",
                    f"{m.pnl_usd:,.0f}",
                    f"{m.peak_mb:.0f}",
                )
            )
    return rows


PHASE_COLUMNS = ("phase", "one engine", "many engines")


def phase_rows(r: Results) -> Rows:
    """Shares of Hydra's CPU time, largest of the many engines first."""
    one, many = r.phases["one"], r.phases["many"]
    names = sorted({*one, *many}, key=lambda name: -many.get(name, 0.0))
    return [(name, f"{one.get(name, 0.0):.0%}", f"{many.get(name, 0.0):.0%}") for name in names]


def markdown(r: Results) -> str:
    """The tables for docs/benchmarks.md."""
    parts = [
        f"Measured on {r.machine}, Python {r.python}.",
        _table(AIM_COLUMNS, aim_rows(r)),
        f"One engine, {r.plan.one_bars:,} bars:",
        _table(PEER_COLUMNS, peer_rows(r, r.one)),
        f"{r.plan.engines} engines, {r.plan.many_bars:,} bars:",
        _table(PEER_COLUMNS, peer_rows(r, r.many)),
        *(f"{TITLES[peer]} could not be measured: {why}" for peer, why in r.absent.items()),
        "Where Hydra's CPU time goes:",
        _table(PHASE_COLUMNS, phase_rows(r)),
    ]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Rows) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
