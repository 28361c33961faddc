"""Gladiators by name: a few lines of settings each, those that ship and those of the user.

`gladiators.toml` beside this file has the ones that ship. A file of the user's, with the same
tables, adds gladiators or replaces single values; `enabled = false` takes one out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from hydra.clock import NS_PER_DAY, NS_PER_S
from hydra.errors import ConfigError
from hydra.market.timeframes import timeframe_ns

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
MOST_REPLICAS = 100


class Gladiator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one gladiator plays. Raises ConfigError on figures that make no sense."""

    name: str
    provider: str  # deepseek, anthropic, xai, google, openai, openrouter, ollama
    model: str
    base_url: str = ""  # "": the provider's setting, as DEEPSEEK_BASE_URL
    key_env: str = ""  # the variable that holds its key; "": the provider's own
    prompt: str = "v1"  # version: a file of `prompts/`
    every: str = "4h"  # how often it is asked, in the market's time
    timeframes: tuple[str, ...] = ("1h", "1d")  # of the bars it sees, the finer first; two at most
    deadline_s: float = 60.0  # of a whole decision, its repair included
    latency_s: float | None = None  # from question to answer; None: as measured, whole seconds
    max_output_tokens: int = 8_000  # thinking included
    prompt_tokens: int = 9_000  # most of a prompt, schema included; what is too much is trimmed
    temperature: float | None = None  # None: the model's own
    seed: int | None = None  # sent where the provider takes one
    daily_budget_usd: Decimal = Decimal(1)  # real money on a day of the machine's clock, UTC
    usd_per_mtok_in: Decimal | None = None  # a million tokens; None: the price table's
    usd_per_mtok_out: Decimal | None = None
    cutoff: date | None = None  # last day that the model may have read about; None: unknown
    replicas: int = 1
    lessons: bool = True  # it is shown what came of its trades
    reflect: bool = False  # a further call after trades close puts the lessons into words
    calls_per_minute: float = 60.0  # to its provider, shared by all who use it: the least counts
    calls_at_once: int = 8  # likewise
    enabled: bool = True
    only_with: str = ""  # plays only where this variable is set; "": always

    def __post_init__(self) -> None:
        _check(self)

    @property
    def every_s(self) -> int:
        """Seconds between two questions."""
        return timeframe_ns(self.every) // NS_PER_S

    @property
    def cutoff_ns(self) -> int | None:
        """The end of the last day that the model may have read about, UTC."""
        if self.cutoff is None:
            return None
        return (self.cutoff - date(1970, 1, 1)).days * NS_PER_DAY + NS_PER_DAY

    def names(self) -> tuple[str, ...]:
        """Of its replicas: claude, or claude#1, claude#2, …"""
        if self.replicas == 1:
            return (self.name,)
        return tuple(f"{self.name}#{i}" for i in range(1, self.replicas + 1))


def _check(one: Gladiator) -> None:
    def refuse(field: str, must: str) -> None:
        raise ConfigError(f"gladiator {one.name}: {field} {getattr(one, field)!r} must be {must}")

    if not _NAME.fullmatch(one.name):
        raise ConfigError(
            f"gladiator {one.name!r}: a name has up to 32 of a-z, 0-9, '_', '-' and begins with"
            " a letter"
        )
    if not one.model.strip():
        refuse("model", "the id of a model")
    for field in ("key_env", "only_with"):
        value = getattr(one, field)
        if value and not _VARIABLE.fullmatch(value):
            refuse(field, "the NAME of an environment variable, never a key itself")
    if one.base_url and not one.base_url.startswith(("http://", "https://")):
        refuse("base_url", "an http:// or https:// address")
    if one.every_s < 60:
        refuse("every", "at least 1m")
    if not 1 <= len(one.timeframes) <= 2:
        refuse("timeframes", "one or two lengths of a bar")
    lengths = [timeframe_ns(text) for text in one.timeframes]
    if sorted(lengths) != lengths or len(set(lengths)) != len(lengths):
        refuse("timeframes", "different lengths, the finer first")
    if timeframe_ns(one.every) % lengths[0]:
        refuse("timeframes", f"such that the first fits into every {one.every} without a rest")
    for field, least, most in (
        ("deadline_s", 1.0, 3_600.0),
        ("max_output_tokens", 100, 200_000),
        ("prompt_tokens", 5_000, 200_000),
        ("replicas", 1, MOST_REPLICAS),
        ("calls_per_minute", 0.1, 100_000.0),
        ("calls_at_once", 1, 10_000),
        ("daily_budget_usd", 0, 1_000_000),
    ):
        if not least <= getattr(one, field) <= most:
            refuse(field, f"from {least} to {most:,}")
    for field, most in (
        ("latency_s", 86_400.0), ("temperature", 2.0),
        ("usd_per_mtok_in", 10_000), ("usd_per_mtok_out", 10_000),
    ):  # fmt: skip
        value = getattr(one, field)
        if value is not None and not 0 <= value <= most:
            refuse(field, f"from 0 to {most:,}")
    if (one.usd_per_mtok_in is None) != (one.usd_per_mtok_out is None):
        raise ConfigError(f"gladiator {one.name}: usd_per_mtok_in and usd_per_mtok_out go together")


def load_roster(path: Path | None = None) -> dict[str, Gladiator]:
    """All gladiators that are enabled, by name: those that ship, with the file's over them.

    Raises ConfigError naming file, gladiator and field.
    """
    shipped = resources.files("hydra.engines.llm").joinpath("gladiators.toml")
    tables = _tables(shipped.read_text("utf-8"), "gladiators.toml of Hydra")
    if path is not None:
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"the gladiators of {path} cannot be read: {error}") from error
        for name, table in _tables(text, str(path)).items():
            tables[name] = tables.get(name, {}) | table
    where = str(path) if path is not None else "gladiators.toml of Hydra"
    roster = {name: _gladiator(name, table, where) for name, table in tables.items()}
    return {name: one for name, one in roster.items() if one.enabled}


def _tables(text: str, where: str) -> dict[str, dict[str, Any]]:
    try:
        parsed = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is no TOML: {error}") from error
    tables = parsed.pop("gladiators", {})
    if parsed:
        raise ConfigError(
            f"{where}: unknown {', '.join(parsed)}; gladiators are tables [gladiators.NAME]"
        )
    if not isinstance(tables, Mapping) or not all(isinstance(t, dict) for t in tables.values()):
        raise ConfigError(f"{where}: gladiators are tables [gladiators.NAME]")
    return dict(tables)


def _gladiator(name: str, table: dict[str, Any], where: str) -> Gladiator:
    try:
        return msgspec.convert(
            {"name": name} | table, Gladiator, strict=False, builtin_types=(Decimal, date)
        )
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: gladiator {name}: {error}") from error
