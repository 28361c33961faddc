"""Settings from the environment (and `.env` in the project's folder, which it overrides)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hydra.errors import ConfigError


def project_root() -> Path:
    """The folder that holds `pyproject.toml`, where the package runs from its sources.

    An installed wheel has no such folder; it keeps its data in `~/.hydra`.
    """
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.home() / ".hydra"


def env_file() -> Path:
    """`.env` in the project's folder, or the file that HYDRA_ENV_FILE names."""
    named = os.environ.get("HYDRA_ENV_FILE", "").strip()
    return Path(named).expanduser() if named else project_root() / ".env"


class Settings(BaseSettings):
    """What every program of Hydra reads. Each field names its environment variable."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        env_file_encoding="utf-8",
    )

    home: Path = Field(default_factory=project_root, validation_alias="HYDRA_HOME")
    """The folder under which `data/` lies."""

    db_url: str = Field(default="", validation_alias="HYDRA_DB_URL")
    """SQLAlchemy URL of the database; default: SQLite at `<home>/data/hydra/hydra.db`."""

    coinbase_ws_url: str = Field(
        default="wss://advanced-trade-ws.coinbase.com", validation_alias="COINBASE_WS_URL"
    )
    """Where Coinbase tells books and trades."""

    binance_ws_url: str = Field(
        default="wss://stream.binance.com:9443/stream", validation_alias="BINANCE_WS_URL"
    )
    """Where Binance tells changes of books, and trades."""

    bybit_ws_url: str = Field(
        default="wss://stream.bybit.com/v5/public/spot", validation_alias="BYBIT_WS_URL"
    )
    """Where Bybit tells books and trades."""

    vault: Path | None = Field(default=None, validation_alias="HYDRA_VAULT")
    """The file of the vault; default: `<home>/data/hydra/vault.json`."""

    kill_switch: bool = Field(default=False, validation_alias="KILL_SWITCH")
    """True: no engine may trade, whatever the database says."""

    gladiators: Path | None = Field(default=None, validation_alias="HYDRA_GLADIATORS")
    """A TOML file of gladiators that adds to those that ship, or changes them."""

    coinbase_rest_url: str = Field(
        default="https://api.coinbase.com", validation_alias="COINBASE_REST_URL"
    )
    """Where `hydra data fetch` asks Coinbase for candles."""

    binance_rest_url: str = Field(
        default="https://data-api.binance.vision", validation_alias="BINANCE_REST_URL"
    )
    """Where it asks Binance: its address for market data alone, else https://api.binance.com."""

    bybit_rest_url: str = Field(default="https://api.bybit.com", validation_alias="BYBIT_REST_URL")
    """Where it asks Bybit."""

    @model_validator(mode="after")
    def _default_database(self) -> Self:
        if not self.db_url:
            object.__setattr__(self, "db_url", f"sqlite:///{self._data_folder / 'hydra.db'}")
        return self

    @property
    def vault_file(self) -> Path:
        """Where the vault is. Links on the way to its folder are followed, the file's never.

        Raises ConfigError where HYDRA_VAULT begins with a ~user who is not there.
        """
        if self.vault is None:
            return self._data_folder / "vault.json"
        try:
            return self.vault.expanduser().absolute()
        except RuntimeError as error:
            raise ConfigError(f"HYDRA_VAULT={self.vault}: no such user's home") from error

    @property
    def _data_folder(self) -> Path:
        return self.home.expanduser().resolve() / "data" / "hydra"


def load_settings() -> Settings:
    """The settings as they are now. Raises ConfigError naming each wrong variable."""
    try:
        return Settings(_env_file=env_file())  # type: ignore[call-arg]  # pydantic-settings' own
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}={fault['input']!r}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigError(f"the environment (or .env) holds a wrong setting: {faults}") from error


def variable(name: str) -> str:
    """What the environment, else `.env`, holds under `name`; "" where neither does.

    For the names that settings choose at run time, such as a provider's `DEEPSEEK_BASE_URL`. An
    empty value counts as absent, as in `Settings`. Raises ConfigError where `.env` is not UTF-8.
    """
    value = os.environ.get(name, "").strip()
    if value:
        return value
    path = env_file()
    try:
        return (dotenv_values(path, encoding="utf-8").get(name) or "").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def secret(name: str) -> SecretStr | None:
    """The key under `name`, wrapped so that no message or repr shows it; None where there is none.

    Raises ConfigError where `.env` is not UTF-8.
    """
    value = variable(name)
    return SecretStr(value) if value else None
