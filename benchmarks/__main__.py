"""`python -m benchmarks`: measures, prints tables, writes JSON; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.suite import (
    FULL,
    HYDRA,
    QUICK,
    ROOT,
    SLEEPING,
    TITLES,
    PeerFailed,
    Results,
    measure_all,
)

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything could be measured, whatever the figures; 1 when Hydra could not be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    peers = [peer for peer in TITLES if peer not in (HYDRA, SLEEPING)]
    parser.add_argument("--quick", action="store_true", help="small workloads, one round")
    parser.add_argument("--peers", default=",".join(peers), help="of: %(default)s; or none")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PEER=PATH",
        help="the interpreter of a peer that is installed elsewhere",
    )
    parser.add_argument("--out", type=Path, help="the JSON file; benchmarks/results/… by default")
    parser.add_argument("--docs", action="store_true", help="put the tables in docs/benchmarks.md")
    given = parser.parse_args(arguments)
    chosen = [] if given.peers == "none" else given.peers.split(",")
    unknown = set(chosen) - set(peers)
    if unknown:
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are: {', '.join(peers)}, none")
    console = Console(stderr=True)
    try:
        results = measure_all(
            QUICK if given.quick else FULL,
            peers=chosen,
            pythons=dict(pair.split("=", 1) for pair in given.python),
            say=lambda what: console.print(f"[dim]{what}[/dim]"),
        )
    except PeerFailed as error:
        console.print(f"[red]{error}[/red]")
        return 1
    out = given.out or ROOT / "benchmarks" / "results" / (
        "quick.json" if given.quick else "full.json"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    reached = [dict(zip(report.AIM_COLUMNS, row, strict=True)) for row in report.aim_rows(results)]
    out.write_text(json.dumps({"aims": reached, **results.as_json()}, indent=1) + "\n")
    show(results, Console(width=120))
    if given.quick:
        console.print("The aims are for the full workloads; on these small ones they say little.")
    console.print(f"written: {out}")
    if given.docs:
        page = ROOT / "docs" / "benchmarks.md"
        text = page.read_text()
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        page.write_text(f"{before}{BEGIN}\n{report.markdown(results)}{END}{after}")
    return 0


def show(r: Results, console: Console) -> None:
    """Print all tables."""
    plan = r.plan
    for title, columns, rows in (
        ("Aims", report.AIM_COLUMNS, report.aim_rows(r)),
        (f"One engine, {plan.one_bars:,} bars", report.PEER_COLUMNS, report.peer_rows(r, r.one)),
        (
            f"{plan.engines} engines, {plan.many_bars:,} bars",
            report.PEER_COLUMNS,
            report.peer_rows(r, r.many),
        ),
        ("Where Hydra's CPU time goes", report.PHASE_COLUMNS, report.phase_rows(r)),
    ):
        table = Table(title=title, title_justify="left")
        for i, column in enumerate(columns):
            table.add_column(column, justify="right" if i else "left")
        for row in rows:
            styled = ["[green]yes" if c == "yes" else "[red]no" if c == "no" else c for c in row]
            table.add_row(*styled)
        console.print(table)
    for peer, why in r.absent.items():
        console.print(f"{TITLES[peer]} could not be measured: {why}")


if __name__ == "__main__":
    sys.exit(main())
