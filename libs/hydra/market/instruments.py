"""What can be traded, and in which steps: ticks, lots, contracts, sessions, costs of carry.

Inside Hydra a price is an `int` number of ticks and a volume an `int` number of lot steps,
so that money comes out exact: one tick on one lot step is worth `tick_value_units` money
units (1e-8 of the account currency, USD), itself a whole number.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from hydra.errors import ConfigError

UNITS_PER_USD = 100_000_000  # money inside the ledger counts 1e-8 USD
PAR_CURRENCIES = frozenset({"USD", "USDT", "USDC"})  # valued 1:1 with the account currency


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable symbol. Quote currencies other than PAR_CURRENCIES are refused.

    Raises ConfigError when one tick on one lot step is not a whole number of money units.
    """

    symbol: str
    asset_class: str  # crypto, fx, metal, index, equity, future
    quote: str  # currency of the price
    tick_size: Decimal  # quote currency
    lot_step: Decimal  # lots
    min_lots: Decimal
    max_lots: Decimal
    contract_size: Decimal  # base units in one lot
    spread_bps: Decimal  # full spread, used where the data has no bid and ask
    commission_bps: Decimal  # of the notional, each side
    commission_per_lot: Decimal  # account currency, each side
    swap_long_bps: Decimal  # of the notional, a rollover; positive is a charge
    swap_short_bps: Decimal
    swap_zone: str  # IANA zone of the rollover
    swap_hours: tuple[int, ...]  # local hours at which swap or funding is due
    triple_swap_weekday: int | None  # 0 = Monday; None: never triple
    leverage: Decimal  # notional / margin
    calendar: str  # 24/7, fx, or an exchange_calendars name such as XNYS
    is_default: bool = False  # made up from the data because nobody declared the symbol

    def __post_init__(self) -> None:
        for name in ("tick_size", "lot_step", "min_lots", "max_lots", "contract_size", "leverage"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"instrument {self.symbol}: {name} must be above 0")
        if self.quote not in PAR_CURRENCIES:
            raise ConfigError(
                f"instrument {self.symbol}: prices in {self.quote} cannot be settled in USD;"
                f" accounts hold USD and only {', '.join(sorted(PAR_CURRENCIES))} count as USD"
            )
        value = self.tick_size * self.lot_step * self.contract_size * UNITS_PER_USD
        if value != value.to_integral_value() or value < 1:
            raise ConfigError(
                f"instrument {self.symbol}: a tick of {self.tick_size} on {self.lot_step} lots"
                f" is worth {value} units of 1e-8 USD, which must be a whole number of at least 1;"
                " take a larger lot_step or tick_size"
            )

    @property
    def tick_value_units(self) -> int:
        """Money units that one tick on one lot step is worth."""
        return int(self.tick_size * self.lot_step * self.contract_size * UNITS_PER_USD)

    def ticks(self, price: float | Decimal) -> int:
        """The price on the grid, nearest tick (half to even)."""
        exact = price if isinstance(price, Decimal) else Decimal(repr(float(price)))
        return int((exact / self.tick_size).to_integral_value(ROUND_HALF_EVEN))

    def price(self, ticks: int) -> Decimal:
        """The price of a whole number of ticks."""
        return self.tick_size * ticks

    def steps(self, lots: float | Decimal) -> int:
        """Whole lot steps in `lots`, rounded down: rounding up would exceed the risk."""
        exact = lots if isinstance(lots, Decimal) else Decimal(repr(float(lots)))
        return int(exact // self.lot_step)

    def lots(self, steps: int) -> Decimal:
        """The lots of a whole number of steps."""
        return self.lot_step * steps
