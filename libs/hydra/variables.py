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
    PORT = "port"  # 1 to 65535
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


BASICS, LOGS, MODELS, COMPOSE = "Basics", "Logs", "Language models", "docker compose"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("json", "console")


def _key(name: str, of: str) -> Setting:
    return Setting(name=name, group=MODELS, kind=Kind.SECRET, about=f"The key for {of}.")


def _address(name: str, of: str, default: str, *, more: str = "") -> Setting:
    about = f"Where {of} is asked.{more}"
    return Setting(name=name, group=MODELS, kind=Kind.URL, about=about, default=default)


SETTINGS: tuple[Setting, ...] = (
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
        name="KILL_SWITCH", group=BASICS, kind=Kind.SWITCH, is_field=True,
        about="true: no engine may trade, and open tickets are closed.",
        default="false",
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
        name="HYDRA_DB_PORT", group=COMPOSE, kind=Kind.PORT, default="5432",
        about="The local port of the PostgreSQL that make up starts.",
    ),
    Setting(
        name="HYDRA_DB_PASSWORD", group=COMPOSE, kind=Kind.SECRET, default="(hydra)",
        about="The password of the PostgreSQL that make up starts.",
    ),
)  # fmt: skip

BY_NAME = {setting.name: setting for setting in SETTINGS}
