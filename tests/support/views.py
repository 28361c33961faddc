"""Views as an engine sees them, without Mother: bars up to a row, and an account to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hydra.engines.view import ClosedTicket, History, Ruling, TradingCosts, View
from hydra.market.bars import BarTable
from hydra.market.instruments import UNITS_PER_USD
from hydra.portfolio.intents import Ticket

NO_COSTS = TradingCosts(spread_bps=0.0, commission_bps=0.0, slippage_bps=0.0)


@dataclass(slots=True, kw_only=True)
class StillAccount:
    """An account at which nothing happens: everything is as the test says."""

    now_ns: int = 0
    initial_units: int = 25_000 * UNITS_PER_USD
    equity_units: int = 25_000 * UNITS_PER_USD
    balance_units: int = 25_000 * UNITS_PER_USD
    tickets: tuple[Ticket, ...] = ()
    room_units: tuple[int | None, int | None] = (1_125 * UNITS_PER_USD, 2_250 * UNITS_PER_USD)
    rules: tuple[str, ...] = ("A stop is required.", "At most 1.5 % of equity at risk a trade.")
    rulings: tuple[Ruling, ...] = ()
    closed: Sequence[ClosedTicket] = ()
    place: tuple[int | None, int] = (None, 4)
    costs_by_symbol: Mapping[str, TradingCosts] = field(default_factory=dict)

    def costs(self, symbol: str) -> TradingCosts:
        return self.costs_by_symbol.get(symbol, NO_COSTS)


def history_of(table: BarTable, at: int) -> History:
    """The table as a history whose newest bar is row `at` (-1: none yet)."""
    return History(
        instrument=table.instrument,
        resolution_ns=table.resolution_ns,
        open_ns=table.open_ns,
        open=table.open,
        high=table.high,
        low=table.low,
        close=table.close,
        volume=table.volume,
        bid_close=table.bid_close,
        ask_close=table.ask_close,
        at=at,
    )


def view_of(
    tables: Sequence[BarTable],
    *,
    now_ns: int | None = None,
    wider: Sequence[BarTable] = (),
    account: StillAccount | None = None,
) -> View:
    """What an engine that is asked by the clock sees: the view of the first symbol.

    `now_ns`: bars that close later are not seen; default: all bars are. The other symbols are
    in `market`, the coarser bars in `wider`.
    """
    if now_ns is None:
        now_ns = max(int(t.open_ns[-1]) + t.resolution_ns for t in tables)
    account = account or StillAccount()
    account.now_ns = now_ns

    def views(among: Sequence[BarTable]) -> dict[str, View]:
        return {
            table.symbol: View(
                symbol=table.symbol,
                instrument=table.instrument,
                _history=history_of(
                    table, int(((table.open_ns + table.resolution_ns) <= now_ns).sum()) - 1
                ),
                account=account,
                tickets=tuple(t for t in account.tickets if t.symbol == table.symbol),
            )
            for table in among
        }

    market, coarse = views(tables), views(wider)
    for view in market.values():
        view.market, view.wider = market, coarse
    return market[tables[0].symbol]
