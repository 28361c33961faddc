"""Engines for seasons under faults: traders that repeat themselves, and one that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Any

import msgspec

from hydra.engines.view import View
from hydra.portfolio.intents import Close, Intent


class Trader:
    """Opens, amends and closes by chance, which hangs on the bar alone: always the same."""

    features = ()

    def __init__(self, name: str) -> None:
        self._name = name

    def decide(self, view: View) -> Sequence[Intent]:
        rng = Random(f"{self._name} {view.symbol} {int(view.bars(1).open_ns[-1])}")
        chance = rng.random()
        mine = [one for one in view.tickets if one.symbol == view.symbol and one.is_open]
        stop = Decimal(str(rng.choice((0.001, 0.004, 0.01))))
        price = Decimal(str(view.close))
        if chance < 0.35:
            if rng.random() < 0.5:
                return (view.buy(stop=price * (1 - stop), target=price * (1 + 2 * stop)),)
            return (view.sell(stop=price * (1 + stop), target=price * (1 - 2 * stop)),)
        if mine and chance < 0.55:
            return (view.close_ticket(mine[0]),)
        return ()


class Vice(Enum):
    RAISES = "it raises"
    EXITS = "it leaves the program"
    NAN = "its stop is no number"
    NONSENSE = "it returns what is no intent"
    FLOODS = "it wants ten thousand tickets at once"
    CROWDS = "it wants twenty tickets at every bar"
    FOREIGN = "it closes tickets that are not its own"
    HANGS = "it does not come back"
    HOARDS = "it takes memory without end, and keeps it"
    SWELLS = "it takes memory without end"


class Faulty:
    """Behaves until its so many-th decision; from then on it has its vice."""

    features = ()

    def __init__(self, vice: Vice | None, after: int) -> None:
        """`vice` None: it wants nothing, ever."""
        self._vice, self._left = vice, after
        self._hoard: list[Any] = []

    def decide(self, view: View) -> Any:
        self._left -= 1
        if self._vice is None or self._left >= 0:
            return ()
        return _VICES[self._vice](self, view)

    def _hoards(self, view: View) -> Any:
        while True:
            self._hoard.append([object()])


def _raises(engine: Faulty, view: View) -> Any:
    raise ValueError("again")


def _exits(engine: Faulty, view: View) -> Any:
    raise SystemExit(1)


def _nan(engine: Faulty, view: View) -> Any:
    wish = view.buy(stop=view.close * 0.99)
    return (msgspec.structs.replace(wish, stop=Decimal("NaN"), lots=Decimal("Infinity")),)


def _nonsense(engine: Faulty, view: View) -> Any:
    return [object(), None, "buy"]


def _floods(engine: Faulty, view: View) -> Any:
    return [view.buy(stop=view.close * 0.99)] * 10_000


def _crowds(engine: Faulty, view: View) -> Any:
    return [view.buy(stop=view.close * 0.99)] * 20


def _foreign(engine: Faulty, view: View) -> Any:
    return [Close(ticket=number) for number in range(1, 4)]


def _hangs(engine: Faulty, view: View) -> Any:
    while True:
        pass


def _swells(engine: Faulty, view: View) -> Any:
    taken = []
    while True:
        taken.append(bytearray(1 << 20))


_VICES: dict[Vice, Callable[[Faulty, View], Any]] = {
    Vice.RAISES: _raises,
    Vice.EXITS: _exits,
    Vice.NAN: _nan,
    Vice.NONSENSE: _nonsense,
    Vice.FLOODS: _floods,
    Vice.CROWDS: _crowds,
    Vice.FOREIGN: _foreign,
    Vice.HANGS: _hangs,
    Vice.HOARDS: Faulty._hoards,
    Vice.SWELLS: _swells,
}
