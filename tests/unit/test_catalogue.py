"""What Hydra knows about instruments, and how a user's file adds to it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from hydra.errors import ConfigError
from hydra.market.catalogue import KEYS, Catalogue, canonical, quote_of
from tests.support.shared_data import ROOT


def a_file(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def test_every_built_in_instrument_settles_in_whole_money_units() -> None:
    catalogue = Catalogue.load()

    for symbol in catalogue.values:
        found = catalogue.find(symbol)
        assert found is not None
        assert found.tick_value_units >= 1
        assert not found.is_default
        assert found.min_lots <= found.max_lots


def test_ftmo_contracts_and_lots() -> None:
    """Source: FTMO.md, section 1."""
    catalogue = Catalogue.load()
    gold, euro, nasdaq = (catalogue.find(s) for s in ("XAUUSD", "EURUSD", "US100.cash"))

    assert gold and euro and nasdaq
    assert gold.contract_size == 100
    assert gold.lot_step == gold.min_lots == Decimal("0.01")
    assert euro.contract_size == 100_000
    assert euro.lot_step == Decimal("0.01")
    assert nasdaq.contract_size == 1
    assert nasdaq.lot_step == Decimal("0.01")
    assert gold.commission_per_lot == Decimal("2.50")
    assert nasdaq.commission_per_lot == 0
    assert (euro.swap_hours, euro.swap_zone, euro.triple_swap_weekday) == (
        (17,), "America/New_York", 2,
    )  # fmt: skip


@pytest.mark.parametrize(
    "spelling", ["BTC-USD", "BTC-USDT", "BTC/USDT", "BTCUSDT", "btcusd", "BTC-PERP", "BTC_USDC"]
)
def test_one_instrument_has_many_spellings_and_keeps_the_one_in_use(spelling: str) -> None:
    found = Catalogue.load().find(spelling)

    assert found is not None
    assert found.symbol == spelling
    assert found.lot_step == Decimal("0.00001")


def test_an_alias_keeps_its_quote_currency() -> None:
    found = Catalogue.load().find("BTC-USDT")

    assert found is not None
    assert found.quote == "USDT"


@pytest.mark.parametrize(
    ("symbol", "plain"),
    [("US100.cash", "US100.CASH"), ("USDT", "USDT"), ("PERP", "PERP"), ("BTCUSDTPERP", "BTCUSD")],
)
def test_the_alias_rule(symbol: str, plain: str) -> None:
    assert canonical(symbol) == plain


@pytest.mark.parametrize(
    ("symbol", "quote"),
    [
        ("EURJPY", "JPY"), ("EUR/GBP", "GBP"), ("ETH-BTC", "BTC"), ("SOL/USDC", "USDC"),
        ("XAUEUR", "EUR"), ("BTC-PERP", "USD"), ("MSFT", "USD"), ("DOGEUSDT", "USDT"),
    ],
)  # fmt: skip
def test_a_symbol_names_its_currency(symbol: str, quote: str) -> None:
    assert quote_of(symbol) == quote


def test_prices_in_a_foreign_currency_are_refused_not_taken_for_dollars() -> None:
    with pytest.raises(ConfigError, match="EURJPY: prices in JPY cannot be settled"):
        Catalogue.load().instrument("EURJPY", 3)


def test_an_unknown_symbol_gets_the_default_instrument_with_the_tick_of_its_data() -> None:
    made = Catalogue.load().instrument("FOO-USD", 4)

    assert made.is_default
    assert made.tick_size == Decimal("0.0001")
    assert made.leverage == 1


def test_the_default_lot_step_grows_until_a_tick_is_worth_a_money_unit() -> None:
    made = Catalogue.load().instrument("SHIB-USD", 8)

    assert made.tick_value_units == 1
    assert made.lot_step == made.min_lots == 1


def test_data_finer_than_the_tick_refines_it_and_keeps_money_exact() -> None:
    made = Catalogue.load().instrument("BTC-USD", 5)

    assert made.tick_size == Decimal("0.00001")
    assert made.lot_step == Decimal("0.001")
    assert made.tick_value_units == 1
    assert made.min_lots % made.lot_step == 0
    assert not made.is_default


def test_coarser_data_leaves_the_tick_alone() -> None:
    catalogue = Catalogue.load()

    assert catalogue.instrument("BTC-USD", 0).tick_size == Decimal("0.01")
    assert catalogue.instrument("ES", 2).tick_size == Decimal("0.25")


def test_a_user_file_overrides_single_values_and_adds_instruments(tmp_path: Path) -> None:
    mine = a_file(
        tmp_path,
        """
        [instruments.EURUSD]
        spread_bps = 1.2
        triple_swap_weekday = "never"

        [instruments."PEPE-USD"]
        asset_class = "crypto"
        tick_size = "0.00000001"
        lot_step = 1
        aliases = ["1PEPE"]
        """,
    )

    catalogue = Catalogue.load(mine)
    euro, pepe = catalogue.find("EUR/USD"), catalogue.find("1pepe")

    assert euro and pepe
    assert euro.spread_bps == Decimal("1.2")
    assert euro.contract_size == 100_000
    assert euro.triple_swap_weekday is None
    assert (pepe.symbol, pepe.asset_class) == ("1pepe", "crypto")
    assert pepe.lot_step == 1


def test_an_override_under_an_alias_starts_from_the_known_instrument(tmp_path: Path) -> None:
    mine = a_file(tmp_path, "[instruments.BTCUSDT]\ncommission_bps = 5\n")

    catalogue = Catalogue.load(mine)
    known, other = catalogue.find("BTC-USDT"), catalogue.find("BTC-USD")

    assert known and other
    assert known.commission_bps == 5
    assert known.lot_step == Decimal("0.00001")
    assert other.commission_bps == 10


def test_yaml_serves_as_well_as_toml(tmp_path: Path) -> None:
    mine = a_file(tmp_path, "instruments:\n  ETH-USD:\n    tick_size: 0.1\n", "mine.yaml")

    found = Catalogue.load(mine).find("ETH-USD")

    assert found is not None
    assert found.tick_size == Decimal("0.1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[instruments.EURUSD]\nspred_bps = 1", "'spred_bps'; did you mean spread_bps"),
        ("[instrument.EURUSD]\nspread_bps = 1", "'instrument'; did you mean instruments"),
        ("[instruments.EURUSD]\ntick_size = 0", "tick_size must be above 0"),
        ("[instruments.EURUSD]\nspread_bps = -1", "spread_bps: -1 must be a finite number"),
        ("[instruments.EURUSD]\nspread_bps = nan", "finite"),
        ("[instruments.EURUSD]\nspread_bps = true", "is no number"),
        ("[instruments.EURUSD]\nspread_bps = 'x'", "is no number"),
        ("[instruments.EURUSD]\nswap_zone = 'New York'", "is no time zone"),
        ("[instruments.EURUSD]\ncalendar = 'NOPE'", "is no calendar"),
        ("[instruments.EURUSD]\nswap_hours = [25]", "is no list of hours"),
        ("[instruments.EURUSD]\ntriple_swap_weekday = 'wensday'", "neither a weekday nor never"),
        ("[instruments.EURUSD]\nmin_lots = 0.015", "no multiple of the lot_step"),
        ("[instruments.EURUSD]\nmin_lots = 60", "exceeds max_lots"),
        ("[instruments.EURUSD]\nlot_step = 1e-13", "whole number of at least 1"),
        ("[instruments.EURUSD]\nquote = 'EUR'", "cannot be settled in USD"),
        ("[instruments.EURUSD]\nasset_class = 'forex'", "is none of crypto, fx"),
        ("[instruments.NEW]\ntick_size = 1", "is new, so it needs an asset_class"),
        ("instruments = 3", "must be a table of tables"),
        ("[instruments]\nEURUSD = 3", "must be a table"),
        ("[instruments", "no valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_instruments_file_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.toml") as refusal:
        Catalogue.load(a_file(tmp_path, text))

    assert said in str(refusal.value)


def test_a_missing_or_oddly_named_instruments_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        Catalogue.load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"name it \.toml"):
        Catalogue.load(a_file(tmp_path, "", "mine.ini"))
    with pytest.raises(ConfigError, match="no valid YAML"):
        Catalogue.load(a_file(tmp_path, "a: [", "mine.yml"))
    with pytest.raises(ConfigError, match="no table named instruments"):
        Catalogue.load(a_file(tmp_path, "- 1", "list.yml"))


def test_the_example_in_the_documentation_is_valid_and_names_every_key(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    example = page.split("```toml\n")[1].split("```")[0]

    catalogue = Catalogue.load(a_file(tmp_path, example))
    perp, pepe = catalogue.find("BTC-PERP"), catalogue.find("pepe")

    assert perp and pepe
    assert perp.swap_hours == (0, 8, 16)
    assert perp.swap_short_bps == -1
    for key in KEYS:
        assert f"`{key}`" in page
