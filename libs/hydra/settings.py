"""Settings from the environment and from `.env` in the project's folder, over which it wins.

HYDRA_ENV_FILE, which only the environment holds, names another file to read in `.env`'s place.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from hydra.errors import ConfigError
from hydra.variables import BY_NAME, SETTINGS

ENVIRONMENT, DOTENV = "environment", ".env"
ENV_FILE = "HYDRA_ENV_FILE"
HIDDEN = "***"  # stands in the place of a secret


def project_root() -> Path:
    """The folder that holds `pyproject.toml`, where the package runs from its sources.

    An installed wheel has no such folder; it keeps its data in `~/.hydra`.
    """
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() else Path.home() / ".hydra"


def env_file() -> Path:
    """`.env` in the project's folder, or the file that HYDRA_ENV_FILE names."""
    named = os.environ.get(ENV_FILE, "").strip()
    return Path(named).expanduser() if named else project_root() / ".env"


def _setting(name: str, **more: Any) -> Any:
    """A field of `Settings` that is the variable `name` of the table. Raises KeyError.

    Where no default is given, that of the table holds.
    """
    if not more.keys() & {"default", "default_factory"}:
        more |= {"default": BY_NAME[name].default, "validate_default": True}
    return Field(validation_alias=name, description=BY_NAME[name].about, **more)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Settings(BaseModel):
    """What every program of Hydra reads: the fields of the table in `hydra.variables`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    home: Path = _setting("HYDRA_HOME", default_factory=project_root)
    db_url: str = _setting("HYDRA_DB_URL", default="")
    vault: Path | None = _setting("HYDRA_VAULT", default=None)
    kill_switch: bool = _setting("KILL_SWITCH", default=False)
    memory_limit_mb: int = _setting("HYDRA_MEMORY_LIMIT_MB", ge=0)
    gladiators: Path | None = _setting("HYDRA_GLADIATORS", default=None)
    audit: Path | None = _setting("HYDRA_AUDIT", default=None)
    recordings: Path | None = _setting("HYDRA_RECORDINGS", default=None)
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)
    ] = _setting("LOG_LEVEL", default="info")  # fmt: skip
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = _setting(
        "LOG_FORMAT", default="json"
    )
    log_file: Path | None = _setting("LOG_FILE", default=None)
    alarm_after_s: float = _setting("HYDRA_ALARM_AFTER_S", gt=0, allow_inf_nan=False)
    alarm_command: str = _setting("HYDRA_ALARM_COMMAND")
    keep_logs_days: int = _setting("HYDRA_KEEP_LOGS_DAYS", ge=0, le=36_500)
    keep_recordings_days: int = _setting("HYDRA_KEEP_RECORDINGS_DAYS", ge=0, le=36_500)
    coinbase_rest_url: str = _setting("COINBASE_REST_URL")
    binance_rest_url: str = _setting("BINANCE_REST_URL")
    bybit_rest_url: str = _setting("BYBIT_REST_URL")
    coinbase_ws_url: str = _setting("COINBASE_WS_URL")
    binance_ws_url: str = _setting("BINANCE_WS_URL")
    bybit_ws_url: str = _setting("BYBIT_WS_URL")
    oanda_rest_url: str = _setting("OANDA_REST_URL")
    oanda_stream_url: str = _setting("OANDA_STREAM_URL")

    @field_validator("home", "vault", "gladiators", "audit", "recordings", "log_file")
    @classmethod
    def _without_tilde(cls, path: Path | None) -> Path | None:
        try:
            return None if path is None else path.expanduser()
        except RuntimeError as error:
            raise ValueError("there is no such user's home") from error

    @field_validator("alarm_command")
    @classmethod
    def _readable(cls, command: str) -> str:
        shlex.split(command)  # raises ValueError where a quote is not closed
        return command

    @model_validator(mode="after")
    def _default_database(self) -> Self:
        if not self.db_url:
            object.__setattr__(self, "db_url", f"sqlite:///{self.data_folder / 'hydra.db'}")
        return self

    @property
    def audit_file(self) -> Path:
        """Where the audit trail is: HYDRA_AUDIT, else `<home>/data/hydra/trade_audit_log.jsonl`."""
        return (self.audit or self.data_folder / "trade_audit_log.jsonl").absolute()

    @property
    def recordings_folder(self) -> Path:
        """Where recordings lie: HYDRA_RECORDINGS, else `<home>/data/hydra/recordings`."""
        return (self.recordings or self.data_folder / "recordings").absolute()

    @property
    def vault_file(self) -> Path:
        """Where the vault is. Links on the way to its folder are followed, the file's never."""
        return (self.vault or self.data_folder / "vault.json").absolute()

    @property
    def data_folder(self) -> Path:
        """Where all that Hydra keeps lies, unless a setting moves it: `<home>/data/hydra`."""
        return self.home.expanduser().resolve() / "data" / "hydra"


Sources = Sequence[tuple[str, Mapping[str, str | None]]]
"""Names of places, and what each holds."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value and where it came from. Its repr hides the value, which may be a secret."""

    value: str = field(repr=False)
    source: str  # ENVIRONMENT or DOTENV


def sources() -> Sources:
    """Where settings come from, the strongest first.

    Raises ConfigError where `.env` cannot be read.
    """
    path = env_file()
    try:
        return (ENVIRONMENT, os.environ), (DOTENV, dotenv_values(path, encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        # Without its cause, which holds the file.
        reason = f"{error.reason} at byte {error.start}"
        raise ConfigError(f"{path} is not UTF-8: {reason}") from None


def find(name: str, among: Sources | None = None) -> Found | None:
    """What the environment, else `.env`, holds under `name`; None where neither does.

    An empty value counts as absent. So that `kill_switch=true` stops trading too, a name in
    another case counts where the exact one is absent. `among` are `sources()`, for many names.
    Raises ConfigError as `sources` does.
    """
    folded = name.casefold()
    for source, values in sources() if among is None else among:
        others = (key for key in values if key != name and key.casefold() == folded)
        for key in (name, *others):
            if value := (values.get(key) or "").strip():
                return Found(value, source)
    return None


def load_settings() -> Settings:
    """The settings as they are now. Raises ConfigError naming each wrong variable."""
    among = sources()
    found = {one.name: find(one.name, among) for one in SETTINGS if one.is_field}
    try:
        return Settings.model_validate(
            {name: one.value for name, one in found.items() if one is not None}
        )
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}={fault['input']!r}: {fault['msg']}"
            for fault in error.errors()
        )
        raise ConfigError(f"the environment (or .env) holds a wrong setting: {faults}") from error


def variable(name: str) -> str:
    """What `find` finds under `name`; "" where there is nothing.

    For the names that settings choose at run time, such as a provider's `DEEPSEEK_BASE_URL`.
    Raises ConfigError where `.env` is not UTF-8.
    """
    found = find(name)
    return "" if found is None else found.value


def secret(name: str) -> SecretStr | None:
    """The key under `name`, wrapped so that no message or repr shows it; None where there is none.

    Raises ConfigError where `.env` is not UTF-8.
    """
    value = variable(name)
    return SecretStr(value) if value else None


_PASSWORD = re.compile(r":(?!//).*@", re.DOTALL)  # from the first colon to the last @
_USER = re.compile(r"(https?://)[^/@?#]*@", re.IGNORECASE)  # may be a token
_QUERY = re.compile(r"([?&][^=&#]*(?:key|token|pass|secret)[^=&#]*=)[^&#]*", re.IGNORECASE)


def without_password(url: str) -> str:
    """An address or database URL, even a malformed one, whose passwords and tokens are hidden.

    It would rather hide too much, as a port before a later @.
    """
    hidden = _USER.sub(rf"\1{HIDDEN}@", _PASSWORD.sub(f":{HIDDEN}@", url))
    return _QUERY.sub(rf"\1{HIDDEN}", hidden)
