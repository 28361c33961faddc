"""Accounts, keys and tokens of venues: where they come from, and that they stay secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hydra.errors import ConfigError
from hydra.feeds.coinbase import CoinbaseKey
from hydra.operations.secrets import secret

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class OandaAccess:
    """What OANDA lets nobody in without. Its repr shows neither."""

    account: str = field(repr=False)
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        """Raises ConfigError, which shows neither."""
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", self.account):
            raise ConfigError(
                "OANDA_ACCOUNT_ID is no account id of OANDA's: it looks like 101-004-1234567-001"
            )
        check_token(self.token)


def check_token(token: str) -> None:
    """Raises ConfigError, which does not show it, where no HTTP header can carry it."""
    if not re.fullmatch(r"[!-~]{1,512}", token):
        raise ConfigError(
            "OANDA_API_TOKEN has letters that no token has: copy it again (it is not shown)"
        )


def check_encrypted(address: str, setting: str) -> None:
    """Raise ConfigError where a token would travel in the clear, but for this very machine."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ConfigError(f"{setting}: its host or port cannot be read") from error
    if parts.scheme != "https" and parts.hostname not in _THIS_MACHINE:
        raise ConfigError(f"{setting}: a token goes over https:// alone; write it as https://host")


def oanda_access() -> OandaAccess:
    """Account and token for OANDA's prices. Raises ConfigError where either is not set, or none."""
    return OandaAccess(needed("OANDA_ACCOUNT_ID"), needed("OANDA_API_TOKEN"))


def coinbase_key() -> CoinbaseKey | None:
    """What subscriptions at Coinbase are signed with, where it is set: no price needs it.

    Raises ConfigError where only one half of it is set, and as `CoinbaseKey`.
    """
    name, private_key = secret("COINBASE_API_KEY_NAME"), secret("COINBASE_API_PRIVATE_KEY")
    if name is None and private_key is None:
        return None
    if name is None or private_key is None:
        missing = "COINBASE_API_KEY_NAME" if name is None else "COINBASE_API_PRIVATE_KEY"
        raise ConfigError(f"{missing} is not set, and the other half of the key is: set both")
    return CoinbaseKey(name.get_secret_value(), private_key.get_secret_value())


def needed(name: str) -> str:
    """A secret of OANDA's. Raises ConfigError where nobody set it."""
    found = secret(name)
    if found is None:
        raise ConfigError(
            f"OANDA shows prices to its customers alone: {name} is not set. A practice account is"
            " free at oanda.com; its pages show the account's id, and make the token under Manage"
            " API Access. Set both in the environment, in .env or by hydra vault set"
            " (docs/feeds.md)"
        )
    return found.get_secret_value()
