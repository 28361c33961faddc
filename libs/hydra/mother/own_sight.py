"""What an engine may see of its account: figures, never the account itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hydra.engines.view import ClosedTicket, Ruling, TradingCosts
from hydra.guardian.guardian import Guardian
from hydra.guardian.profiles import in_words
from hydra.market.instruments import Instrument
from hydra.mother.ledgers import Account
from hydra.mother.market import BookMarket
from hydra.mother.moment import Moment
from hydra.portfolio.columns import TERMS
from hydra.portfolio.intents import Ticket

NO_TICKETS: Sequence[ClosedTicket] = ()
BPS = 10_000
PPM_PER_BPS = 100


class OwnSight:
    """`OwnAccount` of one account. `place` tells (rank or None, how many hold one)."""

    __slots__ = ("_account", "_guardian", "_market", "_moment", "_place", "_rules", "_symbols")

    def __init__(
        self,
        account: Account,
        *,
        guardian: Guardian,
        market: BookMarket,
        moment: Moment,
        symbols: Mapping[str, int],
        place: Callable[[str], tuple[int | None, int]],
    ) -> None:
        self._account = account
        self._guardian = guardian
        self._market = market
        self._moment = moment
        self._symbols = symbols
        self._rules = in_words(guardian.profile)
        self._place = place

    @property
    def equity_units(self) -> int:
        return self._account.equity_units

    @property
    def balance_units(self) -> int:
        return self._account.balance_units

    @property
    def initial_units(self) -> int:
        return self._account.initial_units

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        return self._account.tickets

    @property
    def now_ns(self) -> int:
        return self._moment.now_ns

    @property
    def room_units(self) -> tuple[int | None, int | None]:
        return self._guardian.room_units(self._account.name, self._account.equity_units)

    @property
    def rules(self) -> tuple[str, ...]:
        return self._rules

    @property
    def rulings(self) -> tuple[Ruling, ...]:
        return tuple(self._account.rulings)

    @property
    def closed(self) -> Sequence[ClosedTicket]:
        over = self._account.over
        return NO_TICKETS if over is None else tuple(over)

    @property
    def place(self) -> tuple[int | None, int]:
        return self._place(self._account.name)

    def costs(self, symbol: str) -> TradingCosts:
        index = self._symbols[symbol]
        touch = self._market.touch(symbol)
        instrument = self._market.instrument(symbol)
        if touch is None or instrument is None:
            return TradingCosts(spread_bps=0.0, commission_bps=0.0, slippage_bps=0.0)
        middle = (touch.bid_ticks + touch.ask_ticks) / 2
        return TradingCosts(
            spread_bps=(touch.ask_ticks - touch.bid_ticks) / middle * BPS,
            commission_bps=_commission_bps(self._account, index, middle),
            slippage_bps=self._market.slippage_ticks(symbol, _small(instrument)) / middle * BPS,
        )


def _small(instrument: Instrument) -> int:
    """Steps of a small order: the least that the instrument takes."""
    return max(1, instrument.steps(instrument.min_lots))


def _commission_bps(account: Account, symbol: int, price_ticks: float) -> float:
    terms = account.book.terms[symbol]
    assert terms.dtype == TERMS
    share = int(terms["commission_ppm"]) / PPM_PER_BPS
    return share + int(terms["commission_step"]) / (price_ticks * int(terms["tick_value"])) * BPS
