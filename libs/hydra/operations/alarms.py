"""Alarms: what an operator must know now, told once, told again while it lasts, and taken back.

What is amiss is found elsewhere, again and again, as conditions; this remembers since when each
has held, and says what is news.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from hydra.clock import NS_PER_S

REMIND_S = 3_600.0
COMMAND_S = 30.0  # that an operator's command may take


class Condition(NamedTuple):
    """Something amiss, now."""

    key: str  # what it is: the same while it lasts, though its words may change
    text: str
    after_s: float = 0.0  # for how long it must have held to be worth an alarm


class News(StrEnum):
    """What there is to tell of an alarm."""

    RAISED = "alarm"
    LASTS = "alarm lasts"
    OVER = "alarm over"


@dataclass(frozen=True, slots=True)
class Notice:
    """To be told to the operator."""

    news: News
    key: str
    text: str
    lasted_s: float

    def __str__(self) -> str:
        lasted = f" ({self.lasted_s:.0f} s)" if self.news is not News.RAISED else ""
        return f"{self.news}: {self.text}{lasted}"


@dataclass(slots=True)
class _Held:
    since_ns: int
    text: str
    told_ns: int | None = None  # None: not yet


class Alarms:
    """Instants are ns of a clock that only goes forward."""

    def __init__(self, *, remind_s: float = REMIND_S) -> None:
        self._remind_ns = round(remind_s * NS_PER_S)
        self._held: dict[str, _Held] = {}

    def look(self, conditions: Iterable[Condition], now_ns: int) -> list[Notice]:
        """What is news, given all that is amiss at `now_ns`."""
        notices: list[Notice] = []
        found = {one.key: one for one in conditions}
        for key in [key for key in self._held if key not in found]:
            held = self._held.pop(key)
            if held.told_ns is not None:
                notices.append(_notice(News.OVER, key, held, now_ns))
        for key, one in found.items():
            held = self._held.setdefault(key, _Held(now_ns, one.text))
            held.text = one.text
            if held.told_ns is None:
                if now_ns - held.since_ns < one.after_s * NS_PER_S:
                    continue
                notices.append(_notice(News.RAISED, key, held, now_ns))
            elif now_ns - held.told_ns < self._remind_ns:
                continue
            else:
                notices.append(_notice(News.LASTS, key, held, now_ns))
            held.told_ns = now_ns
        return notices

    def standing(self) -> list[str]:
        """The texts of the alarms that were raised and last."""
        return [held.text for held in self._held.values() if held.told_ns is not None]


def _notice(news: News, key: str, held: _Held, now_ns: int) -> Notice:
    return Notice(news, key, held.text, (now_ns - held.since_ns) / NS_PER_S)


def run_command(command: Sequence[str], notice: Notice) -> str:
    """Give the notice to an operator's command, on its standard input; no shell is between.

    Returns what went wrong, "" where nothing did.
    """
    try:
        done = subprocess.run(  # noqa: S603, the operator's own command
            command, input=f"{notice}\n".encode(), capture_output=True, timeout=COMMAND_S,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-200:]
        return f"{command[0]} ended with {done.returncode}: {said}"
    return ""
