"""What a model may decide, as values and as the JSON Schema that it is sent.

An answer is `{"decisions": [...]}`. No decisions at all mean that everything stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from hydra.portfolio.intents import MOST_THESIS, OrderType

ALL_ASSETS = ("*", "ALL")  # what a hold may name instead of an asset
MOST_DECISIONS = 20
_MOST_SPELT = 64  # characters of a number: floats have 24
_DEEPEST = 8  # levels that a record keeps

# Not fit to be stored or shown: PostgreSQL's text takes no NUL, UTF-8 no lone surrogates,
# and a terminal obeys the other controls.
UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Action(StrEnum):
    """What is to be done about an asset."""

    OPEN_LONG = "open_long"
    OPEN_SHORT = "open_short"
    CLOSE = "close"
    HOLD = "hold"  # leave it as it is

    @property
    def opens(self) -> bool:
        return self in (Action.OPEN_LONG, Action.OPEN_SHORT)


class StatedInvalidation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What would prove the thesis wrong, as a model puts it."""

    timeframe: str | None = None  # of the bars whose closes count, such as 4h
    close_below: Decimal | None = None  # quote currency
    close_above: Decimal | None = None
    within_hours: Decimal | None = None  # the thesis must have worked out by then
    text: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One decision as the model made it: its own numbers, exact. None: it said nothing."""

    asset: str
    action: Action
    thesis: str
    order_type: OrderType | None = None
    limit_price: Decimal | None = None  # of a limit or stop order, quote currency
    risk_percent: Decimal | None = None  # of equity, lost when the stop is hit
    stop: Decimal | None = None
    target: Decimal | None = None
    expires_hours: Decimal | None = None
    confidence: Decimal | None = None  # 0 to 1
    p_target_before_stop: Decimal | None = None  # 0 to 1
    expected_hold_hours: Decimal | None = None
    invalidation: StatedInvalidation | None = None
    cited_inputs: tuple[str, ...] = ()
    ticket: int | None = None  # of a close; None: all on the asset


class Spelt(str):
    """A number of a JSON text as it is spelt there, nothing rounded: 65000.5, 1e5, NaN."""

    __slots__ = ()


def storable(value: object, depth: int = _DEEPEST) -> object:
    """The value as JSON that every store takes, for records of what a model said.

    Numbers that a JSON reader would round stay text. Characters that no store takes become
    U+FFFD; long text is cut, and what lies deeper than `depth` is left out.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Spelt | Decimal | int):
        return _json_number(str(value))
    if isinstance(value, Mapping):
        if not depth:
            return "…"
        return {clean(str(k)): storable(v, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [storable(v, depth - 1) for v in value] if depth else "…"
    return clean(str(value))


def clean(text: str, most: int = MOST_THESIS) -> str:
    """The text without what no store takes, cut to `most` characters."""
    return UNSTORABLE.sub("\ufffd", text if len(text) <= most else text[: most - 1] + "…")


def _json_number(spelt: str) -> object:
    exact = exact_number(spelt)
    if exact is None:
        return clean(spelt, _MOST_SPELT)
    nearest = float(exact)
    if Decimal(repr(nearest)) != exact:
        return spelt
    return int(exact) if nearest.is_integer() and abs(nearest) < 2**53 else nearest


def exact_number(spelt: str) -> Decimal | None:
    """The number of that spelling; None for NaN, infinities and what is beyond all measure.

    At most 28 digits, so that no step that follows has to round it, and no exponent that
    could make one overflow.
    """
    if len(spelt) > _MOST_SPELT or spelt.strip("+-").isalpha():
        return None
    try:
        number = Decimal(spelt)
    except ArithmeticError:  # an exponent that not even a Decimal has
        return None
    if len(number.as_tuple().digits) > 28 or abs(number.adjusted()) > 28:
        return None
    return number


def _of(kind: str, description: str) -> dict[str, object]:
    return {"type": kind, "description": description}


def _maybe(kind: str, description: str) -> dict[str, object]:
    return {"type": [kind, "null"], "description": description}


def _object(
    properties: dict[str, object], description: str = "", *, nullable: bool = False
) -> dict[str, object]:
    schema: dict[str, object] = {
        "type": ["object", "null"] if nullable else "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return schema | ({"description": description} if description else {})


_INVALIDATION = _object(
    {
        "timeframe": _maybe("string", "Bars whose closes count, such as 4h; null without a level."),
        "close_below": _maybe("number", "Wrong once a bar closes below this price."),
        "close_above": _maybe("number", "Wrong once a bar closes above this price."),
        "within_hours": _maybe("number", "Wrong if still open so many hours after entry."),
        "text": _maybe("string", "The condition in your words, at most 200 characters."),
    },
    "What would prove the thesis wrong; the platform then closes the ticket. Needs close_below,"
    " close_above or within_hours. Null: nothing but stop and target.",
    nullable=True,
)

_DECISION = _object(
    {
        "asset": _of("string", 'Symbol exactly as listed; "*" in a hold of everything.'),
        "action": {
            "type": "string",
            "enum": [action.value for action in Action],
            "description": "open_long or open_short opens a ticket; close ends tickets; hold"
            " leaves the asset as it is.",
        },
        "order_type": {
            "type": ["string", "null"],
            "enum": [*(order.value for order in OrderType), None],
            "description": "How to open. Null unless opening.",
        },
        "limit_price": _maybe(
            "number", "Price of a limit or stop order, quote currency. Null for market orders."
        ),
        "risk_percent": _maybe(
            "number",
            "Percent of equity lost if the stop is hit, e.g. 0.5. The size follows from it."
            " Null: the account's usual risk.",
        ),
        "stop": _maybe("number", "Stop-loss price. Needed to open, else null."),
        "target": _maybe("number", "Take-profit price. Null: none."),
        "expires_hours": _maybe(
            "number", "An unfilled order is cancelled after so many hours. Null: never."
        ),
        "confidence": _maybe("number", "Your confidence in the decision, 0 to 1."),
        "p_target_before_stop": _maybe(
            "number", "Probability, 0 to 1, that the target is reached before the stop."
        ),
        "expected_hold_hours": _maybe("number", "How long you expect to hold it, hours."),
        "thesis": _of("string", "Why, in two or three sentences, at most 500 characters."),
        "invalidation": _INVALIDATION,
        "cited_inputs": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of the inputs that you rely on, at most 32.",
        },
        "ticket": _maybe("integer", "For close: the ticket's number. Null: all on the asset."),
    }
)

# Only what every provider's strict mode takes: no bounds, patterns or unions but with null.
SCHEMA: dict[str, object] = _object(
    {
        "decisions": {
            "type": "array",
            "items": _DECISION,
            "description": f"At most {MOST_DECISIONS}, one for each asset and action. Numbers as"
            " plain numbers without units. Empty: everything stays as it is.",
        }
    }
)
