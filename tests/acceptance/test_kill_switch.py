"""The operator's switch: one SQL statement from another process stops a running season."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from hydra.engines.view import View
from hydra.mother.mother import Mother
from hydra.portfolio.intents import Close, Intent
from hydra.storage.database import reading
from hydra.storage.memory import MemoryDatabase
from hydra.storage.verify import verify_season
from tests.support.bars import a_table
from tests.support.processes import Setup, die, fork, in_child, rows_of, sample_tables
from tests.support.seasons import a_contestant, play_bars
from tests.support.seasons import a_season as a_row

KILL = "UPDATE guardian_state SET kill_switch=1;   -- stops all trading within one cycle"
RELEASE = "UPDATE guardian_state SET kill_switch=0;   -- releases it, likewise"
ANOTHER_PROGRAM = """
import sqlite3, sys, time
with sqlite3.connect(sys.argv[1]) as database:
    database.executescript(sys.argv[2])
time.sleep(0.03)
"""
CYCLES = 250


def by_another_process(path: Path, statement: str) -> None:
    """What an operator does in another window, while the season decides.

    It lasts longer than the 20 ms between two looks, on the fastest machine too: a decision that
    is over sooner may be followed by a few cycles before the next look.
    """
    subprocess.run([sys.executable, "-c", ANOTHER_PROGRAM, str(path), statement], check=True)


class Operator:
    """Wants nothing; at given cycles of the season another process runs SQL meanwhile.

    Its first symbol's bars count the cycles, which is why all symbols here share their bars.
    """

    features = ()

    def __init__(self, path: Path, at: dict[int, str], dies_at: int = 0) -> None:
        self._path = path
        self._at = at
        self._dies_at = dies_at
        self._cycle = 0
        self._first = ""

    def decide(self, view: View) -> Sequence[Intent]:
        self._first = self._first or view.symbol
        if view.symbol != self._first:
            return ()
        self._cycle += 1
        if self._cycle == self._dies_at:
            die()
        if self._cycle in self._at:
            by_another_process(self._path, self._at[self._cycle])
        return ()


class Eager:
    """Buys wherever it holds nothing."""

    features = ()

    def decide(self, view: View) -> Sequence[Intent]:
        if view.tickets:
            return ()
        return (view.buy(stop=view.close * 0.9, risk_frac=None),)


def a_season(path: Path, at: dict[int, str], dies_at: int = 0, **changes: object) -> Setup:
    setup = Setup(
        tables=sample_tables(bars=CYCLES),
        more=lambda: {"eager": Eager(), "operator": Operator(path, at, dies_at)},
        profile="none",
    )
    return replace(setup, **changes)  # type: ignore[arg-type]


class Left:
    """The journal and the tickets of a season in a file."""

    def __init__(self, path: Path) -> None:
        rows = rows_of(f"sqlite:///{path}")
        self.journal = [
            (int(str(cycle)), str(engine), str(kind), msgspec.json.decode(str(body)))
            for _, cycle, _, engine, kind, _, body, _ in rows["journal"]
        ]
        with reading(f"sqlite:///{path}") as connection:
            self.verdict = verify_season(connection)

    def cycles_of(self, kind: str, engine: str | None = None) -> list[int]:
        return [
            cycle for cycle, who, what, _ in self.journal if what == kind and engine in (None, who)
        ]

    def opens(self) -> list[int]:
        """Cycles in which an opening order was approved."""
        return [
            cycle
            for cycle, _, kind, body in self.journal
            if kind == "approved" and body["intent"]["type"] == "open"
        ]

    def live_after(self, last: int) -> set[int]:
        """Tickets, open or pending, once cycle `last` is over."""
        live: set[int] = set()
        for cycle, _, kind, body in self.journal:
            if cycle > last:
                break
            if kind == "approved" and body["intent"]["type"] == "open":
                live.add(body["ticket"])
            elif kind == "cancelled" or kind == "closed":
                live.discard(body["ticket"])
        return live


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hydra.db"


# The plan's own 20 ms between two looks, and a look at every cycle.
@pytest.mark.parametrize("plan", [{}, {"poll_ms": 0, "commit_ms": 0}], ids=["default", "strict"])
def test_it_stops_new_risk_in_the_next_cycle_and_closes_every_ticket_on_its_next_bar(
    path: Path, plan: dict[str, object]
) -> None:
    a_season(path, {120: KILL}, plan=plan).play_stored(f"sqlite:///{path}")

    left = Left(path)
    assert left.cycles_of("external.kill") == [121]
    assert max(left.opens()) <= 120
    assert left.live_after(120), "the season had something to close"
    assert left.live_after(121) == set()
    reasons = {
        body["reason"]
        for cycle, _, kind, body in left.journal
        if cycle == 121 and kind in ("closed", "cancelled")
    }
    assert reasons == {"kill switch"}
    assert left.verdict.is_sound, left.verdict.faults


def test_while_it_is_on_every_wish_for_risk_is_refused_and_says_why(path: Path) -> None:
    a_season(path, {120: KILL}).play_stored(f"sqlite:///{path}")

    left = Left(path)
    refusals = [
        body["refused"]["rule"]
        for cycle, engine, kind, body in left.journal
        if kind == "refused" and engine == "eager" and cycle > 120
    ]
    assert len(refusals) == 4 * (CYCLES - 120)
    assert set(refusals) == {"kill-switch"}


def test_its_release_is_heard_in_the_next_cycle(path: Path) -> None:
    a_season(path, {100: KILL, 130: RELEASE}).play_stored(f"sqlite:///{path}")

    left = Left(path)
    assert left.cycles_of("external.release") == [131]
    opened = [cycle for cycle in left.opens() if cycle > 100]
    assert min(opened) == 131
    assert left.verdict.is_sound, left.verdict.faults


def test_it_is_pulled_and_released_as_often_as_the_operator_likes(path: Path) -> None:
    at = {50: KILL, 70: RELEASE, 90: KILL, 91: RELEASE, 92: KILL}
    a_season(path, at).play_stored(f"sqlite:///{path}")

    left = Left(path)
    assert left.cycles_of("external.kill") == [51, 91, 93]
    assert left.cycles_of("external.release") == [71, 92]


def test_set_before_the_season_it_lets_nobody_trade(path: Path) -> None:
    url = f"sqlite:///{path}"
    a_season(path, {}, name="before").play_stored(url)
    by_another_process(path, KILL)

    a_season(path, {}).play_stored(url)

    left = Left(path)
    assert left.cycles_of("external.kill") == [1]
    assert left.opens() == []


@pytest.mark.parametrize("dies_at", [100, 119, 122, 135, 152, 200])
def test_killed_around_the_switch_a_season_resumes_to_the_same_digest(
    path: Path, tmp_path: Path, dies_at: int
) -> None:
    at = {120: KILL, 150: RELEASE}
    strict: dict[str, object] = {"poll_ms": 0, "commit_ms": 0}
    undisturbed = tmp_path / "undisturbed.db"
    digest = a_season(undisturbed, at, plan=strict).play_stored(f"sqlite:///{undisturbed}")

    dying = a_season(path, at, dies_at, plan=strict)
    assert fork(lambda say: say(dying.play_stored(f"sqlite:///{path}"))).wait() == -9
    # What the operator did before the end is in the database; the rest he still does.
    still = {cycle: statement for cycle, statement in at.items() if cycle >= dies_at}
    resumed = a_season(path, still)
    said = in_child(lambda say: say(resumed.play_stored(f"sqlite:///{path}", resume=True)))

    assert said == [digest]
    assert Left(path).verdict.is_sound


def test_it_survives_a_restart(path: Path) -> None:
    url = f"sqlite:///{path}"
    dying = a_season(path, {120: KILL}, 140, plan={"poll_ms": 0, "commit_ms": 0})
    assert fork(lambda say: say(dying.play_stored(url))).wait() == -9

    a_season(path, {}).play_stored(url, resume=True)

    left = Left(path)
    assert left.cycles_of("external.kill") == [121]
    assert left.cycles_of("external.release") == []
    assert max(left.opens()) <= 120


def test_set_while_the_season_lay_dead_it_is_heard_in_its_first_new_cycle(path: Path) -> None:
    url = f"sqlite:///{path}"
    dying = a_season(path, {}, 140, plan={"poll_ms": 0, "commit_ms": 0})
    assert fork(lambda say: say(dying.play_stored(url))).wait() == -9
    by_another_process(path, KILL)

    a_season(path, {}).play_stored(url, resume=True)

    left = Left(path)
    assert left.cycles_of("external.kill") == [140]
    assert max(left.opens()) <= 139
    assert left.live_after(140) == set()
    assert left.verdict.is_sound, left.verdict.faults


def test_a_guardian_without_its_row_counts_as_killed(path: Path) -> None:
    a_season(path, {120: "DELETE FROM guardian_state;"}).play_stored(f"sqlite:///{path}")

    left = Left(path)
    assert left.cycles_of("external.kill") == [121]
    assert max(left.opens()) <= 120


def test_set_by_the_environment_nobody_trades_whatever_the_database_says(path: Path) -> None:
    setup = a_season(path, {100: RELEASE}, plan={"kill_switch": True})
    setup.play_stored(f"sqlite:///{path}")

    left = Left(path)
    assert left.cycles_of("external.kill") == [1]
    assert left.cycles_of("external.release") == []
    assert left.opens() == []


def test_by_the_environment_it_can_stop_a_season_that_goes_on(path: Path) -> None:
    url = f"sqlite:///{path}"
    dying = a_season(path, {}, 140, plan={"poll_ms": 0, "commit_ms": 0})
    assert fork(lambda say: say(dying.play_stored(url))).wait() == -9

    a_season(path, {}, plan={"kill_switch": True}).play_stored(url, resume=True)

    left = Left(path)
    assert left.cycles_of("external.kill") == [140]
    assert left.live_after(140) == set()


def test_in_consensus_mode_the_house_stops_as_well(path: Path) -> None:
    a_season(path, {120: KILL}, mode="consensus", specs=("flat",)).play_stored(f"sqlite:///{path}")

    left = Left(path)
    house = left.cycles_of("approved", "house")
    assert house
    assert max(house) <= 120
    assert left.live_after(121) == set()


class Stubborn:
    """Buys the slow symbol once, and at every bar asks to close a little of what it holds."""

    features = ()

    def __init__(self) -> None:
        self._has_bought = False

    def decide(self, view: View) -> Sequence[Intent]:
        if not self._has_bought and view.symbol == "SLOW":
            self._has_bought = True
            return (view.buy(lots=Decimal("1")),)
        step = view.instrument.lot_step
        return [Close(ticket=ticket.id, lots=step) for ticket in view.account.tickets]


@pytest.mark.parametrize("latency_s", [0, 7_000])
def test_no_wish_to_close_less_or_later_undoes_the_order_to_close_all(latency_s: int) -> None:
    database = MemoryDatabase()
    tables = [
        a_table("FAST", [100.0] * 600, "1m"),
        a_table("SLOW", [100.0] * 10, "1h"),
    ]

    def pull(mother: Mother, cycle: int, now_ns: int) -> None:
        database.kill_switch = cycle >= 400  # in the middle of a bar of the slow symbol

    season = play_bars(
        tables,
        [a_contestant("stubborn", Stubborn(), latency_ns=latency_s * 10**9)],
        store=database.open_season(a_row(), resume=False),
        on_cycle=pull,
    )

    (killed,) = [record.cycle for record in season.records("", "external.kill")]
    assert killed == 401
    (ticket,) = season.tickets
    assert ticket.closed_ns is not None
    assert ticket.closed_ns <= tables[1].open_ns[7], "within the bar that was open when it was set"
    assert season.records("stubborn", "closed")[-1].body["reason"] == "kill switch"
