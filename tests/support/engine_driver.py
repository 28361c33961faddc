"""Plays an engine over a table of bars without Mother: enough of an account to decide on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from hydra.engines.protocol import Engine
from hydra.engines.view import View
from hydra.features.block import FeatureBlock
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Amend, Close, Intent, Open, Side, Ticket
from tests.support.bars import a_random_walk, an_instrument
from tests.support.views import StillAccount, history_of

BTC = an_instrument("BTC-USD", spread_bps="2")


def random_walk(
    seed: int,
    bars: int,
    resolution: str = "1m",
    *,
    first: float = 1_000.0,
    volatility: float = 0.002,
) -> BarTable:
    """A seeded walk without drift, `volatility` a bar, on an instrument with a spread."""
    return a_random_walk(
        np.random.default_rng(seed),
        bars,
        BTC.symbol,
        resolution,
        first=first,
        volatility_frac=volatility,
        instrument=BTC,
    )


def joined(before: BarTable, after: BarTable, cut: int) -> BarTable:
    """The first `cut` bars of one table, then the bars of the other from there on."""

    def join(name: str) -> NDArray[Any]:
        return np.concatenate((getattr(before, name)[:cut], getattr(after, name)[cut:]))

    return replace(
        before,
        bid_open=join("bid_open"),
        bid_high=join("bid_high"),
        bid_low=join("bid_low"),
        bid_close=join("bid_close"),
        ask_open=join("ask_open"),
        ask_high=join("ask_high"),
        ask_low=join("ask_low"),
        ask_close=join("ask_close"),
        open=join("open"),
        high=join("high"),
        low=join("low"),
        close=join("close"),
        volume=join("volume"),
    )


@dataclass(slots=True, kw_only=True)
class ToyAccount(StillAccount):
    """Fills every order at the next open and stops inside the bar; costs nothing."""

    filled: int = 0

    def submit(self, intents: Sequence[Intent], at_ns: int) -> None:
        """Take the wishes as orders; a close happens with the next bar."""
        for intent in intents:
            if isinstance(intent, Open):
                ticket = Ticket(
                    id=self.filled + 1,
                    symbol=intent.symbol,
                    side=intent.side,
                    lots=intent.lots or Decimal(1),
                    stop=intent.stop,
                    target=intent.target,
                    is_open=False,
                    entry=None,
                    entry_ns=at_ns,
                    thesis=intent.thesis,
                )
                self.filled += 1
                self.tickets = (*self.tickets, ticket)
            elif isinstance(intent, Close):
                self.tickets = tuple(t for t in self.tickets if t.id != intent.ticket)
            else:
                self._amend(intent)

    def _amend(self, intent: Amend) -> None:
        self.tickets = tuple(
            msgspec.structs.replace(t, stop=intent.stop or t.stop, target=intent.target or t.target)
            if t.id == intent.ticket
            else t
            for t in self.tickets
        )

    def live_through(self, table: BarTable, row: int) -> None:
        """The bar happens: what is pending fills at its open, then stops and targets."""
        low = table.instrument.price(int(table.bid_low[row]))
        high = table.instrument.price(int(table.ask_high[row]))
        entry = table.instrument.price(int(table.ask_open[row]))
        kept = []
        for t in self.tickets:
            if not t.is_open:
                t = msgspec.structs.replace(
                    t, is_open=True, entry=entry, entry_ns=int(table.open_ns[row])
                )
            floor, ceiling = (t.stop, t.target) if t.side == Side.BUY else (t.target, t.stop)
            if (floor is None or low > floor) and (ceiling is None or high < ceiling):
                kept.append(t)
        self.tickets = tuple(kept)


def drive(engine: Engine, table: BarTable) -> list[tuple[int, tuple[Intent, ...]]]:
    """(bar, what the engine then wished for) wherever it wished for something."""
    account = ToyAccount()
    history = history_of(table, -1)
    view = View(symbol=table.symbol, instrument=table.instrument, _history=history, account=account)
    view.market = {table.symbol: view}
    rows = FeatureBlock(tuple(engine.features), table.resolution_ns).extend(
        table.open_ns, table.open, table.high, table.low, table.close, table.volume
    )
    wishes: list[tuple[int, tuple[Intent, ...]]] = []
    for bar, features in enumerate(rows):
        account.live_through(table, bar)
        if np.isnan(features).any():
            continue
        history.at = bar
        view.features = tuple(features.tolist())
        account.now_ns = view.now_ns
        view.tickets = account.tickets
        intents = engine.decide(view)
        if not isinstance(intents, Sequence):
            raise TypeError(f"{engine} is asynchronous; this driver is not")
        if intents:
            wishes.append((bar, tuple(intents)))
            account.submit(intents, view.now_ns)
    return wishes
