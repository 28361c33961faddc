"""Mother: one loop for replay and live. It moves the clock, asks the engines, keeps the day.

A cycle is an instant at which bars close. In each: the book is stepped (orders of earlier
cycles fill, stops are hit, floors are judged), then the engines that are due decide on what
has closed, then their wishes go over the desk. Nothing that an engine does reaches the
market in the cycle in which it did it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import cast

import msgspec
import numpy as np

from hydra.clock import monotonic_ns
from hydra.engines.protocol import Abstention, Answer, Decision
from hydra.errors import ConfigError, EngineError
from hydra.guardian.guardian import Guardian
from hydra.guardian.profiles import in_words, profile
from hydra.market.bars import BarTable, Chunk, Stream
from hydra.mother.answers import (
    FAILURES,
    Wishes,
    await_answers,
    fault_of_wish,
    is_awaited,
)
from hydra.mother.arrivals import Arrivals
from hydra.mother.bench import Bench
from hydra.mother.calm import calm_collector
from hydra.mother.clockwork import Clockwork
from hydra.mother.consensus import Consensus
from hydra.mother.contestants import Contestant
from hydra.mother.days import Days
from hydra.mother.desk import Desk
from hydra.mother.discipline import Discipline
from hydra.mother.inputs import KILL, RELEASE, Inputs
from hydra.mother.ledgers import Account
from hydra.mother.mail import Mail
from hydra.mother.market import BookMarket
from hydra.mother.moment import Moment
from hydra.mother.own_sight import OwnSight
from hydra.mother.plan import SeasonPlan
from hydra.mother.questions import Questions
from hydra.mother.scorekeeper import Scorekeeper
from hydra.mother.seating import take_seats
from hydra.mother.seats import Screen, Seat, closes_of
from hydra.mother.shadow import Shadows
from hydra.mother.watchdog import DecisionTimeout, Watchdog
from hydra.portfolio.book import AccountBook
from hydra.portfolio.columns import (
    BAR,
    BY_BENCH,
    BY_KILL_SWITCH,
    BY_SEASON_END,
    BY_TOTAL_LOSS,
)
from hydra.portfolio.costs import BarRecorder, terms_of
from hydra.tournament.luck import LuckMarket
from hydra.tournament.ranking import Standing
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
        self._streams = tuple(streams)
        self._store, self._on_commit = store, on_commit
        instruments = tuple({s.symbol: s.instrument for s in streams if s.execution}.values())
        self._symbols = {one.symbol: i for i, one in enumerate(instruments)}
        names = [c.name for c in contestants] + [HOUSE] * (plan.mode == "consensus")
        book = AccountBook(
            accounts=2 * len(names),
            initial_units=plan.initial_units,
            terms=terms_of(instruments, plan.costs),
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
        free = Guardian(msgspec.structs.replace(profile("none"), reset=plan.profile.reset))
        strict = Guardian(plan.profile)
        self._guardians = [free if self._is_reference(i) else strict for i in range(len(names))]
        self._all_guardians = (free, strict)
        for account, contestant in zip(self.accounts, self._contestants, strict=False):
            account.cutoff_ns = contestant.cutoff_ns
            account.over = [] if contestant.keeps_history else None
        for account in self.accounts:
            free.open_account(account.name, plan.initial_units, plan.start_ns)
            if self._guardians[account.index] is strict:
                strict.open_account(
                    account.name,
                    plan.initial_units,
                    plan.start_ns,
                    is_scalper=any(c.name == account.name and c.is_scalper for c in contestants),
                )
        self._shadows = Shadows(first=len(names), sizers=[free] * len(names))
        self.desk = Desk(
            moment=self._moment,
            book=book,
            accounts=self.accounts,
            on_total_breach=self._out,
            guardians=self._guardians,
            instruments=instruments,
            market=self._market,
            shadows=self._shadows,
            store=store,
        )
        self._discipline = Discipline(
            desk=self.desk,
            screens=self._screens,
            bench=Bench(plan.failures_to_bench),
            on_benched=lambda account, why: self._dismiss(account, "benched", why, BY_BENCH),
        )
        self._scores = Scorekeeper(
            plan=plan,
            contestants=self._contestants,
            accounts=self.accounts,
            shadows=self._shadows,
            store=store,
            moment=self._moment,
        )
        self._consensus = (
            Consensus(self.accounts[-1], self._scores) if plan.mode == "consensus" else None
        )
        self._mail, self._questions = Mail(), Questions()
        self._arrivals = Arrivals(
            desk=self.desk,
            consensus=self._consensus,
            mail=self._mail,
            questions=self._questions,
            store=store,
            finest_ns=min(stream.resolution_ns for stream in streams),
            plays=lambda engine: engine not in self._scores.states,
            on_sound=self._discipline.trusted,
            on_fault=self._discipline.failed,
        )
        self._clockwork = Clockwork(self._contestants, plan.start_ns)
        take_seats(self._contestants, self.accounts, self._screens, self._sight)
        self._alarm_ns = plan.start_ns  # nothing by the market's clock is due before
        self._days = Days(
            desk=self.desk, guardians=self._guardians, clock=strict, start_ns=plan.start_ns,
            on_day=lambda: self._scores.score(self._moment.now_ns),
        )  # fmt: skip
        self._killed = False
        self._wanted_switch: bool | None = None
        self._inputs = Inputs(store)
        self._poll_at = self._commit_at = 0
        self.standings: tuple[StandingRow, ...] = ()

    def _is_reference(self, account: int) -> bool:
        return account < len(self._contestants) and self._contestants[account].is_reference

    def places(self) -> tuple[Standing, ...]:
        """Everyone's place, now."""
        return self._scores.standings()

    # Before the first bar

    def _sight(self, account: Account) -> OwnSight:
        guardian = self._guardians[account.index]
        return OwnSight(
            account,
            guardian=guardian,
            market=self._market,
            moment=self._moment,
            symbols=self._symbols,
            rules=in_words(guardian.profile),
            place=self._scores.place,
        )

    def _open_season(self) -> None:
        plan = self._plan
        engines = [
            EngineRow(engine=c.name, title=c.title, params=c.params, is_reference=c.is_reference)
            for c in self._contestants
        ]
        self.desk.record(
            "",
            "season",
            {
                "settings": plan.record(),
                "engines": engines,
                "streams": [(s.instrument, s.resolution_ns) for s in self._streams],
            },
        )
        for row in (*engines, *self._absent):
            self._store.engine(row)
        for row in self._absent:
            self.desk.record(row.engine, row.state, {"reason": row.reason})
        for prompt in {row.sha256: row for c in self._contestants for row in c.prompts}.values():
            self._store.prompt(prompt)
        for account in self.accounts:
            self.desk.set_floors(account)

    # The loop

    async def run(self, chunks: Iterable[Chunk] | AsyncIterator[Chunk]) -> str:
        """Play all chunks, close the season, return the journal's digest."""
        longest_s = max(contestant.deadline_s for contestant in self._contestants)
        with calm_collector(), Watchdog(longest_s, self._moment) as watchdog:
            self._watchdog = watchdog
            self._open_season()
            if isinstance(chunks, AsyncIterator):
                await self._play_live(chunks)
            else:
                for chunk in chunks:
                    await self._play(chunk)
        return self._close_season()

    def _load(self, chunk: Chunk) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """Give every screen its bars; returns the BAR records in the chunk's row order."""
        bars = np.zeros(len(chunk.row_stream), BAR)
        bars["symbol"] = -1
        for screen, recorder, table in zip(
            self._screens, self._recorders, chunk.tables, strict=True
        ):
            screen.load(table)
            if recorder is not None:
                rows = np.flatnonzero(chunk.row_stream == screen.stream.index)
                bars[rows] = recorder.records(table)[chunk.row_bar[rows]]
        return bars

    async def _play(self, chunk: Chunk) -> None:
        bars = self._load(chunk)
        self._market.unfits = chunk.unfit
        screens, moment, watchdog = self._screens, self._moment, self._watchdog
        firsts = chunk.first_row.tolist()
        row_stream = chunk.row_stream.tolist()
        row_bar = chunk.row_bar.tolist()
        wishes: Wishes = []
        for c, now_ns in enumerate(chunk.close_ns.tolist()):
            first, last = firsts[c], firsts[c + 1]
            if now_ns > self._mail.due_ns:
                self._arrivals.deliver(now_ns)
            if monotonic_ns() >= self._poll_at:
                self._pause()
            moment.cycle = cycle = moment.cycle + 1
            if cycle <= self._inputs.stored_cycle:
                for on in self._inputs.switches(cycle):
                    self._switch(on)
            elif self._wanted_switch is not None:
                self._switch(self._wanted_switch)
            moment.now_ns = now_ns
            is_due = now_ns >= self._alarm_ns
            if is_due and now_ns > self._days.end_ns:
                self._days.roll_inside_bars(now_ns)
            events = self._book.step(bars, first, last, now_ns)
            for row in range(first, last):
                screen = screens[row_stream[row]]
                screen.history.at = screen.base + row_bar[row]
            if events:
                self.desk.drain(events)
            if is_due:
                self._ring(now_ns)
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
                await self._grant(wishes)
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
        self._alarm_ns = min(self._days.end_ns, self._scores.next_sample_ns, self._clockwork.due_ns)

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

    async def _grant(self, wishes: Wishes) -> None:
        """Put every sound wish on the desk: live at once, else with what is awaited for them."""
        if self._plan.is_live and self._moment.cycle > self._inputs.stored_cycle:
            self._questions.ask(wishes, self._moment.now_ns, all_of_them=bool(self._consensus))
        elif self._consensus is None:
            # Who answers at once is first, whoever takes longer comes after: as it is live.
            waiting = [one for one in wishes if is_awaited(one[1])]
            if waiting and len(waiting) < len(wishes):
                self._carry_out([one for one in wishes if not is_awaited(one[1])])
                wishes[:] = waiting
        for seat, failure in await await_answers(
            wishes, self._inputs.late_answer(self._moment.cycle)
        ):
            self._discipline.failed(seat, failure)
        self._carry_out(wishes)

    def _carry_out(self, wishes: Wishes) -> None:
        # In the order of the accounts, so that sleeping does not change who comes first.
        wishes.sort(key=lambda wish: wish[0].account)
        sound: list[tuple[Seat, Decision, int]] = []
        for seat, wish in wishes:
            fault = fault_of_wish(wish)
            if fault:
                self._discipline.failed(seat, EngineError(fault))
            else:
                sound.append((seat, cast(Decision, wish), seat.contestant.latency_ns))
        self._arrivals.carry_out(sound)

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
                self._commit()
            await self._questions.settle(self._moment.now_ns)
            self._arrivals.take_answers()
        finally:
            await self._questions.close()

    def _out(self, account: Account, reason: str) -> None:
        """The account reached a floor that lasts: it is out for the season."""
        self._dismiss(account, "breached", reason, BY_TOTAL_LOSS)

    def _dismiss(self, account: Account, state: str, reason: str, code: int) -> None:
        for screen in self._screens:
            screen.dismiss(account.index)
        self.desk.close_all(account, code, self._moment.now_ns)
        if account.index < len(self._contestants):
            contestant = self._contestants[account.index]
            row = EngineRow(
                engine=account.name,
                title=contestant.title,
                params=contestant.params,
                is_reference=contestant.is_reference,
                state=state,
                reason=reason,
                since_ns=self._moment.now_ns,
            )
            self._scores.states[account.name] = row
            self._store.engine(row)
        self.desk.record(account.name, state, {"reason": reason})

    # What comes from outside: recorded, so that a resumed season hears it again

    def _pause(self) -> None:
        """Between two cycles: commit in time, and look at the kill switch."""
        self._poll_at = monotonic_ns() + self._plan.poll_ms * MS
        if monotonic_ns() >= self._commit_at:
            self._commit()
        on = self._store.kill_switch() or self._plan.kill_switch
        self._wanted_switch = on if on != self._killed else None

    def _switch(self, on: bool) -> None:
        """Throw or release the kill switch: at the start of a cycle, before its bars."""
        self._killed = on
        self._wanted_switch = None
        self.desk.record("", KILL if on else RELEASE, {})
        for guardian in self._all_guardians:
            if on:
                guardian.kill("kill switch")
            else:
                guardian.release()
        if on:
            for account in self.accounts:
                self.desk.close_all(account, BY_KILL_SWITCH, self._moment.now_ns)

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
