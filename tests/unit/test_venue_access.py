"""Accounts, keys and tokens of venues: what is missing or wrong is said, and none is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from apps.runtime.live_season import instruments_of
from apps.runtime.venue_market import VenueMarket
from hydra.clock import NS_PER_S
from hydra.errors import ConfigError
from hydra.feeds import access
from hydra.feeds.access import OandaAccess, coinbase_key, oanda_access
from hydra.operations.configuration import in_force
from hydra.operations.secrets import Secrets
from hydra.settings import load_settings
from tests.support.listener import until
from tests.support.venues import CoinbaseServer

CANARY = "0123456789abcdef-canary-4711"
ACCOUNT = "101-004-1234567-001"
NAMES = (
    "OANDA_ACCOUNT_ID", "OANDA_API_TOKEN", "COINBASE_API_KEY_NAME", "COINBASE_API_PRIVATE_KEY",
)  # fmt: skip
KEY_NAME = "organizations/canary-4712/apiKeys/1"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is set, and what was read before is forgotten."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("HYDRA_HOME", str(tmp_path))
    monkeypatch.setenv("HYDRA_ENV_FILE", str(tmp_path / ".env"))


def a_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ).decode()


def a_market(*venues: str, symbols: tuple[str, ...]) -> VenueMarket:
    return VenueMarket(
        instruments_of(symbols, None), venues, resolution_ns=60 * NS_PER_S,
        settings=load_settings(), say=lambda text: None,
    )  # fmt: skip


@pytest.mark.parametrize("missing", ["OANDA_ACCOUNT_ID", "OANDA_API_TOKEN"])
def test_what_oanda_needs_is_named_with_where_to_get_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OANDA_ACCOUNT_ID", ACCOUNT), ("OANDA_API_TOKEN", CANARY)):
        if name != missing:
            monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        a_market("oanda", symbols=("EURUSD",))

    said = str(caught.value)
    for words in (f"{missing} is not set", "oanda.com", "Manage API Access", "hydra vault set"):
        assert words in said
    assert CANARY not in said


def test_nothing_is_asked_for_a_venue_that_lists_none_of_the_assets() -> None:
    assert a_market("coinbase", "oanda", symbols=("BTC-USD",))
    with pytest.raises(ConfigError, match="OANDA_ACCOUNT_ID is not set"):
        a_market("coinbase", "oanda", symbols=("BTC-USD", "XAUUSD"))


def test_an_asset_that_no_chosen_venue_lists_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(ConfigError, match=r"EURUSD is not listed at coinbase; it is at oanda"):
        a_market("coinbase", symbols=("BTC-USD", "EURUSD"))


@pytest.mark.parametrize(
    ("account", "token", "says"),
    [
        (f"{ACCOUNT}/../x", CANARY, "OANDA_ACCOUNT_ID is no account id"),
        (ACCOUNT, f"“{CANARY}”", "OANDA_API_TOKEN has letters"),
        (ACCOUNT, f"{CANARY}\r\nX: 1", "OANDA_API_TOKEN has letters"),
    ],
)
def test_what_cannot_be_an_account_or_a_token_is_said_and_not_shown(
    account: str, token: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OANDA_ACCOUNT_ID", account)
    monkeypatch.setenv("OANDA_API_TOKEN", token)

    with pytest.raises(ConfigError, match=says) as caught:
        oanda_access()

    assert CANARY not in str(caught.value)
    assert account not in str(caught.value)


@pytest.mark.parametrize("setting", ["OANDA_REST_URL", "OANDA_STREAM_URL"])
@pytest.mark.parametrize("address", ["http://example.com", "ftp://127.0.0.2", "http://[::1"])
def test_a_token_does_not_travel_in_the_clear(
    setting: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OANDA_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("OANDA_API_TOKEN", CANARY)
    monkeypatch.setenv(setting, address)

    with pytest.raises(ConfigError, match=setting):
        a_market("oanda", symbols=("EURUSD",))


def test_neither_is_in_what_is_printed_of_it() -> None:
    assert CANARY not in repr(OandaAccess(ACCOUNT, CANARY))
    assert ACCOUNT not in repr(OandaAccess(ACCOUNT, CANARY))


# Coinbase


def test_coinbase_needs_no_key_and_takes_one_that_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert coinbase_key() is None
    monkeypatch.setenv("COINBASE_API_KEY_NAME", KEY_NAME)
    monkeypatch.setenv("COINBASE_API_PRIVATE_KEY", a_pem().replace("\n", "\\n"))

    key = coinbase_key()

    assert key is not None
    assert len(key.token(0).split(".")) == 3


@pytest.mark.parametrize("has_key", [True, False])
async def test_subscriptions_are_signed_where_a_key_is_set(
    has_key: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_key:
        monkeypatch.setenv("COINBASE_API_KEY_NAME", KEY_NAME)
        monkeypatch.setenv("COINBASE_API_PRIVATE_KEY", a_pem())
    server = CoinbaseServer({"BTC-USD": {"bids": [["1", "1"]], "asks": [["2", "1"]]}}, [])
    async with server.open():
        monkeypatch.setenv("COINBASE_WS_URL", server.url)
        market = a_market("coinbase", symbols=("BTC-USD",))
        reader = asyncio.create_task(anext(market.minutes(), None))
        await until(lambda: len(server.received) >= 3)
        await market.aclose()
        await asyncio.wait({reader})

    assert {message["type"] for message in server.received} == {"subscribe"}
    assert {"jwt" in message for message in server.received} == {has_key}
    if has_key:
        assert len({message["jwt"] for message in server.received}) == len(server.received)


@pytest.mark.parametrize("half", ["COINBASE_API_KEY_NAME", "COINBASE_API_PRIVATE_KEY"])
def test_half_a_key_of_coinbase_is_refused_where_coinbase_is_used(
    half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(half, CANARY)
    (missing,) = {"COINBASE_API_KEY_NAME", "COINBASE_API_PRIVATE_KEY"} - {half}

    with pytest.raises(ConfigError, match=f"{missing} is not set") as caught:
        a_market("coinbase", symbols=("BTC-USD",))

    assert CANARY not in str(caught.value)
    assert a_market("binance", symbols=("BTC-USD",))


def test_a_key_of_coinbase_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINBASE_API_KEY_NAME", KEY_NAME)
    monkeypatch.setenv("COINBASE_API_PRIVATE_KEY", CANARY)

    with pytest.raises(ConfigError, match="no PEM private key") as caught:
        coinbase_key()

    assert CANARY not in str(caught.value)
    assert KEY_NAME not in str(caught.value)


def test_a_key_of_several_lines_in_a_file_is_no_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    path.write_text(a_pem())
    path.chmod(0o600)
    monkeypatch.setenv("COINBASE_API_KEY_NAME", KEY_NAME)
    monkeypatch.setenv("COINBASE_API_PRIVATE_KEY_FILE", str(path))

    shown = {one.setting.name: one.value for one in in_force()}

    assert shown["COINBASE_API_PRIVATE_KEY"] == "set"
    assert coinbase_key() is not None


def test_they_may_lie_in_the_vault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.support.vaults import PASSWORD, a_filled_vault

    vault = a_filled_vault(
        tmp_path / "vault.json", OANDA_ACCOUNT_ID=ACCOUNT, OANDA_API_TOKEN=CANARY
    )
    kept = Secrets(environment={"TRADING_VAULT_PASSWORD": PASSWORD.get_secret_value()}, vault=vault)

    def secret(name: str) -> object:
        found = kept.find(name)
        return None if found is None else found.value

    monkeypatch.setattr(access, "secret", secret)

    assert oanda_access() == OandaAccess(ACCOUNT, CANARY)
