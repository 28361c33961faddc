"""Models of tests: they read the brief that they are sent and decide by a rule of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from tests.support.llm_server import Brain, Heard, Say

_MARKET = re.compile(
    r'asset "(?P<asset>[^"]+)".*?\nbid (?P<bid>[\d.]+), ask (?P<ask>[\d.]+)', re.DOTALL
)
_TICKET = re.compile(r"^ticket (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Market:
    """One market block of a brief."""

    asset: str
    bid: float
    ask: float

    def open(self, side: str = "open_long", **changes: Any) -> dict[str, object]:
        """A sound decision to open: stop 3 % away, target twice as far."""
        sign = 1 if side == "open_long" else -1
        entry = self.ask if sign > 0 else self.bid
        decision: dict[str, object] = {
            "asset": self.asset, "action": side, "order_type": "market", "limit_price": None,
            "risk_percent": 0.5, "stop": round(entry * (1 - 0.03 * sign), 2),
            "target": round(entry * (1 + 0.06 * sign), 2), "expires_hours": None,
            "confidence": 0.6, "p_target_before_stop": 0.35, "expected_hold_hours": 24,
            "thesis": "the market block says so", "invalidation": None,
            "cited_inputs": ["market 1"], "ticket": None,
        }  # fmt: skip
        return decision | changes


def hold(asset: str = "*", thesis: str = "nothing to gain") -> dict[str, object]:
    return {"asset": asset, "action": "hold", "thesis": thesis}


def markets(heard: Heard) -> list[Market]:
    """The market blocks of the question."""
    text = heard.messages[0][1]
    return [Market(m["asset"], float(m["bid"]), float(m["ask"])) for m in _MARKET.finditer(text)]


def drawn(heard: Heard, *, most: int) -> int:
    """A number below `most` from the texts of the question and who was asked: no randomness."""
    asked = "".join(text for _, text in heard.messages)
    return int.from_bytes(sha256(f"{heard.provider}{asked}".encode()).digest()[:8]) % most


def lively(heard: Heard) -> Say:
    """Trades about every third time, on either side, and closes now and then."""
    shown = markets(heard)
    draw = drawn(heard, most=6 * len(shown))
    one = shown[draw % len(shown)]
    kind = draw // len(shown)
    if kind < 2:
        side = ("open_long", "open_short")[kind]
        wrong = "close_below" if kind == 0 else "close_above"
        beyond = one.bid * (0.98 if kind == 0 else 1.02)
        invalidation = {
            "timeframe": "4h", "close_below": None, "close_above": None, "within_hours": 72,
            "text": "the move fails",
        } | {wrong: round(beyond, 2)}  # fmt: skip
        return Say.decisions({"decisions": [one.open(side, invalidation=invalidation)]})
    if kind == 2:
        return Say.decisions(
            {"decisions": [{"asset": one.asset, "action": "close", "thesis": "enough"}]}
        )
    return Say.decisions({"decisions": [hold()]})


def by_turns(*says: Say) -> Brain:
    """One after the other, whoever asks, and from the first again."""
    turn = iter(range(10**9))
    return lambda heard: says[next(turn) % len(says)]
