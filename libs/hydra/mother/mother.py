"""Mother: one loop for replay and live. It moves the clock, asks the engines, keeps the day.

A cycle is an instant at which bars close. In each: the book is stepped (orders of earlier
cycles fill, stops are hit, floors are judged), then the engines that are due decide on what
has closed, then their wishes go over the desk. Nothing that an engine does reaches the
market in the cycle in which it did it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

import numpy as np

from hydra.clock import monotonic_ns
from hydra.engines.protocol import Abstention, Answer
from hydra.errors import ConfigError
from hydra.market.bars import BarTable, Chunk, Int64, Stream
from hydra.mother.answers import FAILURES, Wishes
from hydra.mother.arrivals import Arrivals
from hydra.mother.bench import Bench
from hydra.mother.calm import calm_collector
from hydra.mother.clockwork import Clockwork
from hydra.mother.consensus import Consensus
from hydra.mother.contestants import Contestant
from hydra.mother.days import Days
from hydra.mother.desk import Desk
from hydra.mother.discipline import Discipline
from hydra.mother.eliminations import Eliminations
from hydra.mother.exits import Exits
from hydra.mother.grants import Grants
from hydra.mother.guardians import Guardians
from hydra.mother.inputs import Inputs
from hydra.mother.kill_switch import KillSwitch
from hydra.mother.ledgers import Account
from hydra.mother.mail import Mail
from hydra.mother.market import BookMarket
from hydra.mother.moment import Moment
from hydra.mother.opening import open_season
from hydra.mother.own_sight import OwnSight
from hydra.mother.plan import SeasonPlan
from hydra.mother.questions import Questions
from hydra.mother.scorekeeper import Scorekeeper
from hydra.mother.seating import take_seats
from hydra.mother.seats import Screen, closes_of
from hydra.mother.shadow import Shadows
from hydra.mother.watchdog import DecisionTimeout, Watchdog
from hydra.portfolio.book import AccountBook, Records
from hydra.portfolio.columns import BAR, BY_BENCH, BY_SEASON_END, BY_TOTAL_LOSS
from hydra.portfolio.costs import BarRecorder, books_of, terms_of
from hydra.tournament.luck import LuckMarket
from hydra.tournament.ranking import Standing, State
from hydra.tournament.season import EngineRow, SeasonStore, StandingRow

HOUSE = "house"
MS = 1_000_000
STILL_THINKING = Answer(
    abstention=Abstention(
        reason="still-thinking", text="not asked: its last answer is still on its way"
    )
)


class Mother:
    """Plays one season. Build it, `await run(chunks)`, read the standings.

    `absent` are contestants that cannot play, benched with their reason: they have no account.
    `on_commit` is called after every commit with (cycle, now_ns): for progress.
    """

    def __init__(
        self,
        *,
        plan: SeasonPlan,
        contestants: Sequence[Contestant],
        streams: Sequence[Stream],
        store: SeasonStore,
        absent: Sequence[EngineRow] = (),
        on_commit: Callable[[int, int], None] | None = None,
    ) -> None:
        if not contestants:
            raise ConfigError("a season needs at least one engine")
        if not streams:
            raise ConfigError("a season needs at least one symbol with bars")
        self._plan = plan
        self._contestants, self._absent = tuple(contestants), tuple(absent)
        self._streams, self._store, self._on_commit = tuple(streams), store, on_commit
        instruments = tuple({s.symbol: s.instrument for s in streams if s.execution}.values())
        self._symbols = {one.symbol: i for i, one in enumerate(instruments)}
        names = [c.name for c in contestants] + [HOUSE] * (plan.mode == "consensus")
        book = AccountBook(
            accounts=2 * len(names),
            initial_units=plan.initial_units,
            terms=terms_of(instruments, plan.costs),
            grace_ns=plan.grace_ns,
        )
        self.accounts = [
            Account(name=name, index=i, initial_units=plan.initial_units, book=book)
            for i, name in enumerate(names)
        ]
        self._book = book
        self._screens = [Screen.of(stream) for stream in streams]
        self._recorders = [
            BarRecorder(self._symbols[s.symbol], s.instrument, plan.costs) if s.execution else None
            for s in streams
        ]
        self._moment = Moment(plan.start_ns)
        self._market = BookMarket(
            self._moment,
            book,
            instruments,
            {s.stream.symbol: s.history for s in self._screens if s.stream.execution},
            plan.costs.slippage,
        )
        guardians = Guardians(plan, self._contestants, self.accounts)
        for account, contestant in zip(self.accounts, self._contestants, strict=False):
            account.cutoff_ns = contestant.cutoff_ns
            account.over = [] if contestant.keeps_history else None
        self._shadows = Shadows(first=len(names), sizers=[guardians.free] * len(names))
        self.desk = Desk(
            moment=self._moment,
            book=book,
            accounts=self.accounts,
            on_total_breach=lambda account, why: self._exits.leave(
                account, State.BREACHED, why, BY_TOTAL_LOSS
            ),
            guardians=guardians.by_account,
            instruments=instruments,
            market=self._market,
            shadows=self._shadows,
            store=store,
        )
        self._discipline = Discipline(
            desk=self.desk,
            screens=self._screens,
            bench=Bench(plan.failures_to_bench),
            on_benched=lambda account, why: self._exits.leave(
                account, State.BENCHED, why, BY_BENCH
            ),
        )
        self._scores = Scorekeeper(
            plan=plan,
            contestants=self._contestants,
            accounts=self.accounts,
            shadows=self._shadows,
            store=store,
            moment=self._moment,
        )
        self._clockwork = Clockwork(self._contestants, plan.start_ns)
        self._exits = Exits(
            desk=self.desk,
            contestants=self._contestants,
            screens=self._screens,
            clockwork=self._clockwork,
            shadows=self._shadows,
            states=self._scores.states,
            store=store,
        )
        self._eliminations = Eliminations(
            rules=plan.elimination,
            start_ns=plan.start_ns,
            desk=self.desk,
            scores=self._scores,
            exits=self._exits,
        )
        consensus = Consensus(self.accounts[-1], self._scores) if plan.mode == "consensus" else None
        self._mail, self._questions = Mail(), Questions()
        self._arrivals = Arrivals(
            desk=self.desk,
            consensus=consensus,
            mail=self._mail,
            questions=self._questions,
            store=store,
            finest_ns=min(stream.resolution_ns for stream in streams),
            plays=lambda engine: engine not in self._scores.states,
            on_sound=self._discipline.trusted,
            on_fault=self._discipline.failed,
        )
        take_seats(
            self._contestants,
            self.accounts,
            self._screens,
            lambda account: OwnSight(
                account,
                guardian=guardians.by_account[account.index],
                market=self._market,
                moment=self._moment,
                symbols=self._symbols,
                place=self._scores.place,
            ),
        )
        self._alarm_ns = plan.start_ns  # nothing by the market's clock is due before
        self._days = Days(
            desk=self.desk, guardians=guardians.by_account, clock=guardians.strict,
            start_ns=plan.start_ns, on_day=lambda: self._scores.score(self._moment.now_ns),
        )  # fmt: skip
        self._switch = KillSwitch(
            desk=self.desk,
            guardians=(guardians.free, guardians.strict),
            store=store,
            by_environment=plan.kill_switch,
        )
        self._inputs = Inputs(store)
        self._grants = Grants(
            is_live=plan.is_live,
            votes=consensus is not None,
            moment=self._moment,
            inputs=self._inputs,
            questions=self._questions,
            arrivals=self._arrivals,
            discipline=self._discipline,
        )
        self._poll_at = self._commit_at = 0
        self.standings: tuple[StandingRow, ...] = ()

    def places(self) -> tuple[Standing, ...]:
        """Everyone's place, now."""
        return self._scores.standings()

    # The loop

    async def run(self, chunks: Iterable[Chunk] | AsyncIterator[Chunk]) -> str:
        """Play all chunks, close the season, return the journal's digest."""
        longest_s = max(contestant.deadline_s for contestant in self._contestants)
        memory_mb = self._plan.memory_limit_mb
        with calm_collector(), Watchdog(longest_s, self._moment, memory_mb) as watchdog:
            self._watchdog = watchdog
            open_season(
                plan=self._plan,
                contestants=self._contestants,
                absent=self._absent,
                streams=self._streams,
                desk=self.desk,
                store=self._store,
            )
            if isinstance(chunks, AsyncIterator):
                await self._play_live(chunks)
            else:
                for chunk in chunks:
                    await self._play(chunk)
        return self._close_season()

    def _load(self, chunk: Chunk) -> tuple[Records, Mapping[int, Int64]]:
        """Give every screen its bars; returns their records in the chunk's row order, and books."""
        bars = np.zeros(len(chunk.row_stream), BAR)
        bars["symbol"] = -1
        for screen, recorder, table in zip(
            self._screens, self._recorders, chunk.tables, strict=True
        ):
            screen.load(table)
            if recorder is not None:
                rows = np.flatnonzero(chunk.row_stream == screen.stream.index)
                bars[rows] = recorder.records(table)[chunk.row_bar[rows]]
        return bars, books_of(chunk, bars, self._plan.costs)

    async def _play(self, chunk: Chunk) -> None:
        bars, books = self._load(chunk)
        self._market.unfits = chunk.unfit
        screens, moment, watchdog = self._screens, self._moment, self._watchdog
        firsts = chunk.first_row.tolist()
        row_stream, row_bar = chunk.row_stream.tolist(), chunk.row_bar.tolist()
        wishes: Wishes = []
        for c, now_ns in enumerate(chunk.close_ns.tolist()):
            first, last = firsts[c], firsts[c + 1]
            if now_ns > self._mail.due_ns:
                self._arrivals.deliver(now_ns)
            if monotonic_ns() >= self._poll_at:
                self._pause()
            moment.cycle = cycle = moment.cycle + 1
            if cycle <= self._inputs.heard_cycle:
                for on in self._inputs.switches(cycle):
                    self._switch.turn(on)
            elif self._switch.wanted is not None:
                self._switch.turn(self._switch.wanted)
            moment.now_ns = now_ns
            is_due = now_ns >= self._alarm_ns
            if is_due and now_ns > self._days.end_ns:
                self._days.roll_inside_bars(now_ns)
            if books:
                self._book.show(bars, books, first, last)
            events = self._book.step(bars, first, last, now_ns)
            for row in range(first, last):
                screen = screens[row_stream[row]]
                screen.history.at = screen.base + row_bar[row]
            if events:
                self.desk.drain(events)
            if is_due:
                self._ring(now_ns)
                if now_ns >= self._eliminations.due_ns and not chunk.settles_only:
                    self._eliminations.judge(now_ns)
            if self.desk.watched:
                self.desk.judge_invalidations(
                    closes_of([screens[i] for i in row_stream[first:last]])
                )
            for row in range(first, last if not chunk.settles_only else first):
                bar = row_bar[row]
                screen = screens[row_stream[row]]
                play, awake = screen.play, screen.awake[bar] if screen.awake else ()
                if cycle in self._inputs.late:
                    play, awake = self._inputs.again(cycle, play), self._inputs.again(cycle, awake)
                seats, sleepers = iter(play), iter(awake)
                while play or awake:
                    watchdog.deciding = True
                    try:
                        for decide, view, features, seat in seats:
                            seen = features[bar]
                            if seen is None:
                                continue
                            view.features = seen
                            wish = decide(view)
                            if wish:
                                wishes.append((seat, wish))
                        for decide, view, seen, seat in sleepers:
                            view.features = seen
                            wish = decide(view)
                            if wish:
                                wishes.append((seat, wish))
                        break
                    except FAILURES as error:
                        watchdog.deciding = False
                        self._discipline.failed(seat, error)
                watchdog.deciding = False
            if is_due and now_ns >= self._clockwork.due_ns and not chunk.settles_only:
                self._ask_by_clock(now_ns, wishes)
            if wishes:
                await self._grants.grant(wishes)
                wishes.clear()
            if is_due:
                self._set_alarm()
        await asyncio.sleep(0)

    def _ring(self, now_ns: int) -> None:
        """Between the bars and the decisions: what is due by the clock of the market."""
        if now_ns == self._days.end_ns:
            self._days.roll_at_close(now_ns)
        if self._days.is_strict:
            self._days.loosen()
        if now_ns >= self._scores.next_sample_ns:
            self._scores.sample(now_ns)

    def _set_alarm(self) -> None:
        self._alarm_ns = min(
            self._days.end_ns,
            self._scores.next_sample_ns,
            self._clockwork.due_ns,
            self._eliminations.due_ns,
        )

    def _ask_by_clock(self, now_ns: int, wishes: Wishes) -> None:
        for decide, view, seat in self._clockwork.due(now_ns, self._screens):
            if self._mail.is_out(seat.account) or self._questions.is_out(seat.account):
                wishes.append((seat, STILL_THINKING))
                continue
            late = self._inputs.was_late(self._moment.cycle, seat, waited=False)
            if late is not None:
                self._discipline.failed(seat, DecisionTimeout(late))
                continue
            self._watchdog.deciding = True
            try:
                wish = decide(view)
                if wish:
                    wishes.append((seat, wish))
            except FAILURES as error:
                self._watchdog.deciding = False
                self._discipline.failed(seat, error)
            self._watchdog.deciding = False

    # Live: the market does not wait

    def warm(self, tables: Sequence[BarTable]) -> None:
        """Show bars from before the season, one table a stream, so that engines can decide at
        its first. To be called before `run`."""
        for screen, table in zip(self._screens, tables, strict=True):
            screen.load(table)
            screen.history.at = screen.base + len(table) - 1

    async def _play_live(self, chunks: AsyncIterator[Chunk]) -> None:
        try:
            async for chunk in chunks:
                self._arrivals.take_answers()
                await self._play(chunk)
                if monotonic_ns() >= self._commit_at:
                    self._commit()
            await self._questions.settle(self._moment.now_ns)
            self._arrivals.take_answers()
        finally:
            await self._questions.close()

    # What comes from outside: recorded, so that a resumed season hears it again

    def _pause(self) -> None:
        """Between two cycles: commit in time, and look at the kill switch."""
        self._poll_at = monotonic_ns() + self._plan.poll_ms * MS
        if monotonic_ns() >= self._commit_at:
            self._commit()
        self._switch.look()

    def _commit(self) -> None:
        self.desk.write_tickets()
        self._store.commit(self._moment.cycle, self._moment.now_ns)
        self._commit_at = monotonic_ns() + self._plan.commit_ms * MS
        if self._on_commit is not None:
            self._on_commit(self._moment.cycle, self._moment.now_ns)

    # The end

    def _close_season(self) -> str:
        self._arrivals.close()
        for account in self.accounts:
            self.desk.settle(account, BY_SEASON_END)
            self._book.settle(
                len(self.accounts) + account.index, self._moment.now_ns, BY_SEASON_END
            )
        self._days.close()
        for account in self.accounts:
            self.desk.record(account.name, "balance", {"balance_units": account.balance_units})
        self.standings = self._scores.close(
            self._moment.cycle,
            self._moment.now_ns,
            self._luck_market(),
            np.array([s.resolution_ns for s in self._streams if s.execution], np.int64),
        )
        self.desk.write_tickets()
        return self._store.close(self._moment.cycle, self._moment.now_ns, self.standings)

    def _luck_market(self) -> LuckMarket | None:
        recorders = [one for one in self._recorders if one is not None]
        return LuckMarket([r.closes() for r in recorders]) if self._plan.luck_traders else None
