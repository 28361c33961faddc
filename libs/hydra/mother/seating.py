"""Who sits before which screens: the views of every contestant, made once before the first bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hydra.engines.protocol import Sleeper
from hydra.engines.view import OwnAccount, View
from hydra.errors import ConfigError
from hydra.mother.contestants import Contestant
from hydra.mother.ledgers import Account
from hydra.mother.seats import Screen, Seat


def take_seats(
    contestants: Sequence[Contestant],
    accounts: Sequence[Account],
    screens: Sequence[Screen],
    sight: Callable[[Account], OwnAccount],
) -> None:
    """Give each contestant a seat on each of its streams, then start the screens.

    Raises ConfigError for a contestant of whose bars there are none.
    """
    for account, contestant in zip(accounts, contestants, strict=False):
        own = sight(account)
        seats = {
            screen.stream.symbol: _seat(account, own, contestant, screen)
            for screen in _screens_of(contestant, screens)
        }
        market = {symbol: seat.view for symbol, seat in seats.items()}
        wider = {
            screen.stream.symbol: _view(own, screen)
            for screen in screens
            if contestant.context_ns is not None
            and screen.stream.resolution_ns == contestant.context_ns
        }
        for symbol, seat in seats.items():
            seat.view.market, seat.view.wider = market, wider
            account.views.setdefault(symbol, []).append(seat.view)
    for screen in screens:
        screen.start()


def _screens_of(contestant: Contestant, screens: Sequence[Screen]) -> list[Screen]:
    if contestant.resolution_ns is None:
        return [s for s in screens if s.stream.execution]
    chosen = [s for s in screens if s.stream.resolution_ns == contestant.resolution_ns]
    if not chosen:
        there = sorted({s.stream.resolution_ns // 1_000_000_000 for s in screens})
        raise ConfigError(
            f"engine {contestant.name}: no bars of {contestant.resolution_ns // 10**9} s;"
            f" the data has {', '.join(f'{s} s' for s in there)}"
        )
    return chosen


def _view(own: OwnAccount, screen: Screen) -> View:
    return View(
        symbol=screen.stream.symbol,
        instrument=screen.stream.instrument,
        _history=screen.history,
        account=own,
    )


def _seat(account: Account, own: OwnAccount, contestant: Contestant, screen: Screen) -> Seat:
    seat = Seat(
        contestant=contestant,
        account=account.index,
        view=_view(own, screen),
        columns=tuple(screen.column_of(f) for f in contestant.engine.features),
        wakes=(
            contestant.engine.wakes
            if isinstance(contestant.engine, Sleeper) and contestant.every_s is None
            else None
        ),
    )
    screen.seats.append(seat)
    return seat
