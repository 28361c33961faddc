"""Samples the accounts, scores the guardian's days, and sums the season up at its end."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.market.instruments import UNITS_PER_USD
from hydra.mother.contestants import Contestant
from hydra.mother.ledgers import Account
from hydra.mother.moment import Moment
from hydra.mother.plan import SeasonPlan
from hydra.mother.shadow import Shadows
from hydra.portfolio.performance import performance, periods_per_year
from hydra.tournament.bootstrap import SeasonUncertainty, season_uncertainty
from hydra.tournament.house import House
from hydra.tournament.luck import LuckMarket, LuckTrades, luck_line
from hydra.tournament.ranking import Entrant, Standing, State, standings
from hydra.tournament.scoring import Scoreboard
from hydra.tournament.season import (
    TAG_CUTOFF,
    EngineRow,
    EquityRow,
    SeasonStore,
    StandingRow,
)

HOUSE = "house"
# A season with many trades has its luck line drawn by fewer traders: so many trades in all.
LUCK_TRADES = 20_000_000
FEWEST_LUCK_TRADERS = 500


class Scorekeeper:
    """Keeps the tournament's books. `states` holds engines that no longer play."""

    def __init__(
        self,
        *,
        plan: SeasonPlan,
        contestants: Sequence[Contestant],
        accounts: Sequence[Account],
        shadows: Shadows,
        store: SeasonStore,
        moment: Moment,
    ) -> None:
        self._plan = plan
        self._moment = moment
        self._contestants = contestants
        self._accounts = accounts
        self._shadows = shadows
        self._store = store
        self._house = House(plan.initial_units)
        self._board = Scoreboard()
        self.states: dict[str, EngineRow] = {}
        self.weights: dict[str, float] = {}
        self.next_sample_ns = plan.start_ns
        self._scored_ns = 0
        self._at_ns: list[int] = []
        self._equity: list[list[int]] = []
        self._places: tuple[int, tuple[Standing, ...]] = (-1, ())  # of the cycle last asked in
        self._reweigh(self.standings())

    # While the season runs

    def standings(self) -> tuple[Standing, ...]:
        """Everyone's place, by net P&L as the accounts stand."""
        return standings(
            self._entrant(account, contestant)
            for account, contestant in zip(self._accounts, self._contestants, strict=False)
        )

    def _entrant(self, account: Account, contestant: Contestant) -> Entrant:
        row = self.states.get(account.name)
        is_tagged = self._is_tagged(contestant)
        return Entrant(
            engine=account.name,
            net_pnl_units=(
                account.equity_units - account.initial_units
                if is_tagged
                else self._counted(account)
            ),
            state=State(row.state) if row else State.PLAYING,
            is_reference=contestant.is_reference,
            is_tagged=is_tagged,
            trades=account.trades,
            counted_trades=(
                account.trades - (0 if self._plan.counts_tagged else account.tagged_trades)
            ),
            wins=account.wins,
        )

    def _is_tagged(self, contestant: Contestant) -> bool:
        """Whether nothing that it has decided up to now counts."""
        return self._moment.now_ns < contestant.cutoff_ns and not self._plan.counts_tagged

    def _counted(self, account: Account) -> int:
        """The P&L that ranks: all of it, but what decisions from before a cutoff made."""
        if self._plan.counts_tagged or not account.cutoff_ns:
            return account.equity_units - account.initial_units
        return account.counted_units

    def place(self, engine: str) -> tuple[int | None, int]:
        """(its rank now, or None; how many hold one)."""
        cycle, places = self._places
        if cycle != self._moment.cycle:
            places = self.standings()
            self._places = (self._moment.cycle, places)
        rank = next((one.rank for one in places if one.entrant.engine == engine), None)
        return rank, sum(one.rank is not None for one in places)

    def _reweigh(self, places: Sequence[Standing]) -> None:
        weights = {place.entrant.engine: place.weight for place in places}
        self._house.reweigh(weights)
        self.weights = {engine: float(weight) for engine, weight in weights.items()}

    def sample(self, now_ns: int) -> None:
        """Write down every account's equity, and what following the weights has made."""
        step = self._plan.sample_ns
        self.next_sample_ns = now_ns - now_ns % step + step
        book = self._accounts[0].book.accounts
        equities: list[int] = book["equity"].tolist()
        balances: list[int] = book["balance"].tolist()
        self._at_ns.append(now_ns)
        counted = [account.initial_units + self._counted(account) for account in self._accounts]
        self._equity.append(counted)
        house = self._house.advance(
            {c.name: e for c, e in zip(self._contestants, counted, strict=False)}
        )
        for account, equity, balance in zip(self._accounts, equities, balances, strict=False):
            self._store.equity(
                EquityRow(
                    at_ns=now_ns,
                    engine=account.name,
                    equity_units=equity,
                    balance_units=balance,
                    shadow_units=self._shadows.equity_units(account, equities),
                    weight=self.weights.get(account.name, 0.0),
                )
            )
        if len(self._accounts) == len(self._contestants):
            self._store.equity(
                EquityRow(
                    at_ns=now_ns,
                    engine=HOUSE,
                    equity_units=house,
                    balance_units=house,
                    shadow_units=house,
                    weight=1.0,
                )
            )

    def score(self, now_ns: int) -> None:
        """Close a scoring cycle: points for today's places, weights for tomorrow."""
        self._sample_once(now_ns)
        self._scored_ns = now_ns
        places = self.standings()
        for row in self._board.score(places, now_ns):
            self._store.score(row)
        self._reweigh(places)

    def reweigh(self, now_ns: int) -> None:
        """Give the weights anew as at the end of a scoring cycle, but no points."""
        self._sample_once(now_ns)  # the house earns by the old weights up to now
        self._reweigh(self.standings())

    def _sample_once(self, now_ns: int) -> None:
        if not self._at_ns or self._at_ns[-1] != now_ns:
            self.sample(now_ns)

    # At the end

    def close(
        self, cycles: int, now_ns: int, market: LuckMarket | None, bar_ns: NDArray[np.int64]
    ) -> tuple[StandingRow, ...]:
        """Score the last cycle and draw up everyone's final line."""
        if self._at_ns and self._at_ns[-1] == now_ns:
            # Taken before the last tickets were closed.
            del self._at_ns[-1], self._equity[-1]
        self.sample(now_ns)
        if self._scored_ns != now_ns:  # else the season ends with a day, which is scored
            self.score(now_ns)
        initial = self._plan.initial_units
        count = len(self._contestants)
        curves = np.array([[initial] * len(self._accounts), *self._equity], np.float64)
        curves /= UNITS_PER_USD
        instants = np.array([self._plan.start_ns, *self._at_ns], np.int64)
        uncertainty = season_uncertainty(
            np.diff(curves[:, :count], axis=0) / (initial / UNITS_PER_USD),
            seed=self._plan.seed,
            holds_rank=tuple(not (c.is_reference or self._is_tagged(c)) for c in self._contestants),
            replicates=self._plan.bootstrap_replicates,
        )

        rows = []
        column = {contestant.name: k for k, contestant in enumerate(self._contestants)}
        for place in self.standings():
            k = column[place.entrant.engine]
            rows.append(
                StandingRow(
                    engine=place.entrant.engine,
                    rank=place.rank,
                    metrics=self._metrics(place, self._accounts[k], curves[:, k], instants, cycles)
                    | self._bounds(uncertainty, k)
                    | self._luck(self._accounts[k], market if place.rank else None, bar_ns),
                )
            )
        return tuple(rows)

    def _metrics(
        self,
        place: Standing,
        account: Account,
        curve: NDArray[np.float64],
        instants: NDArray[np.int64],
        cycles: int,
    ) -> dict[str, object]:
        row = account.book.accounts[account.index]
        closed = account.closed()
        figures = performance(
            curve,
            periods_per_year=periods_per_year(instants),
            trade_pnl_units=closed["net"].tolist(),
            traded_usd=account.turnover_units / UNITS_PER_USD,
            exposure_frac=int(row["exposed"]) / max(1, cycles),
            costs_units=int(closed["fees"].sum() + closed["spread"].sum()),
        )
        shadow = self._shadows.equity_units(account, account.book.accounts["equity"].tolist())
        state = self.states.get(account.name)
        net_pnl_usd = (account.equity_units - account.initial_units) / UNITS_PER_USD
        return {
            **msgspec.to_builtins(figures),
            # The book has seen every bar's worst price; the samples have not.
            "max_drawdown_frac": int(row["drawdown_ppb"]) / 1e9,
            "net_pnl_usd": net_pnl_usd,
            "counted_pnl_usd": self._counted(account) / UNITS_PER_USD,
            "tag": TAG_CUTOFF if account.cutoff_ns > self._plan.start_ns else "",
            "family": self._contestants[account.index].family,
            "equity_usd": account.equity_units / UNITS_PER_USD,
            "shadow_pnl_usd": (shadow - account.initial_units) / UNITS_PER_USD,
            "weight": float(place.weight),
            "points": float(self._board.total(account.name)),
            "state": state.state if state else "playing",
            "reason": state.reason if state else "",
            **account.tally.metrics(net_pnl_usd),
        }

    @staticmethod
    def _bounds(found: SeasonUncertainty, k: int) -> dict[str, object]:
        return {
            **msgspec.to_builtins(found.engines[k]),
            "observations": found.observations,
            "note": found.note,
        }

    def _luck(
        self, account: Account, market: LuckMarket | None, bar_ns: NDArray[np.int64]
    ) -> dict[str, object]:
        if market is None:
            return {}
        trades = account.closed()
        if not self._plan.counts_tagged:
            trades = trades[trades["counts"] == 1]
        traders = self._plan.luck_traders
        if len(trades):
            traders = min(
                traders,
                max(FEWEST_LUCK_TRADERS, LUCK_TRADES // (len(trades) * len(self._contestants))),
            )
        line = luck_line(
            market, _columns(trades, account, bar_ns), seed=self._plan.seed, traders=traders
        )
        return {f"luck_{name}": value for name, value in msgspec.to_builtins(line).items()}


def _columns(trades: NDArray[np.void], account: Account, bar_ns: NDArray[np.int64]) -> LuckTrades:
    """The closed trades as the luck line reads them; `bar_ns` (symbols,) are bar lengths."""
    symbol = trades["symbol"]
    value = account.book.terms["tick_value"][symbol]
    notional = trades["entry_ticks"].astype(np.float64) * trades["steps"] * value
    return LuckTrades(
        symbol=np.ascontiguousarray(symbol),
        hold_bars=(trades["closed_ns"] - trades["entry_ns"]) // bar_ns[symbol],
        side=np.ascontiguousarray(trades["side"]),
        notional_usd=notional / UNITS_PER_USD,
        # Random traders pay the spread at their own entries; they slip for nothing.
        cost_usd=trades["fees"] / UNITS_PER_USD,
        pnl_usd=trades["net"] / UNITS_PER_USD,
    )
