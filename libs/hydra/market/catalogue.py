"""The instruments that Hydra knows, and what it takes for granted about all others.

Built-in values lie in `instruments.toml` beside this module; a user's TOML or YAML file with
the same tables extends or overrides them, value by value.

A symbol is looked up as it is spelt; then under one rule for aliases: letter case and the
signs `- / _ : space` do not count, a final USDT or USDC counts as USD, and so does -PERP.
BTC-USD, BTC/USDT, btcusdt and BTC-PERP are one entry; each keeps its own spelling as `symbol`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from importlib import resources
from pathlib import Path

import msgspec

from hydra.errors import ConfigError
from hydra.market.instruments import PAR_CURRENCIES, UNITS_PER_USD, Instrument
from hydra.market.sessions import check_calendar, named_zone

MAX_DECIMALS = 8  # of a price: a tick on one unit must be worth at least 1e-8 USD

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBERS = {
    "tick_size", "lot_step", "min_lots", "max_lots", "contract_size", "spread_bps",
    "commission_bps", "commission_per_lot", "swap_long_bps", "swap_short_bps", "leverage",
}  # fmt: skip
_TEXTS = {"asset_class", "quote", "swap_zone", "calendar"}
_LISTS = {"swap_hours", "aliases"}
KEYS = _NUMBERS | _TEXTS | _LISTS | {"triple_swap_weekday"}
_MAY_BE_NEGATIVE = {"swap_long_bps", "swap_short_bps"}
_UNDECLARED = "other"  # asset class of symbols that nobody declared
_NOTHING: dict[str, object] = {
    "quote": "USD",
    "contract_size": Decimal(1),
    "spread_bps": Decimal(0),
    "commission_bps": Decimal(0),
    "commission_per_lot": Decimal(0),
    "swap_long_bps": Decimal(0),
    "swap_short_bps": Decimal(0),
    "swap_zone": "UTC",
    "swap_hours": (),
    "triple_swap_weekday": None,
}

# Currencies that a symbol may end in and that are no USD: such prices cannot be settled.
_OTHER_CURRENCIES = frozenset(
    {
        "AUD", "BRL", "CAD", "CHF", "CNH", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF",
        "INR", "JPY", "KRW", "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "TRY", "ZAR",
        "BTC", "ETH", "BNB",
    }
)  # fmt: skip

Values = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Known instruments by symbol, and the ways to spell them."""

    values: Mapping[str, Values]  # of each declared symbol, its class's included
    aliases: Mapping[str, str]  # canonical spelling → declared symbol
    classes: Mapping[str, Values]  # what a new instrument of each asset class starts from

    @classmethod
    def load(cls, path: Path | None = None) -> Catalogue:
        """The built-in instruments, extended by a TOML or YAML file of the user's.

        Raises ConfigError, naming file, instrument and key, when the file cannot be read,
        a key is unknown or a value makes no sense.
        """
        built_in = resources.files("hydra.market").joinpath("instruments.toml")
        catalogue = _declare(
            None, tomllib.loads(built_in.read_text("utf-8")), source="instruments.toml"
        )
        if path is None:
            return catalogue
        return _declare(catalogue, _read(path), source=path.name)

    def find(self, symbol: str) -> Instrument | None:
        """The declared instrument, under the symbol's own spelling; None: nobody declared it."""
        declared = symbol if symbol in self.values else self.aliases.get(canonical(symbol))
        if declared is None:
            return None
        values = self.values[declared]
        quote = str(values["quote"])
        spelt = quote_of(symbol)
        if quote in PAR_CURRENCIES and spelt in PAR_CURRENCIES:
            values = {**values, "quote": spelt}
        return _build(symbol, values)

    def instrument(self, symbol: str, decimals: int) -> Instrument:
        """The declared instrument, or the default one (`is_default`), fit for the data.

        `decimals` are those of the data's prices (0 to 8). A declared tick_size with fewer
        is refined to 10^-decimals, so that no price is rounded; the lot step grows where one
        tick on one step would otherwise be worth less than 1e-8 USD. The default instrument
        has tick_size 10^-decimals. Raises ConfigError when the symbol ends in a currency
        that accounts cannot settle.
        """
        found = self.find(symbol)
        if found is None:
            values = {**self.classes[_UNDECLARED], "quote": quote_of(symbol)}
            found = replace(_build(symbol, values), is_default=True)
            return with_tick(found, Decimal(1).scaleb(-decimals))
        exponent = found.tick_size.normalize().as_tuple().exponent
        if isinstance(exponent, int) and decimals > -exponent:
            return with_tick(found, Decimal(1).scaleb(-decimals))
        return found


def with_tick(instrument: Instrument, tick_size: Decimal) -> Instrument:
    """The instrument on another price grid, its lot step grown tenfold until money is exact."""
    step = instrument.lot_step
    for _ in range(2 * MAX_DECIMALS):
        value = tick_size * step * instrument.contract_size * UNITS_PER_USD
        if value >= 1 and value == value.to_integral_value():
            break
        step *= 10
    steps = (instrument.min_lots / step).to_integral_value(ROUND_CEILING)
    smallest = max(steps, Decimal(1)) * step  # a whole number of the new steps
    return replace(
        instrument,
        tick_size=tick_size,
        lot_step=step,
        min_lots=smallest,
        max_lots=max(instrument.max_lots, smallest),
    )


def canonical(symbol: str) -> str:
    """The spelling under which aliases meet: BTC/USDT, btc-usd and BTC-PERP are BTCUSD."""
    plain = re.sub(r"[-/_:\s]", "", symbol).upper()
    stem = plain.removesuffix("PERP") or plain
    for ending in ("USDT", "USDC"):
        if stem.endswith(ending) and stem != ending:
            return f"{stem.removesuffix(ending)}USD"
    return f"{stem}USD" if stem != plain and not stem.endswith("USD") else stem


def quote_of(symbol: str) -> str:
    """The currency that a symbol's spelling says it is priced in; USD where it says nothing."""
    head, _, tail = re.sub(r"[/_:\s]", "-", symbol.upper()).rpartition("-")
    if head and (tail in PAR_CURRENCIES or tail in _OTHER_CURRENCIES):
        return tail
    if not head:
        for currency in ("USDT", "USDC"):
            if tail.endswith(currency) and tail != currency:
                return currency
        pair = len(tail) == 6 and tail[:3] in _OTHER_CURRENCIES | {"USD", "XAU", "XAG"}
        if pair and tail[3:] in _OTHER_CURRENCIES:
            return tail[3:]
    return "USD"


def _read(path: Path) -> dict[str, object]:
    if not path.is_file():
        raise ConfigError(f"instruments file {path}: there is no such file")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"instruments file {path} cannot be read as text: {error}") from error
    if path.suffix.lower() == ".toml":
        try:
            return tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"instruments file {path} is no valid TOML: {error}") from error
    if path.suffix.lower() in {".yaml", ".yml"}:
        import yaml

        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"instruments file {path} is no valid YAML: {error}") from error
        if not isinstance(loaded, dict):
            raise ConfigError(f"instruments file {path} holds no table named instruments")
        return loaded
    raise ConfigError(f"instruments file {path}: name it .toml, .yaml or .yml")


def _declare(base: Catalogue | None, tables: Mapping[str, object], source: str) -> Catalogue:
    """`base` with the tables of one file put over it."""
    allowed = {"instruments"} if base else {"classes", "instruments"}
    for key in tables:
        if key not in allowed:
            raise ConfigError(_unknown(source, str(key), allowed))
    classes = dict(base.classes) if base else {}
    for name, given in _tables(tables, "classes", source):
        classes[name] = {**_NOTHING, **_checked(source, name, given), "asset_class": name}
    values = dict(base.values) if base else {}
    aliases = dict(base.aliases) if base else {}
    for symbol, given in _tables(tables, "instruments", source):
        checked = _checked(source, symbol, given)
        known = symbol if symbol in values else aliases.get(canonical(symbol), "")
        below = values.get(known)
        asset_class = checked.get("asset_class")
        if asset_class is not None and asset_class not in classes:
            raise ConfigError(
                f"{source}: instrument {symbol}: asset_class {asset_class!r} is none of"
                f" {', '.join(classes)}"
            )
        if asset_class is not None and (below is None or below["asset_class"] != asset_class):
            below = classes[str(asset_class)]
        if below is None:
            raise ConfigError(
                f"{source}: instrument {symbol} is new, so it needs an asset_class, one of"
                f" {', '.join(classes)}"
            )
        spellings = checked.pop("aliases", ())
        assert isinstance(spellings, tuple)
        values[symbol] = {**below, **checked}
        try:
            _build(symbol, values[symbol])
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
        aliases.update((canonical(spelling), symbol) for spelling in (symbol, *spellings))
    return Catalogue(values=values, aliases=aliases, classes=classes)


def _tables(
    tables: Mapping[str, object], name: str, source: str
) -> Iterator[tuple[str, Mapping[str, object]]]:
    group = tables.get(name, {})
    if not isinstance(group, dict):
        raise ConfigError(f"{source}: {name} must be a table of tables, one for each symbol")
    for key, given in group.items():
        if not isinstance(given, dict):
            raise ConfigError(f"{source}: {name}.{key} must be a table such as {{tick_size: 0.01}}")
        yield str(key), given


def _checked(source: str, symbol: str, given: Mapping[str, object]) -> Values:
    """The values of one table, each with its type."""
    out: Values = {}
    for key, value in given.items():
        where = f"{source}: instrument {symbol}: {key}"
        if key not in KEYS:
            raise ConfigError(_unknown(f"{source}: instrument {symbol}", str(key), KEYS))
        if key in _NUMBERS:
            out[key] = _number(where, key, value)
        elif key == "triple_swap_weekday":
            if value != "never" and value not in _WEEKDAYS:
                raise ConfigError(f"{where}: {value!r} is neither a weekday nor never")
            out[key] = None if value == "never" else _WEEKDAYS.index(str(value))
        elif key == "swap_hours":
            if not isinstance(value, list) or not all(
                isinstance(hour, int) and 0 <= hour < 24 for hour in value
            ):
                raise ConfigError(f"{where}: {value!r} is no list of hours from 0 to 23")
            out[key] = tuple(sorted(set(value)))
        elif key == "aliases":
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise ConfigError(f"{where}: {value!r} is no list of symbols")
            out[key] = tuple(value)
        else:
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{where}: {value!r} is no text")
            if key == "swap_zone":
                named_zone(value, where)
            if key == "calendar":
                check_calendar(value, where)
            out[key] = value
    return out


def _number(where: str, key: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ConfigError(f"{where}: {value!r} is no number")
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ConfigError(f"{where}: {value!r} is no number") from error
    if not number.is_finite() or (number < 0 and key not in _MAY_BE_NEGATIVE):
        raise ConfigError(f"{where}: {value!r} must be a finite number, not below 0")
    return number


def _build(symbol: str, values: Values) -> Instrument:
    """Raises ConfigError as `Instrument` does, and when lots do not fit the lot step."""
    step = values["lot_step"]
    built = msgspec.convert(
        {"min_lots": step, **values, "symbol": symbol}, Instrument, from_attributes=False
    )
    for name in ("min_lots", "max_lots"):
        if getattr(built, name) % built.lot_step:
            raise ConfigError(
                f"instrument {symbol}: {name} {getattr(built, name)} is no multiple of the"
                f" lot_step {built.lot_step}"
            )
    if built.min_lots > built.max_lots:
        raise ConfigError(
            f"instrument {symbol}: min_lots {built.min_lots} exceeds max_lots {built.max_lots}"
        )
    return built


def _unknown(where: str, key: str, allowed: Collection[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return f"{where}: unknown key {key!r}{hint} Known are {', '.join(sorted(allowed))}"
