"""A program that was not there: what the market did meanwhile settles orders and asks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.cli.models import Models
from apps.runtime import status
from apps.runtime.daemon import Daemon
from apps.runtime.live_season import LiveSeason, no_bars
from hydra.clock import NS_PER_S, ManualClock
from hydra.engines.view import View
from hydra.feeds.kept import MADE_UP
from hydra.feeds.minutes import Minute
from hydra.feeds.replay import streams_of
from hydra.feeds.tables import rows_between
from hydra.guardian.profiles import profile
from hydra.market.bars import BarTable
from hydra.market.resample import resampled
from hydra.mother.contestants import Contestant
from hydra.mother.plan import SeasonPlan
from hydra.portfolio.costs import costs_named
from hydra.portfolio.intents import Close
from hydra.storage.bars import SeasonBars
from hydra.storage.database import reading
from hydra.storage.queries import decisions, trades
from hydra.storage.store import open_season
from hydra.tournament.season import SeasonRow
from tests.support.bars import START_NS, a_table
from tests.support.seasons import USD, a_contestant

MINUTE_NS = 60 * NS_PER_S
SYMBOL = "BTC-USD"
# Bought at the first bar with a stop at 95; the fall to 90 happens while nobody is there.
CLOSES = [100.0, 101.0, 102.0, 101.0, 96.0, 90.0, 91.0, 100.0, 101.0, 102.0]


def market() -> BarTable:
    return a_table(SYMBOL, CLOSES, "1m")


class Minutes:
    """Rows `first:last` of the market as a live source gives them, some of them unheard."""

    def __init__(self, first: int, last: int, unheard: Collection[int] = ()) -> None:
        self._rows = range(first, last)
        self._unheard = unheard

    async def minutes(self) -> AsyncIterator[Minute]:
        table = market()
        for row in self._rows:
            close_ns = int(table.open_ns[row]) + MINUTE_NS
            if row in self._unheard:
                yield Minute(close_ns, {}, {SYMBOL: "not heard"})
                continue
            yield Minute(close_ns, {SYMBOL: rows_between(table, row, row + 1)}, {SYMBOL: ""})

    async def aclose(self) -> None:
        pass


class Candles:
    """The venue's memory of the market."""

    async def bars(self, resolution_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        table = market()
        first, last = np.searchsorted(table.open_ns, [start_ns, end_ns])
        return {SYMBOL: rows_between(table, int(first), int(last))}


class Buyer:
    """Buys once; notes when it is asked."""

    features = ()

    def __init__(self) -> None:
        self.asked: list[float] = []

    def decide(self, view: View) -> Any:
        self.asked.append(view.close)
        if len(view.bars(100).close) == 1:
            return [view.buy(stop=95.0, lots=Decimal(1))]
        return ()


class Watcher:
    """Closes what it does not have, which is refused and so leaves a record; notes what it saw."""

    features = ()

    def __init__(self) -> None:
        self.seen: list[float] = []

    def decide(self, view: View) -> Any:
        self.seen.append(view.close)
        return [Close(ticket=view.bars(100).close.size)]


def live(buyer: Buyer, coarse: Watcher | None = None) -> LiveSeason:
    """`coarse`: somebody who watches bars of five minutes."""
    instrument = market().instrument
    empty = no_bars(instrument, MINUTE_NS)
    coarser = [resampled(empty, 5 * MINUTE_NS)] if coarse else []
    streams = streams_of([empty, *coarser])
    watchers = [
        Contestant(name="watcher", engine=coarse, title="watches", resolution_ns=5 * MINUTE_NS)
        for coarse in filter(None, [coarse])
    ]
    plan = SeasonPlan(
        mode="independent", profile=profile("none"), costs=costs_named("none"), seed=1,
        start_ns=START_NS, sample_ns=MINUTE_NS, initial_units=25_000 * USD, luck_traders=0,
        bootstrap_replicates=2, is_live=True, commit_ms=0, poll_ms=0,
    )  # fmt: skip
    return LiveSeason(
        row=SeasonRow(
            name="live", mode="independent", profile="none", seed=1,
            initial_units=25_000 * USD, settings={"feed": {}}, inputs=(),
        ),
        plan=plan,
        contestants=(a_contestant("buyer", buyer), *watchers),
        absent=(),
        gladiators=(),
        models="off",
        streams=streams,
        empty={SYMBOL: empty},
        instruments={SYMBOL: instrument},
    )  # fmt: skip


def play(url: str, home: Path, buyer: Buyer, source: Minutes, now_row: int, **more: Any) -> Any:
    """Play until the source has no more; the season stays open, as after a death."""
    season = live(buyer, more.get("coarse"))
    said: list[str] = []

    class EndOfTest(Exception):
        pass

    class Ending(Minutes):
        async def minutes(self) -> AsyncIterator[Minute]:
            async for minute in source.minutes():
                yield minute
            raise EndOfTest

    with open_season(url, season.row, resume=more.get("resume", False), durable=True) as store:
        daemon = Daemon(
            season=season,
            store=store,
            kept=SeasonBars(url, store.season_id),
            models=Models(url),
            source=Ending(0, 0),
            past=more.get("past", Candles()),
            warm_bars=0,
            clock=ManualClock(START_NS + now_row * MINUTE_NS),
            status_path=status.path_of(home, "live"),
            db=url,
            say=said.append,
        )
        with suppress(EndOfTest):
            asyncio.run(daemon.play())
    return said


def test_a_stop_that_the_gap_went_through_is_settled_and_nobody_decided_in_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    first = Buyer()
    play(url, tmp_path, first, Minutes(0, 3), now_row=3)
    with reading(url) as connection:
        assert [t.status for t in trades(connection)] == ["OPEN"]

    again = Buyer()
    said = play(url, tmp_path, again, Minutes(8, 10), now_row=8, resume=True)

    with reading(url) as connection:
        (ticket,) = trades(connection)
        kept = SeasonBars(url, 1).load({SYMBOL: market().instrument})
    assert ticket.exit_reason == "stop"
    assert ticket.exit_price == Decimal("95.00")
    assert ticket.closed_ns is not None and ticket.closed_ns < START_NS + 7 * MINUTE_NS
    assert first.asked == CLOSES[:3]
    assert again.asked == CLOSES[:3] + CLOSES[8:]
    assert [why for one in kept for why in one.unfit] == [""] * 3 + [MADE_UP] * 5 + [""] * 2
    assert any("made up" in line for line in said)


def test_the_minute_in_which_it_came_back_is_settled_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    play(url, tmp_path, Buyer(), Minutes(0, 3), now_row=3)

    # It is back within the minute of the fall, of which it hears the end alone.
    again = Buyer()
    play(url, tmp_path, again, Minutes(5, 10, unheard={5}), now_row=5, resume=True)

    with reading(url) as connection:
        (ticket,) = trades(connection)
        kept = SeasonBars(url, 1).load({SYMBOL: market().instrument})
    assert (ticket.exit_reason, ticket.exit_price) == ("stop", Decimal("95.00"))
    assert [why for one in kept for why in one.unfit] == [""] * 3 + [MADE_UP] * 3 + [""] * 4
    assert again.asked == CLOSES[:3] + CLOSES[6:]


def test_what_no_venue_told_is_made_up_once_one_is_heard_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    buyer = Buyer()

    play(url, tmp_path, buyer, Minutes(0, 10, unheard={4, 5}), now_row=0)

    kept = SeasonBars(url, 1).load({SYMBOL: market().instrument})
    assert [why for one in kept for why in one.unfit] == [""] * 4 + [MADE_UP] * 2 + [""] * 4
    assert buyer.asked == CLOSES[:4] + CLOSES[6:]


@pytest.mark.parametrize("past", [None, Candles()])
def test_a_coarse_bar_that_ends_while_nothing_is_heard_is_the_same_when_played_again(
    tmp_path: Path, past: Candles | None
) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    first, again = Watcher(), Watcher()
    silence = Minutes(0, 9, unheard={4})
    play(url, tmp_path, Buyer(), silence, now_row=0, past=past, coarse=first)

    play(url, tmp_path, Buyer(), Minutes(9, 10), now_row=9, past=past, coarse=again, resume=True)

    assert first.seen == [CLOSES[3]] if past is None else first.seen == []
    assert again.seen == [*first.seen, CLOSES[9]]


def test_a_season_with_a_gap_is_played_again_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    play(url, tmp_path, Buyer(), Minutes(0, 3), now_row=3)
    play(url, tmp_path, Buyer(), Minutes(8, 9), now_row=8, resume=True)
    with reading(url) as connection:
        before = decisions(connection, limit=100)

    play(url, tmp_path, Buyer(), Minutes(9, 10), now_row=9, resume=True)

    with reading(url) as connection:
        assert decisions(connection, limit=100)[: len(before)] == before
