"""What language models say: answers as they should be, and in the habits of several wires.

The market they speak about is `a_market`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

from hydra.clock import NS_PER_S
from hydra.engines.view import View
from hydra.market.bars import BarTable
from hydra.portfolio.intents import Side, Ticket
from tests.support.bars import START_NS, a_table, an_instrument
from tests.support.views import StillAccount, view_of

HOUR_NS = 3_600 * NS_PER_S
TIMEFRAMES = {"BTC-USD": (HOUR_NS, 4 * HOUR_NS), "ETH-USD": (HOUR_NS,), "XAU-USD": (HOUR_NS,)}


def a_ticket(number: int, symbol: str, side: Side, *, is_open: bool = True) -> Ticket:
    """An own ticket, or a pending order."""
    return Ticket(
        id=number,
        symbol=symbol,
        side=side,
        lots=Decimal(1),
        stop=None,
        target=None,
        is_open=is_open,
        entry=Decimal(100) if is_open else None,
        entry_ns=START_NS,
    )


def a_market(*tickets: Ticket) -> View:
    """BTC-USD at 65000/65010, ETH-USD at 3400/3401 in steps of 0.05, XAU-USD at 2650/2650.5.

    SOL-USD has no bar yet.
    """

    def table(
        symbol: str, closes: Sequence[float], spread: float, tick_size: str, start_ns: int
    ) -> BarTable:
        made = an_instrument(symbol, tick_size=tick_size)
        return a_table(symbol, closes, instrument=made, spread=spread, start_ns=start_ns)

    return view_of(
        [
            table("BTC-USD", [64_800, 65_000], 10, "0.01", START_NS),
            table("ETH-USD", [3_390, 3_400], 1, "0.05", START_NS),
            table("XAU-USD", [2_655, 2_650], 0.5, "0.01", START_NS),
            table("SOL-USD", [150, 151], 0.1, "0.01", START_NS + 10 * HOUR_NS),
        ],
        now_ns=START_NS + 2 * HOUR_NS,
        account=StillAccount(tickets=tickets),
    )


LONG: dict[str, object] = {
    "asset": "BTC-USD",
    "action": "open_long",
    "order_type": "market",
    "limit_price": None,
    "risk_percent": 0.5,
    "stop": 63900.5,
    "target": 67500,
    "expires_hours": None,
    "confidence": 0.64,
    "p_target_before_stop": 0.41,
    "expected_hold_hours": 36,
    "thesis": "Closes above the 20-day high on rising volume.",
    "invalidation": {
        "timeframe": "4h",
        "close_below": 64200,
        "close_above": None,
        "within_hours": 48,
        "text": "A 4h close back inside the range.",
    },
    "cited_inputs": ["BTC-USD 1h bars", "costs"],
    "ticket": None,
}
SHORT: dict[str, object] = {
    **LONG,
    "asset": "ETH-USD",
    "action": "open_short",
    "order_type": "limit",
    "limit_price": 3460.25,
    "risk_percent": 0.25,
    "stop": 3541,
    "target": 3280,
    "expires_hours": 12,
    "confidence": 0.55,
    "thesis": 'Fades the retest of 3,460: "lower highs" – funding is stretched → unwind.',
    "invalidation": None,
}
STOP_ENTRY: dict[str, object] = {
    **LONG,
    "asset": "XAU-USD",
    "order_type": "stop",
    "limit_price": 2681.5,
    "stop": 2655,
    "target": 2750,
    "invalidation": {"within_hours": 24, "text": "no follow-through"},
}
CLOSE: dict[str, object] = {
    "asset": "ETH-USD", "action": "close", "thesis": "Target zone reached.", "ticket": 7,
}  # fmt: skip
CLOSE_ALL: dict[str, object] = {**CLOSE, "asset": "BTC-USD", "ticket": None}
HOLD: dict[str, object] = {"asset": "BTC-USD", "action": "hold", "thesis": "Inside the range."}
HOLD_ALL: dict[str, object] = {"asset": "*", "action": "hold", "thesis": "No edge after costs."}
NULLS: dict[str, object] = dict.fromkeys(LONG) | {"cited_inputs": []}


def answer(*decisions: object) -> str:
    """The JSON of an answer, on one line."""
    return json.dumps({"decisions": list(decisions)})


def _pretty(*decisions: object) -> str:
    return json.dumps({"decisions": list(decisions)}, indent=2, ensure_ascii=False)


def _fenced(text: str, language: str = "json") -> str:
    return f"```{language}\n{text}\n```"


VALID: tuple[str, ...] = (
    answer(LONG),
    answer(LONG, SHORT, HOLD_ALL),
    answer(LONG, SHORT, STOP_ENTRY, CLOSE),
    answer(SHORT, CLOSE_ALL),
    answer(HOLD),
    answer(HOLD_ALL),
    answer(NULLS | HOLD),
    answer(NULLS | CLOSE),
    answer(),
    _pretty(LONG, SHORT),
    _fenced(_pretty(LONG)),
    _fenced(answer(SHORT), ""),
    _fenced(_pretty(STOP_ENTRY, HOLD), "JSON"),
    f"Here is my decision:\n\n{_fenced(_pretty(LONG))}\n\nLet me know if you need more detail.",
    f"BTC looks strong [1], {{risk}} is small. {answer(LONG)} That is all.",
    f"<think>\nTrend up, RSI 61. I could wait.\n</think>\n\n{answer(LONG)}",
    f"\ufeff{answer(CLOSE)}\n",
    f"{answer(LONG)}\n\n{answer(LONG)}",  # said twice, the same
    f'<tool_call>\n{{"name": "decide", "arguments": {answer(SHORT)}}}\n</tool_call>',
    json.dumps({"name": "decide", "arguments": answer(LONG, CLOSE)}),
    json.dumps({"name": "decide", "parameters": {"decisions": [HOLD]}}),
    json.dumps(answer(LONG, SHORT)),
    json.dumps({"decisions": json.dumps([LONG, HOLD])}),
    answer({**LONG, "stop": "63900.5", "target": "67500", "risk_percent": "0.50"}),
    answer({**CLOSE, "ticket": "7"}),
    answer({**CLOSE, "ticket": 7.0}),
    answer({**LONG, "stop": 6.39e4}).replace("63900.0", "6.39e4"),
    answer({**LONG, "thesis": "Zeile eins.\nZeile zwei: 突破 🚀 é"}),
    answer({**LONG, "thesis": "raw breaks"}).replace("raw breaks", "first line\nsecond\tline"),
    answer({**LONG, "asset": "btc/usd"}, {**SHORT, "asset": "ETHUSD"}),
    answer({"asset": "BTC-USD", "action": "open_long", "order_type": "market", "stop": 63000,
            "thesis": "Only what is needed."}),
)  # fmt: skip

# Readable in part or not at all, or senseless on the market.
ODD: tuple[str, ...] = (
    "",
    "I would stay flat today.",
    "I'm sorry, but I can't give financial advice.",
    "null",
    "[]",
    "{}",
    answer(LONG)[:-40],  # cut short
    _fenced(_pretty(LONG))[: 300],
    json.dumps([LONG, SHORT]),
    json.dumps(LONG),
    json.dumps({"trades": [LONG]}),
    json.dumps({"decisions": [LONG], "commentary": "bullish"}),
    json.dumps({"decisions": {"0": LONG}}),
    json.dumps({"decisions": [[LONG]]}),
    json.dumps({"decisions": ["buy BTC", None, 3]}),
    json.dumps({"rsi_14": [61.2, 63.0], "macd": 12.5}),
    f"Draft: {answer(LONG)}\nFinal: {answer(SHORT)}",
    answer(LONG, {**SHORT, "stop": "about 3.5k"}),
    answer({**LONG, "stop": "65k"}, {**SHORT, "target": "$3,280"}, HOLD),
    answer({**LONG, "risk_percent": "1.5%"}),
    answer({**LONG, "target": "67,500.00"}),
    answer({**LONG, "confidence": 64}),
    answer({**LONG, "action": "BUY"}),
    answer({**LONG, "leverage": 10}),
    answer({**LONG, "order_type": None}),
    answer({**LONG, "limit_price": 65000}),
    answer({**LONG, "stop": float("nan")}),
    answer({**LONG, "target": float("inf")}),
    answer({**LONG, "stop": 63000}).replace('"stop": 63000', '"stop": 63000, "stop": 66000'),
    answer({**LONG, "stop": 10**40}, {**SHORT, "target": 1e-300}),
    answer({**LONG, "thesis": "nul \x00 and half a pair \ud83d"}),
    answer({**LONG, "thesis": "x" * 5_000}),
    answer(*[HOLD] * 25),
    answer({**LONG, "asset": "DOGE-USD"}, {**LONG, "asset": "BTC"}),
    answer({**LONG, "stop": 66000}, {**SHORT, "stop": 3300}),
    answer({**LONG, "stop": None}, {**SHORT, "limit_price": None}),
    answer(LONG, LONG, {**LONG, "action": "open_short", "stop": 66500, "target": 60000}),
    answer({**LONG, "invalidation": {"text": "if it feels wrong"}}),
    answer({**LONG, "invalidation": {"timeframe": "7m", "close_below": 60000}}),
    answer({**LONG, "invalidation": {"timeframe": "4h", "close_below": 66000}}),
    str({"decisions": [LONG]}),  # Python's spelling, not JSON's
    '{"a":' * 400 + "1" + "}" * 400,
    json.dumps({"decisions": json.dumps(json.dumps([HOLD]))}),
)  # fmt: skip
