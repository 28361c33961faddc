"""The table of settings: every variable that Hydra reads, what it is for, what holds without it.

`Settings`, `hydra config`, `.env.example` and docs/configuration.md all follow this table; tests
fail where one of them lacks an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a value must be."""

    PATH = "path"
    DATABASE = "database"  # a database URL, which may hold a password
    SWITCH = "switch"  # true or false
    CHOICE = "choice"  # one of `choices`, in any case
    URL = "url"  # http:// or https://
    SOCKET = "socket"  # ws:// or wss://
    NUMBER = "number"  # whole, 0 or more
    PORT = "port"  # 1 to 65535
    SECONDS = "seconds"  # a number above 0
    COMMAND = "command"  # a program and its arguments, as a shell splits them
    SECRET = "secret"  # noqa: S105  # the name of the kind; its values are never shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable of the environment or `.env`."""

    name: str
    group: str
    kind: Kind
    about: str  # one line
    default: str = ""  # the value itself, or words in (…) where it is computed; "": nothing
    choices: tuple[str, ...] = ()
    is_field: bool = False  # of `hydra.settings.Settings`; else read by name when it is needed


BASICS, LOGS, KEPT, MARKETS = "Basics", "Logs", "What is kept", "Markets"
MODELS, VAULT, COMPOSE = "Language models", "Vault", "docker compose"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "console")


def _key(name: str, of: str) -> Setting:
    return Setting(name=name, group=MODELS, kind=Kind.SECRET, about=f"The key for {of}.")


def _address(name: str, of: str, default: str, *, more: str = "") -> Setting:
    about = f"Where {of} is asked.{more}"
    return Setting(name=name, group=MODELS, kind=Kind.URL, about=about, default=default)


def _venue(name: str, kind: Kind, about: str, default: str) -> Setting:
    return Setting(name=name, group=MARKETS, kind=kind, about=about, default=default, is_field=True)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="HYDRA_ENV_FILE", group=BASICS, kind=Kind.PATH,
        about="The file that is read for .env; only the environment can name it.",
        default="(.env in the project's folder)",
    ),
    Setting(
        name="HYDRA_HOME", group=BASICS, kind=Kind.PATH, is_field=True,
        about="The folder under which data/hydra lies.",
        default="(the project's folder; ~/.hydra where installed without sources)",
    ),
    Setting(
        name="HYDRA_DB_URL", group=BASICS, kind=Kind.DATABASE, is_field=True,
        about="The database: sqlite:////path/file or postgresql://user:password@host/name.",
        default="(SQLite, data/hydra/hydra.db of HYDRA_HOME)",
    ),
    Setting(
        name="HYDRA_VAULT", group=BASICS, kind=Kind.PATH, is_field=True,
        about="The vault, a file of encrypted secrets.",
        default="(data/hydra/vault.json of HYDRA_HOME)",
    ),
    Setting(
        name="KILL_SWITCH", group=BASICS, kind=Kind.SWITCH, is_field=True,
        about="true: no engine may trade, and open tickets are closed.",
        default="false",
    ),
    Setting(
        name="HYDRA_MEMORY_LIMIT_MB", group=BASICS, kind=Kind.NUMBER, is_field=True,
        about="How much memory the engines of hydra run may take in one decision (Linux); 0: any.",
        default="1024",
    ),
    Setting(
        name="HYDRA_GLADIATORS", group=BASICS, kind=Kind.PATH, is_field=True,
        about="A TOML file of gladiators that adds to those that ship, or changes them.",
    ),
    Setting(
        name="HYDRA_AUDIT", group=BASICS, kind=Kind.PATH, is_field=True,
        about="The audit trail, a file of JSON lines.",
        default="(data/hydra/trade_audit_log.jsonl of HYDRA_HOME)",
    ),
    Setting(
        name="HYDRA_RECORDINGS", group=BASICS, kind=Kind.PATH, is_field=True,
        about="The folder in which hydra run --record keeps what the market told.",
        default="(data/hydra/recordings of HYDRA_HOME)",
    ),
    Setting(
        name="LOG_LEVEL", group=LOGS, kind=Kind.CHOICE, is_field=True, choices=LOG_LEVELS,
        about="The least that is logged: debug, info, warning or error.",
        default="info",
    ),
    Setting(
        name="LOG_FORMAT", group=LOGS, kind=Kind.CHOICE, is_field=True, choices=LOG_FORMATS,
        about="json: one object a line, for programs; console: for people.",
        default="json",
    ),
    Setting(
        name="LOG_FILE", group=LOGS, kind=Kind.PATH, is_field=True,
        about="Where seasons log to; hydra replay --log FILE goes before it.",
    ),
    Setting(
        name="HYDRA_ALARM_AFTER_S", group=LOGS, kind=Kind.SECONDS, is_field=True,
        about="How long prices may be unfit in hydra run before the operator is alarmed.",
        default="300",
    ),
    Setting(
        name="HYDRA_ALARM_COMMAND", group=LOGS, kind=Kind.COMMAND, is_field=True,
        about="A program that gets every alarm of hydra run, one line on its standard input.",
    ),
    Setting(
        name="HYDRA_KEEP_LOGS_DAYS", group=KEPT, kind=Kind.NUMBER, is_field=True, default="30",
        about="How long old logs and states of finished seasons are kept; 0: for ever.",
    ),
    Setting(
        name="HYDRA_KEEP_RECORDINGS_DAYS", group=KEPT, kind=Kind.NUMBER, is_field=True, default="0",
        about="How long recorded days of the feeds are kept; 0: for ever.",
    ),
    _venue(
        "COINBASE_REST_URL", Kind.URL, "Where Coinbase is asked for candles.",
        "https://api.coinbase.com",
    ),
    _venue(
        "BINANCE_REST_URL", Kind.URL,
        "Where Binance is asked for candles: its address for market data alone.",
        "https://data-api.binance.vision",
    ),
    _venue(
        "BYBIT_REST_URL", Kind.URL, "Where Bybit is asked for candles.", "https://api.bybit.com",
    ),
    _venue(
        "COINBASE_WS_URL", Kind.SOCKET, "Where Coinbase tells books and trades.",
        "wss://advanced-trade-ws.coinbase.com",
    ),
    _venue(
        "BINANCE_WS_URL", Kind.SOCKET, "Where Binance tells changes of books, and trades.",
        "wss://stream.binance.com:9443/stream",
    ),
    _venue(
        "BYBIT_WS_URL", Kind.SOCKET, "Where Bybit tells books and trades.",
        "wss://stream.bybit.com/v5/public/spot",
    ),
    _venue(
        "OANDA_REST_URL", Kind.URL,
        "Where OANDA is asked for candles; of a real account https://api-fxtrade.oanda.com.",
        "https://api-fxpractice.oanda.com",
    ),
    _venue(
        "OANDA_STREAM_URL", Kind.URL,
        "Where OANDA tells prices; of a real account https://stream-fxtrade.oanda.com.",
        "https://stream-fxpractice.oanda.com",
    ),
    Setting(
        name="OANDA_ACCOUNT_ID", group=MARKETS, kind=Kind.SECRET,
        about="The account at OANDA whose prices are told, such as 101-004-1234567-001.",
    ),
    Setting(
        name="OANDA_API_TOKEN", group=MARKETS, kind=Kind.SECRET,
        about="The token of that account, without which OANDA tells nothing.",
    ),
    Setting(
        name="COINBASE_API_KEY_NAME", group=MARKETS, kind=Kind.SECRET,
        about="The name of a key of Coinbase's, organizations/…/apiKeys/…; no price needs it.",
    ),
    Setting(
        name="COINBASE_API_PRIVATE_KEY", group=MARKETS, kind=Kind.SECRET,
        about="The key itself, an EC key in PEM, which signs subscriptions; \\n may end its lines.",
    ),
    _key("DEEPSEEK_API_KEY", "DeepSeek"),
    _key("ANTHROPIC_API_KEY", "Anthropic"),
    _key("XAI_API_KEY", "xAI"),
    _key("GOOGLE_API_KEY", "Google"),
    _key("OPENAI_API_KEY", "OpenAI"),
    _key("OPENROUTER_API_KEY", "OpenRouter"),
    _address("DEEPSEEK_BASE_URL", "DeepSeek", "https://api.deepseek.com"),
    _address("ANTHROPIC_BASE_URL", "Anthropic", "https://api.anthropic.com"),
    _address("XAI_BASE_URL", "xAI", "https://api.x.ai/v1"),
    _address("GOOGLE_BASE_URL", "Google", "https://generativelanguage.googleapis.com"),
    _address("OPENAI_BASE_URL", "OpenAI", "https://api.openai.com/v1"),
    _address("OPENROUTER_BASE_URL", "OpenRouter", "https://openrouter.ai/api/v1"),
    _address(
        "OLLAMA_BASE_URL", "Ollama", "http://localhost:11434/v1",
        more=" Its gladiator plays where this is set.",
    ),
    Setting(
        name="TRADING_VAULT_PASSWORD", group=VAULT, kind=Kind.SECRET,
        about="The master password of the vault; better in a file that NAME_FILE names.",
    ),
    Setting(
        name="TRADING_VAULT_NEW_PASSWORD", group=VAULT, kind=Kind.SECRET,
        about="The password to come, for hydra vault rotate.",
    ),
    Setting(
        name="HYDRA_DB_PORT", group=COMPOSE, kind=Kind.PORT, default="5432",
        about="The local port of the PostgreSQL that make up starts.",
    ),
    Setting(
        name="HYDRA_DB_PASSWORD", group=COMPOSE, kind=Kind.SECRET, default="(hydra)",
        about="The password of the PostgreSQL that make up starts.",
    ),
)  # fmt: skip

BY_NAME = {setting.name: setting for setting in SETTINGS}
