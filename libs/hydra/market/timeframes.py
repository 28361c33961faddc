"""Lengths of bars: 1m, 4h, 1d, in and out of nanoseconds."""

from __future__ import annotations

import re

from hydra.clock import NS_PER_S
from hydra.errors import ConfigError

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_TEXT = re.compile(r"(\d+)\s*([smhdw])", re.IGNORECASE)


def timeframe_ns(text: str) -> int:
    """Nanoseconds of a length such as 30s, 1m, 4h, 1d or 1w.

    Raises ConfigError on anything else.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{text!r} is no length of a bar; write 30s, 1m, 15m, 4h, 1d or 1w")
    return int(match[1]) * _SECONDS[match[2].lower()] * NS_PER_S


def timeframe_name(length_ns: int) -> str:
    """The shortest name of a length: 1m, 90m, 4h, 1d, 1w; 0.5s below whole seconds."""
    for unit, seconds in reversed(_SECONDS.items()):
        count, rest = divmod(length_ns, seconds * NS_PER_S)
        if count and not rest:
            return f"{count}{unit}"
    return f"{length_ns / NS_PER_S:g}s"
