"""A program that was not there, or was held up: what the market did meanwhile settles orders and
asks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.runtime import daemon
from apps.runtime.backlog import Backlog
from apps.runtime.daemon import LATE_S, Past
from hydra.clock import NS_PER_S, ManualClock
from hydra.feeds.kept import LATE, MADE_UP
from hydra.market.bars import BarTable
from hydra.storage.bars import SeasonBars
from hydra.storage.database import reading
from hydra.storage.queries import decisions, trades
from hydra.storage.store import open_season
from tests.support.bars import START_NS
from tests.support.daemons import (
    MINUTE_NS,
    SYMBOL,
    Bars,
    Buyer,
    Rows,
    Watcher,
    a_board,
    a_daemon,
    live_season,
)

# Bought at the first bar with a stop at 95; the fall to 90 happens while nobody is there.
CLOSES = [100.0, 101.0, 102.0, 101.0, 96.0, 90.0, 91.0, 100.0, 101.0, 102.0]
MARKET = Bars(CLOSES)


class EndOfTest(Exception):
    """The season stays open, as after a death."""


def play(
    url: str, home: Path, buyer: Buyer, rows: range, *, now_row: float, resume: bool = False,
    unheard: Iterable[int] = (), coarse: Watcher | None = None, has_candles: bool = True,
    past: Past | None = None,
) -> list[str]:  # fmt: skip
    """Play rows of the market, beginning at an instant, counted in rows; what was said."""
    season = live_season(buyer, coarse)
    market = replace(MARKET, unheard=frozenset(unheard))
    said: list[str] = []

    async def live(store: Any) -> None:
        clock = ManualClock(START_NS + round(now_row * MINUTE_NS))

        def pass_time(row: int) -> None:
            clock.set_ns(max(clock.now_ns(), START_NS + (row + 1) * MINUTE_NS))

        backlog = Backlog(Rows(market, rows, before=pass_time, end=EndOfTest()))
        candles = (past or market) if has_candles else None
        one = a_daemon(
            season, url, store, backlog, home, past=candles, clock=clock, say=said.append
        )
        with suppress(EndOfTest):
            await one.play()
        await backlog.aclose()

    with open_season(url, season.row, resume=resume, durable=True) as store:
        asyncio.run(live(store))
    return said


def kept(url: str) -> list[str]:
    instrument = MARKET.table.instrument
    return [why for one in SeasonBars(url, 1).load({SYMBOL: instrument}) for why in one.unfit]


def test_a_stop_that_the_gap_went_through_is_settled_and_nobody_decided_in_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    first = Buyer()
    play(url, tmp_path, first, range(3), now_row=0)
    with reading(url) as connection:
        assert [t.status for t in trades(connection)] == ["OPEN"]

    again = Buyer()
    said = play(url, tmp_path, again, range(8, 10), now_row=8, resume=True)

    with reading(url) as connection:
        (ticket,) = trades(connection)
    assert ticket.exit_reason == "stop"
    assert ticket.exit_price == Decimal("95.00")
    assert ticket.closed_ns is not None and ticket.closed_ns < START_NS + 7 * MINUTE_NS
    assert first.asked == CLOSES[:3]
    assert again.asked == CLOSES[:3] + CLOSES[8:]
    assert kept(url) == [""] * 3 + [MADE_UP] * 5 + [""] * 2
    assert any("made up" in line for line in said)


def test_the_minute_in_which_it_came_back_is_settled_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    play(url, tmp_path, Buyer(), range(3), now_row=0)

    # It is back within the minute of the fall, of which it hears the end alone.
    again = Buyer()
    play(url, tmp_path, again, range(5, 10), now_row=5.2, resume=True, unheard={5})

    with reading(url) as connection:
        (ticket,) = trades(connection)
    assert (ticket.exit_reason, ticket.exit_price) == ("stop", Decimal("95.00"))
    assert kept(url) == [""] * 3 + [MADE_UP] * 3 + [""] * 4
    assert again.asked == CLOSES[:3] + CLOSES[6:]


def test_what_no_venue_told_is_made_up_once_one_is_heard_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    buyer = Buyer()

    play(url, tmp_path, buyer, range(10), now_row=0, unheard={4, 5})

    assert kept(url) == [""] * 4 + [MADE_UP] * 2 + [""] * 4
    assert buyer.asked == CLOSES[:4] + CLOSES[6:]


@pytest.mark.parametrize("has_candles", [True, False])
def test_a_coarse_bar_that_ends_while_nothing_is_heard_is_the_same_when_played_again(
    tmp_path: Path, has_candles: bool
) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    more: dict[str, Any] = {"unheard": {4}, "has_candles": has_candles}
    first, again = Watcher(), Watcher()
    play(url, tmp_path, Buyer(), range(9), now_row=0, coarse=first, **more)

    play(url, tmp_path, Buyer(), range(9, 10), now_row=9, coarse=again, resume=True, **more)

    assert first.seen == ([] if has_candles else [CLOSES[3]])
    assert again.seen == [*first.seen, CLOSES[9]]


def test_a_season_with_a_gap_is_played_again_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    play(url, tmp_path, Buyer(), range(3), now_row=0)
    play(url, tmp_path, Buyer(), range(8, 9), now_row=8, resume=True)
    with reading(url) as connection:
        before = decisions(connection, limit=100)

    play(url, tmp_path, Buyer(), range(9, 10), now_row=9, resume=True)

    with reading(url) as connection:
        assert decisions(connection, limit=100)[: len(before)] == before


def test_what_was_heard_meanwhile_is_not_made_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    play(url, tmp_path, Buyer(), range(3), now_row=0)

    again = Buyer()
    play(url, tmp_path, again, range(6, 10), now_row=10, resume=True)

    # Rows 3 to 5 come from candles; 6 and on waited, and are too old to trade on but for the last.
    assert kept(url) == [""] * 3 + [MADE_UP] * 3 + [LATE] * 3 + [""]
    assert again.asked == [*CLOSES[:3], CLOSES[9]]


def test_a_minute_is_late_when_one_could_no_longer_have_traded_on_it(tmp_path: Path) -> None:
    minute_s = MINUTE_NS / NS_PER_S
    for name, late_s, asked in (("timely", LATE_S, 1), ("late", LATE_S + 1, 0)):
        buyer = Buyer()
        url = f"sqlite:///{tmp_path}/{name}.db"
        play(url, tmp_path, buyer, range(1), now_row=1 + late_s / minute_s)
        assert len(buyer.asked) == asked, name


class NoCandles:
    """A venue that takes a question for candles, and never answers."""

    def __init__(self, asked: Callable[[], object] = lambda: None) -> None:
        self._asked = asked

    async def bars(self, resolution_ns: int, start_ns: int, end_ns: int) -> Mapping[str, BarTable]:
        self._asked()
        await asyncio.Event().wait()
        raise AssertionError


def test_a_market_that_plays_does_not_wait_for_candles_that_do_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "CANDLES_S", 0.01)
    url = f"sqlite:///{tmp_path}/hydra.db"
    buyer = Buyer()

    said = play(url, tmp_path, buyer, range(5), now_row=0, unheard={1, 3}, past=NoCandles())

    assert buyer.asked == [CLOSES[row] for row in (0, 2, 4)]
    unknown = [text for text in said if "unknown" in text]
    assert unknown == ["what the market did meanwhile is unknown: no candles came within 0.01 s"]


def test_told_to_stop_while_it_waits_for_candles_it_stops(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hydra.db"
    play(url, tmp_path, Buyer(), range(2), now_row=0)
    season = live_season(Buyer())
    board = a_board(tmp_path)

    async def live(store: Any) -> None:
        backlog = Backlog(Rows(MARKET, [], waits=True))
        one = a_daemon(
            season, url, store, backlog, tmp_path, board=board,
            clock=ManualClock(START_NS + 5 * MINUTE_NS), past=NoCandles(lambda: one.stop()),
        )  # fmt: skip
        assert await one.play() is None
        await backlog.aclose()

    with open_season(url, season.row, resume=True, durable=True) as store:
        asyncio.run(live(store))
    assert board.status.state == "stopped"
