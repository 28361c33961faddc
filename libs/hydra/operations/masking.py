"""Keeps secrets out of what is written: known values wherever they stand, and telling names.

mask = Mask(known_secrets())
mask.hide("call with sk-12…")          # "call with ***"
mask.value({"api_key": "sk-12…"})      # {"api_key": "***"}
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus

from hydra.operations import secrets
from hydra.settings import HIDDEN, Sources, sources
from hydra.variables import BY_NAME, Kind

SHORTEST = 4  # letters of a secret that is looked for in texts; shorter ones are in every text
_DEEPEST = 6  # of containers within containers
_PIECE = 8  # least letters of a line of a secret of several lines

_TELLING = re.compile(
    r"key|token|passw|passphrase|secret|authorization|credential|cookie|(^|_)pass($|_)|private",
    re.IGNORECASE,
)
# Counts of a model's tokens are figures that an operator needs.
_COUNTED = re.compile(r"tokens|per_mtok", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|PASSWORD|PASSWD|PASS|SECRET|CREDENTIALS?)$")

# Each keeps its first group. All repetitions are bounded: texts may come from anybody.
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Authorization: Bearer …, in headers as they are printed
        r"(authorization[\"']?\s{0,9}[:=]\s{0,9}[\"']?)(?:(?:bearer|basic|token)\s+)?[^\s\"',;}]+",
        r"(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}",
        # api_key=…, password: …, "x-api-key": "…"
        r"((?:api[_-]?key|access[_-]?key|token|passw(?:or)?d|secret)[\"']?\s{0,9}[:=]\s{0,9}[\"']?)"
        r"[^\s\"',;&}]+",
        # postgresql://user:…@host (up to the last @), https://…@host
        r"(://[^\s/@:]{0,256}:)\S{0,512}(?=@)",
        r"(\bhttps?://)[^\s/@:]{1,512}(?=@)",
        # What OpenAI, Anthropic, xAI, OpenRouter, Google and GitHub begin their keys with
        r"(\b)(?:(?:sk|xai|ghp|gho)[-_]|github_pat_|AIza)[A-Za-z0-9_-]{16,}",
    )
)


# What every one of them needs: looked for once, most texts are done with.
_HINT = re.compile(
    r"authorization|bearer|key|token|passw|secret|://|sk[-_]|xai[-_]|gh[po][-_]|github_pat_|AIza",
    re.IGNORECASE,
)


_SECRETS = [one.name for one in BY_NAME.values() if one.kind is Kind.SECRET]


class Mask:
    """Hides secrets in texts and values. More can be told later, such as what a vault gave."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(known)

    def add(self, known: Iterable[str]) -> None:
        """Hide these too, as they are and as JSON, Python, URLs and Basic headers write them."""
        for secret in known:
            pieces = [secret, *(line for line in secret.splitlines() if len(line) >= _PIECE)]
            for piece in pieces:
                self._known |= {form for form in _forms(piece) if len(form) >= SHORTEST}
        if self._known:
            # The longest first: one may begin with another.
            longest = sorted(self._known, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(re.escape(form) for form in longest))

    def hide(self, text: str) -> str:
        """The text without secrets."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        if _HINT.search(text):
            for pattern in _PATTERNS:
                text = pattern.sub(rf"\g<1>{HIDDEN}", text)
        return text

    def value(self, value: object, name: str = "", depth: int = 0) -> object:
        """A value of JSON's kinds that says the same without secrets; `name` is its key.

        Of other kinds their text is taken.
        """
        if value is None or isinstance(value, bool):
            return value
        if name and _is_telling(name):
            return HIDDEN
        if isinstance(value, int | float):
            return value if str(value) not in self._known else HIDDEN
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            return {
                self.hide(str(key)): self.value(one, str(key), depth + 1)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
            return [self.value(one, "", depth + 1) for one in value]
        if isinstance(value, bytes | bytearray):
            return self.hide(value.decode("utf-8", "backslashreplace"))
        return self.hide(str(value))


@lru_cache(maxsize=1024)
def _is_telling(name: str) -> bool:
    """Whether what stands under this name is a secret."""
    return bool(_TELLING.search(name)) and not _COUNTED.search(name)


def _forms(secret: str) -> Iterable[str]:
    """How a secret may be written."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield b64encode(secret.encode()).decode().rstrip("=")


def known_secrets(among: Sources | None = None) -> set[str]:
    """Secrets of this process: those of the table, wherever they lie, and all of the vault.

    From the environment and `.env` also every name that ends as secrets do (…_KEY, …_TOKEN,
    …_PASSWORD). Of `among`, where it is given, alone.
    """
    found = set() if among is not None else secrets.values(_SECRETS)
    for _, values in sources() if among is None else among:
        for name, value in values.items():
            setting = BY_NAME.get(name)
            is_secret = setting.kind is Kind.SECRET if setting else _SECRET_VARIABLE.search(name)
            if is_secret and value and not _is_path(value):
                found.add(value.strip())
    return found


def _is_path(value: str) -> bool:
    """Whether the value only says where a secret lies (SSH_AUTH_SOCK, …_KEY=/run/secrets/x)."""
    return value.startswith(os.sep) and len(value) < 256 and "\n" not in value
