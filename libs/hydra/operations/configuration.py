"""The settings in force: value, where each came from, and names that look mistyped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from urllib.parse import urlsplit

from hydra.errors import ConfigError, StorageError
from hydra.operations.secrets import Secrets
from hydra.settings import (
    DOTENV,
    ENV_FILE,
    ENVIRONMENT,
    Found,
    Sources,
    env_file,
    find,
    load_settings,
    sources,
    without_password,
)
from hydra.storage.database import parse_url, sqlite_path
from hydra.variables import COMPOSE, SETTINGS, VAULT, Kind, Setting

DEFAULT = "default"
OWN_PREFIX = "HYDRA_"
ADDRESSES = {Kind.URL: ("http", "https"), Kind.SOCKET: ("ws", "wss")}
_LIKENESS = 0.85  # of a foreign name to one of ours, from which it is taken for a slip
_OWN_LIKENESS = 0.6  # of a name that is surely meant for us


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A setting as it counts now. `value` is fit to be shown: no secret, no password in it."""

    setting: Setting
    value: str  # "" where there is none; of a secret "set" or "not set"
    source: str  # environment, .env, default; of secrets also the file or vault


@dataclass(frozen=True, slots=True)
class Stranger:
    """A variable that nobody reads although its name looks like one of Hydra's."""

    name: str
    source: str
    nearest: str  # the known name most like it; "": none is


def in_force(more: Sequence[Setting] = ()) -> list[InForce]:
    """Every setting of the table, then `more`. Raises ConfigError on the first wrong value.

    The error names the variable, its value unless that is a secret, and what is wrong.
    """
    settings = load_settings()
    computed = {
        "HYDRA_ENV_FILE": str(env_file()),
        "HYDRA_HOME": str(settings.home),
        "HYDRA_DB_URL": settings.db_url,
        "HYDRA_VAULT": str(settings.vault_file),
        "HYDRA_AUDIT": str(settings.audit_file),
        "HYDRA_RECORDINGS": str(settings.recordings_folder),
    }
    among, kept = sources(), Secrets()
    found = [
        _in_force(one, _found(one, among, kept), computed.get(one.name, one.default))
        for one in (*SETTINGS, *more)
    ]
    # However it was written: 1, on, TRUE.
    switch = "true" if settings.kill_switch else "false"
    return [replace(f, value=switch) if f.setting.kind is Kind.SWITCH else f for f in found]


def _found(setting: Setting, among: Sources, kept: Secrets) -> Found | None:
    """What the setting is now; secrets may lie in files and in the vault, too."""
    if setting.name == ENV_FILE:
        return find(setting.name, among[:1])
    if setting.kind is not Kind.SECRET or setting.group == COMPOSE:
        return find(setting.name, among)
    # The password of the vault is not in the vault.
    secret = kept.outside(setting.name) if setting.group == VAULT else kept.find(setting.name)
    if secret is None:
        return None
    source = {"the environment": ENVIRONMENT, str(env_file()): DOTENV}.get(secret.source)
    return Found(secret.value.get_secret_value(), source or secret.source)


def _in_force(setting: Setting, found: Found | None, default: str) -> InForce:
    if found is None:
        value = "not set" if setting.kind is Kind.SECRET else default
        return InForce(setting=setting, value=without_password(value), source=DEFAULT)
    fault = _fault(setting, found.value)
    shown = _shown(setting, found.value)
    if fault:
        told = "" if setting.kind is Kind.SECRET else f"={shown!r}"
        raise ConfigError(f"{setting.name}{told} ({found.source}): {fault}")
    return InForce(setting=setting, value=shown, source=found.source)


def _shown(setting: Setting, value: str) -> str:
    if setting.kind is Kind.SECRET:
        return "set"
    if setting.kind is Kind.CHOICE:
        return value.lower()
    is_address = setting.kind in (Kind.DATABASE, *ADDRESSES)
    return without_password(value) if is_address else value


def _fault(setting: Setting, value: str) -> str:
    """What is wrong with the value of a variable that `Settings` does not check; "": nothing."""
    if setting.kind in ADDRESSES:
        return _fault_of_url(value, ADDRESSES[setting.kind])
    if setting.kind is Kind.PORT:
        is_port = value.isascii() and value.isdigit() and 0 < int(value) < 65_536
        return "" if is_port else "a port is a whole number from 1 to 65535"
    if setting.kind is Kind.DATABASE:
        try:
            sqlite_path(parse_url(value))
        except StorageError as error:
            return str(error)
    if setting.kind is Kind.SECRET and any(not " " <= letter < "\x7f" for letter in _plain(value)):
        # Such as the curly quotes of a text processor, which no HTTP header can carry.
        return "it has letters that no key has: copy it again (its value is not shown)"
    return ""


def _plain(secret: str) -> str:
    """A secret without the ends of its lines, which a key in PEM has and no other."""
    return "".join(secret.splitlines()) if secret.startswith("-----BEGIN ") else secret


def _fault_of_url(value: str, schemes: tuple[str, str]) -> str:
    try:
        parts = urlsplit(value)
        is_address = parts.scheme in schemes and bool(parts.hostname)
        _ = parts.port  # raises where it is no number
    except ValueError:
        # Python's own words may quote the address, and with it a password.
        return "its host or port cannot be read"
    plain, encrypted = schemes
    return "" if is_address else f"it must be an address of {plain}:// or {encrypted}://"


def strangers(known: Sequence[Setting], among: Sources | None = None) -> list[Stranger]:
    """Variables that look meant for Hydra and are not: `HYDRA_…`, near misses, all of `.env`."""
    names = {setting.name.casefold(): setting.name for setting in known}
    pointers = {f"{one.name}_FILE".casefold() for one in known if one.kind is Kind.SECRET}
    found = []
    for source, values in sources() if among is None else among:
        for name in sorted(values):
            if name.casefold() in names or name.casefold() in pointers:
                continue
            is_ours = name.upper().startswith(OWN_PREFIX) or source == DOTENV
            cutoff = _OWN_LIKENESS if is_ours else _LIKENESS
            near = get_close_matches(name.upper(), names.values(), n=1, cutoff=cutoff)
            if is_ours or near:
                found.append(Stranger(name, source, near[0] if near else ""))
    return found


def example(known: Sequence[Setting] = SETTINGS) -> str:
    """The text of `.env.example`: every setting with what it is for, none of them set."""
    lines = [
        "# Copy to .env, beside this file. What the environment says wins over it.",
        "# Keep it to yourself: chmod 600 .env",
        "#",
        "# A key or password may instead lie in a file, of which NAME_FILE is the path, or in",
        "# the vault (docs/vault.md). A gladiator plays as soon as its key is there: its questions",
        "# then cost real money, at most its daily_budget_usd a day (docs/gladiators.md).",
    ]
    group = ""
    for one in known:
        if one.name == ENV_FILE:  # no file can name itself
            continue
        if one.group != group:
            group = one.group
            lines += ["", f"# --- {group}"]
        lines += ["", f"# {one.about}"]
        words = one.default.startswith("(")
        if words:
            lines.append(f"# Default: {one.default[1:-1]}")
        lines.append(f"#{one.name}={'' if words else one.default}")
    return "\n".join(lines) + "\n"
