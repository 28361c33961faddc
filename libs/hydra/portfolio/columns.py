"""The records that the compiled step works on, and the codes in them.

Money is 1e-8 USD, prices are ticks, volumes lot steps, instants ns since 1970 UTC; 0 means
"none" for prices, steps to close and instants. Everything but the slippage is int64.
"""

from __future__ import annotations

import numpy as np

from hydra.market.bars import DEPTH_LEVELS


def _int64(*names: str) -> list[tuple[str, str]]:
    return [(name, "<i8") for name in names]


TICKET = np.dtype(
    _int64(
        "state",  # FREE, PENDING or OPEN
        "id",
        "symbol",
        "side",  # +1 or -1
        "steps",
        "order",  # MARKET, LIMIT or STOP
        "price",  # of a limit or stop order
        "stop_at",
        "target_at",
        "arrives_ns",  # when the order reaches the market
        "expires_ns",
        "worst_entry",  # the entry is cancelled rather than filled worse than this
        "entry_price",
        "entry_ns",
        "close_steps",  # steps that somebody asked to close
        "close_arrives_ns",
        "close_reason",
        "new_stop",  # of an amendment under way; -1: unchanged
        "new_target",
        "amend_arrives_ns",  # 0: no amendment under way
    )
)
FREE, PENDING, OPEN = 0, 1, 2
MARKET, LIMIT, STOP = 0, 1, 2

ACCOUNT = np.dtype(
    _int64(
        "balance",
        "equity",  # at the last marks
        "worst",  # lowest equity inside the newest cycle that could change the account
        "margin",  # held by open tickets
        "live",  # slots in use
        "daily_floor",  # the guardian's; equity at or below it is a breach
        "total_floor",
        "trail",  # how total_floor moves: TRAIL_NONE, TRAIL_BALANCE or TRAIL_EQUITY
        "trail_distance",
        "trail_lock",  # total_floor never rises above it
        "peak",  # highest equity at a cycle's end
        "drawdown_ppb",  # largest (peak - worst) / peak so far, parts per 1e9
        "exposed",  # cycles that ended with an open ticket
        "day_worst",  # lowest equity of the guardian's day
        "adjust",  # scratch of one cycle: how much worse it was before a ticket closed
    )
)
TRAIL_NONE, TRAIL_BALANCE, TRAIL_EQUITY = 0, 1, 2
NO_FLOOR = -(2**62)

TERMS = np.dtype(
    [
        *_int64(
            "tick_value",  # money units of one tick on one lot step
            "commission_ppm",  # of the notional, each side
            "commission_step",  # money units per lot step, each side
            "swap_long_ppm",  # of the notional, each rollover
            "swap_short_ppm",
            "leverage_x100",
        ),
        ("levels", "<i8", (2, DEPTH_LEVELS, 2)),  # the book of a bar that is walked, see `walked`
    ]
)

MARK = np.dtype(_int64("bid", "ask", "at_ns", "row"))  # row: the cycle's bar, -1: none

BAR = np.dtype(
    [
        *_int64(
            "symbol",  # -1: not an execution bar, for engines to see only
            "open_ns",
            "close_ns",
            "bid_open",
            "bid_high",
            "bid_low",
            "bid_close",
            "ask_open",
            "ask_high",
            "ask_low",
            "ask_close",
            "swap_ns",  # last rollover inside the bar
            "swap_count",  # days of swap due inside the bar
            "is_walked",  # 1: its book is in the symbol's terms; 0: nobody knows it
        ),
        ("slip_base", "<f8"),  # ticks, whatever the size
        ("slip_impact", "<f8"),  # ticks times the square root of the steps
    ]
)

EVENT = np.dtype(
    _int64(
        "kind",
        "account",
        "slot",
        "ticket",
        "price",
        "steps",
        "pnl",  # realised, before commission
        "commission",
        "spread",  # half-spread and slippage that the price contains
        "at_ns",
        "reason",
        "left",  # steps still open after the event
    )
)
OPENED, CLOSED, CANCELLED, SWAPPED, BREACHED = 1, 2, 3, 4, 5

BY_ENGINE = 0
BY_STOP = 1
BY_TARGET = 2
BY_EXPIRY = 3
BY_DEVIATION = 4  # the market had moved further from the decision than allowed
BY_UNPROTECTED = 5  # stop or target on the wrong side of the fill: the entry is undone
BY_MARGIN = 6
BY_STOP_OUT = 7
BY_DAILY_LOSS = 8
BY_TOTAL_LOSS = 9
BY_KILL_SWITCH = 10
BY_SEASON_END = 11
BY_BENCH = 12
BY_RISK_BUDGET = 13  # open risk no longer fits the new day's floor
BY_INVALIDATION = 14  # what its engine had said would prove it wrong
BY_ELIMINATION = 15  # its engine had to leave the tournament

REASONS = (
    "engine",
    "stop",
    "target",
    "expiry",
    "deviation",
    "unprotected",
    "margin",
    "stop-out",
    "daily loss",
    "total loss",
    "kill switch",
    "season end",
    "bench",
    "risk budget",
    "invalidation",
    "elimination",
)
