"""What a season leaves behind: the rows that Mother hands to a store, and the store itself.

Money is `*_units` (1e-8 USD), instants are `*_ns` (UTC). Nothing here knows a database.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec


class SeasonRow(msgspec.Struct, frozen=True, kw_only=True):
    """How a season was set up. All but `name` enters the journal's first record."""

    name: str
    mode: str  # independent or consensus
    profile: str  # the guardian's
    seed: int
    initial_units: int  # opening balance of each account
    settings: dict[str, object]  # everything else that changes the outcome, JSON values only
    inputs: tuple[tuple[str, str], ...]  # (file name, SHA-256 of its bytes)


class EngineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A contestant, and how it stands with the season."""

    engine: str
    title: str  # one line: what it does
    params: dict[str, object]
    is_reference: bool  # plays, but holds no rank
    state: str = "playing"  # of hydra.tournament.ranking.State
    reason: str = ""
    since_ns: int | None = None


class TicketRow(msgspec.Struct, frozen=True, kw_only=True):
    """One ticket: a row of hydra_trades, written when it opens and again when it closes."""

    ticket: int
    engine: str
    asset: str
    direction: str  # LONG or SHORT
    status: str  # PENDING, OPEN, CLOSED, CANCELLED
    decided_ns: int
    opened_ns: int | None
    closed_ns: int | None
    lots: Decimal
    entry_price: Decimal | None
    exit_price: Decimal | None  # of the last partial close
    stop_price: Decimal | None
    target_price: Decimal | None
    pnl_units: int | None  # net of every cost, known when closed
    pnl_frac: float | None  # of the account's balance when the ticket opened
    gross_units: int | None  # before commission, swap, spread and slippage
    commission_units: int
    swap_units: int
    spread_units: int  # half-spread and slippage paid, entry and exit
    outcome: str | None  # win, loss, breakeven
    exit_reason: str | None
    confidence: float | None
    thesis: str
    target_first: float | None = None  # stated probability that the target comes before the stop
    tag: str = ""  # why it does not count for ranks: TAG_CUTOFF, "" where it does


TAG_CUTOFF = "before-cutoff"  # decided on prices that its model may have read about


class EquityRow(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of an account. `engine` is "house" for the house account."""

    at_ns: int
    engine: str
    equity_units: int
    balance_units: int
    shadow_units: int  # what it would be without the guardian's changes
    weight: float


class ScoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's line after one scoring cycle; the newest is its row of tournament_scores."""

    at_ns: int
    scoring_cycle: int
    engine: str
    rank: int | None  # None: holds no rank
    total_points: float
    weight: float
    net_pnl_units: int
    trades: int  # closed tickets
    wins: int


class GuardianDayRow(msgspec.Struct, frozen=True, kw_only=True):
    """One guardian's day of one account."""

    engine: str
    day: str  # 2024-01-31, in the profile's zone
    start_balance_units: int
    daily_floor_units: int | None  # None: the profile has no daily limit
    total_floor_units: int | None
    worst_equity_units: int
    end_balance_units: int
    opened: int  # tickets opened on this day
    refused: int
    resized: int
    breach: str  # rule that was breached, or ""


class LatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that was reached; `until_ns` None: for the rest of the season."""

    engine: str
    rule: str
    at_ns: int
    until_ns: int | None
    limit_units: int
    figure_units: int
    text: str


class ModelCallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model and what came of it. Its key is engine, at_ns and attempt."""

    engine: str
    at_ns: int  # the market's time
    attempt: int  # 1: the question, 2: the request to repair the answer, 3: the reflection
    provider: str
    model: str  # as it was asked for
    model_said: str  # as the provider named what answered; "" where nothing did
    prompt_version: str
    prompt_sha256: str  # of all that was sent
    system_sha256: str  # of the system prompt, whose text is in `prompts`
    prompt: str  # JSON: [[role, text], …], without the system prompt
    params: dict[str, object]
    outcome: str  # a value of hydra.engines.llm.calls.Outcome
    error: str
    reply: str  # what the model said, unchanged
    finish: str
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_units: int | None  # 1e-8 USD; None: unknown
    latency_ns: int
    tries: int
    called_ns: int  # the machine's time; enters no hash


class PromptRow(msgspec.Struct, frozen=True, kw_only=True):
    """A system prompt, stored once however often it is sent."""

    sha256: str
    version: str
    text: str


class LessonRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a gladiator learned when a ticket of its was over."""

    engine: str
    at_ns: int  # the market's time at which it was known
    ticket: int
    text: str  # from the data: what it did and what came of it
    words: str  # the model's own, "" without a reflection


class StandingRow(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's final line, `metrics` included; written when the season closes."""

    engine: str
    rank: int | None
    metrics: dict[str, object]


class SeasonStore(Protocol):
    """Where a season is kept. Nothing is visible to others before `commit`.

    One commit holds whole cycles: one live, many in a replay.
    """

    def journal(
        self,
        cycle: int,
        at_ns: int,
        engine: str,
        kind: str,
        amount_units: int | None,
        body: bytes,
    ) -> None:
        """Append a record. `body` is canonical JSON; `amount_units` a change of balance.

        On a resumed season the first records repeat those already stored: they are
        compared, not written. Raises JournalFault at the first that differs.
        """
        ...

    def ticket(self, row: TicketRow) -> None: ...
    def equity(self, row: EquityRow) -> None: ...
    def score(self, row: ScoreRow) -> None: ...
    def guardian_day(self, row: GuardianDayRow) -> None: ...
    def latch(self, row: LatchRow) -> None: ...
    def engine(self, row: EngineRow) -> None: ...
    def prompt(self, row: PromptRow) -> None: ...
    def model_call(self, row: ModelCallRow) -> None: ...
    def lesson(self, row: LessonRow) -> None: ...

    def commit(self, cycle: int, at_ns: int) -> None:
        """Make everything up to and including `cycle` durable in one transaction."""
        ...

    def close(self, cycle: int, at_ns: int, standings: tuple[StandingRow, ...]) -> str:
        """Commit the rest, mark the season finished, return the journal's digest."""
        ...

    def kill_switch(self) -> bool:
        """The guardian_state row, as it is committed now; cheap enough for every cycle."""
        ...

    @property
    def stored_cycle(self) -> int:
        """The last cycle that a resumed season has committed; 0 for a new one."""
        ...

    @property
    def heard_cycle(self) -> int:
        """Up to there all that came from outside is known: what is not in `external_inputs` did
        not come. The last stored cycle, but of a season that another is played again as."""
        ...

    def external_inputs(self) -> tuple[tuple[int, str, bytes], ...]:
        """Of a resumed season: (cycle, kind, body) of the records that came from outside."""
        ...
