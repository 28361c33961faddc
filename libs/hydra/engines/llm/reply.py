"""From what a model said to decisions: nothing is guessed and nothing added.

Taken is one JSON object `{"decisions": [...]}` that stands in the text: bare, in a code fence
or with prose around it. It may be the `arguments` (or `parameters`) of a tool call that was
written out, `{"name": …, "arguments": …}`, and once on the way down it may be JSON within a
JSON string: the whole reply, the arguments, or the list of decisions. The same object may
stand there several times; two different ones, a list, a key that stands twice in one object,
and an object that breaks off make the whole reply unusable.

Each decision is read by itself. Keys that may be null may be missing; keys that nobody knows
are faults, and so is every value of the wrong kind. A number may be written as text if it is
spelt as JSON spells numbers, without an exponent: "65000.5", but none of "65,000.5", "65k",
"$65000" and "1.5%". Numbers are kept exactly; more than 28 digits are a fault.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from hydra.engines.llm.decisions import (
    MOST_DECISIONS,
    UNSTORABLE,
    Action,
    Decision,
    Spelt,
    StatedInvalidation,
    clean,
    exact_number,
    storable,
)
from hydra.portfolio.intents import MOST_THESIS, OrderType

MOST_BYTES = 65_536  # of a reply, UTF-8
MOST_BRACKETS = 256  # opening ones: bounds the nesting whatever the text
MOST_KEYS = 40  # of an object
MOST_CITED = 32
MOST_FAULTS = 10  # of one decision, that are told
MOST_REPAIR = 4_000  # characters of a repair request
_MOST_FAULT = 1_000  # characters
_MOST_SHOWN = 40  # characters of a value that a fault quotes
_WHITE = " \t\r\n\ufeff"

# Where JSON begins. Braces and brackets of prose are followed by something else.
_START = re.compile(r'\{(?=[ \t\r\n]*")|\[(?=[ \t\r\n]*\{[ \t\r\n]*")')
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_TOOL_CALLS = {frozenset({"name", key}): key for key in ("arguments", "parameters")}

Faults = list[str]
Reader = Callable[[object, str, Faults], object]  # value, where it stands → what it says


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """What could be read of a reply.

    A valid empty list of decisions (no decisions, no faults) means: everything stays as it is.
    """

    decisions: tuple[Decision, ...] = ()
    faults: tuple[str, ...] = ()  # in words for the model, where they are and what is expected
    rejected: tuple[tuple[dict[str, object], str], ...] = ()  # (a decision as it stood, its fault)


class _Unusable(ValueError):
    """The whole reply is no answer."""


def parse_reply(text: str) -> Parsed:
    """The decisions that stand in a model's reply, and the faults of the rest. Never raises."""
    try:
        items = _items(text)
    except _Unusable as fault:
        return Parsed(faults=(str(fault),))
    decisions: list[Decision] = []
    faults: Faults = []
    rejected: list[tuple[dict[str, object], str]] = []
    for i, item in enumerate(items):
        found: Faults = []
        decision = _decision(item, f"decisions[{i}]", found)
        if decision is not None:
            decisions.append(decision)
            continue
        faults += found[:MOST_FAULTS]
        raw = storable(item)
        rejected.append(
            (raw if isinstance(raw, dict) else {"value": raw}, clean("; ".join(found), _MOST_FAULT))
        )
    return Parsed(decisions=tuple(decisions), faults=tuple(faults), rejected=tuple(rejected))


def repair_request(parsed: Parsed) -> str:
    """What to tell the model about the faults, once; at most MOST_REPAIR characters.

    Of the reply itself it quotes only short pieces, JSON-escaped.
    """
    head = "Your answer cannot be used as it stands:"
    tail = (
        'Give the whole answer again, corrected: one JSON object {"decisions": [...]} by the'
        " schema, with nothing before or after it."
    )
    lines = [head]
    room = MOST_REPAIR - len(head) - len(tail) - 40  # 40: the line about the rest
    for i, fault in enumerate(parsed.faults):
        line = f"- {clean(fault, _MOST_FAULT)}"
        if room < len(line) + 1:
            lines.append(f"- and {len(parsed.faults) - i} more")
            break
        lines.append(line)
        room -= len(line) + 1
    return "\n".join([*lines, tail])


# From text to items


def _items(text: str) -> list[object]:
    """The list of decisions, each still as it stands. Raises _Unusable."""
    if len(text) > MOST_BYTES or len(text.encode(errors="surrogatepass")) > MOST_BYTES:
        raise _Unusable(f"the answer is longer than {MOST_BYTES} bytes")
    text = text.strip(_WHITE)
    whole = _whole_string(text)
    unescaped = whole is not None
    answer = _only_object(text if whole is None else whole)
    key = _TOOL_CALLS.get(frozenset(answer))
    if key is not None:
        inner = answer[key]
        if type(inner) is str and not unescaped:
            inner, unescaped = _load(inner), True
        if not isinstance(inner, dict):
            raise _Unusable(f"{key}: expected an object, got {_shown(inner)}")
        answer = inner
    if "decisions" not in answer:
        raise _Unusable('expected an object {"decisions": [...]}, got one without "decisions"')
    if len(answer) > 1:
        other = next(key for key in answer if key != "decisions")
        raise _Unusable(f'unknown key {_shown(other)} beside "decisions"')
    items = answer["decisions"]
    if type(items) is str and not unescaped:
        items = _load(items)
    if not isinstance(items, list):
        raise _Unusable(f"decisions: expected a list, got {_shown(items)}")
    if len(items) > MOST_DECISIONS:
        raise _Unusable(f"decisions: {len(items)} of them; {MOST_DECISIONS} are the most")
    return items


def _whole_string(text: str) -> str | None:
    """What the text says where all of it is one JSON string."""
    if not text.startswith('"'):
        return None
    try:
        inner, end = _decoder.raw_decode(text)
    except json.JSONDecodeError:  # prose that begins with a quotation
        return None
    return inner if end == len(text) and isinstance(inner, str) else None


def _only_object(text: str) -> dict[str, object]:
    """The one JSON object in the text. What begins like one must be one: linear time."""
    only: dict[str, object] | None = None
    at = 0
    while (start := _START.search(text, at)) is not None:
        if only is None:
            _check_brackets(text, start.start())
        value, at = _read(text, start.start())
        if not isinstance(value, dict):
            raise _Unusable('expected an object {"decisions": [...]}, got a list')
        if only is not None and value != only:
            raise _Unusable("there are different JSON objects in the answer; give one")
        only = value
    if only is None:
        raise _Unusable("there is no JSON object in the answer")
    return only


def _check_brackets(text: str, start: int = 0) -> None:
    if text.count("{", start) + text.count("[", start) > MOST_BRACKETS:
        raise _Unusable(f"more than {MOST_BRACKETS} opening brackets in the answer")


def _load(text: str) -> object:
    """The JSON value that is all of a string within JSON."""
    _check_brackets(text)
    text = text.strip(_WHITE)
    value, end = _read(text, 0)
    if end != len(text):
        raise _Unusable(f"text after the JSON within a string, at character {end}")
    return value


def _read(text: str, start: int) -> tuple[object, int]:
    try:
        return _decoder.raw_decode(text, start)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _Unusable(f"the JSON cannot be read: {error.msg} at {where}") from error


def _object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise _Unusable(f"the key {_shown(twice)} stands twice in one object")
    return made


# Not strict: models write line breaks into strings as they are.
_decoder = json.JSONDecoder(
    object_pairs_hook=_object_of,
    parse_float=Spelt,
    parse_int=Spelt,
    parse_constant=Spelt,
    strict=False,
)


# From item to decision


def _decision(item: object, where: str, faults: Faults) -> Decision | None:
    """The decision, or None and its faults."""
    said = _fields(item, _DECISION, ("asset", "action", "thesis"), where, faults)
    if faults:
        return None
    decision = Decision(**said)
    if decision.action.opens:
        if decision.order_type is None:
            faults.append(f"{where}.order_type: opening needs market, limit or stop, got null")
        elif decision.order_type == OrderType.MARKET and decision.limit_price is not None:
            faults.append(
                f"{where}.limit_price: a market order has none, got {decision.limit_price};"
                " give null, or order_type limit or stop"
            )
    return None if faults else decision


def _fields(
    value: object,
    readers: Mapping[str, Reader],
    required: tuple[str, ...],
    where: str,
    faults: Faults,
) -> dict[str, Any]:
    """What the object's keys say. Nulls are left out, as if the keys were missing."""
    said: dict[str, Any] = {}
    if not isinstance(value, dict) or len(value) > MOST_KEYS:
        faults.append(f"{where}: expected an object by the schema, got {_shown(value)}")
        return said
    for key, given in value.items():
        reader = readers.get(key)
        if reader is None:
            faults.append(f"{where}: unknown key {_shown(key)}")
        elif given is not None or key in required:
            said[key] = reader(given, f"{where}.{key}", faults)
    faults += [f"{where}.{key}: missing" for key in required if key not in value]
    return said


def _text(value: object, where: str, faults: Faults, *, most: int, blank: bool = True) -> object:
    if type(value) is not str:
        faults.append(f"{where}: expected text, got {_shown(value)}")
    elif len(value) > most:
        faults.append(f"{where}: {len(value)} characters; {most} are the most")
    elif (bad := UNSTORABLE.search(value)) is not None:
        faults.append(f"{where}: holds U+{ord(bad[0]):04X}, which is no character of a text")
    elif not blank and not value.strip():
        faults.append(f"{where}: is empty")
    return value


def _choice(value: object, where: str, faults: Faults, *, among: Mapping[str, StrEnum]) -> object:
    found = among.get(value) if type(value) is str else None
    if found is None:
        faults.append(f"{where}: expected one of {', '.join(among)}, got {_shown(value)}")
    return found


def _number(value: object, where: str, faults: Faults) -> Decimal | None:
    if type(value) is Spelt or (type(value) is str and _PLAIN_NUMBER.fullmatch(value)):
        number = exact_number(value)
        if number is None:
            faults.append(
                f"{where}: expected an ordinary number of up to 28 digits, got {_shown(value)}"
            )
        return number
    faults.append(f"{where}: expected a number, got {_shown(value)}")
    return None


def _probability(value: object, where: str, faults: Faults) -> Decimal | None:
    number = _number(value, where, faults)
    if number is not None and not 0 <= number <= 1:
        faults.append(f"{where}: expected a probability from 0 to 1, got {_shown(value)}")
    return number


def _ticket(value: object, where: str, faults: Faults) -> int | None:
    number = _number(value, where, faults)
    if number is None:
        return None
    if not 0 < number < 2**63 or number != int(number):
        faults.append(f"{where}: expected the number of a ticket, got {_shown(value)}")
    return int(number)


def _cited(value: object, where: str, faults: Faults) -> object:
    if not isinstance(value, list) or len(value) > MOST_CITED:
        got = f"{len(value)} items" if isinstance(value, list) else _shown(value)
        faults.append(f"{where}: expected a list of at most {MOST_CITED} texts, got {got}")
        return ()
    return tuple(_text(v, f"{where}[{i}]", faults, most=200) for i, v in enumerate(value))


def _invalidation(value: object, where: str, faults: Faults) -> StatedInvalidation | None:
    said = _fields(value, _INVALIDATION, (), where, faults)
    leveled = "close_below" in said or "close_above" in said
    if isinstance(value, dict) and not leveled and "within_hours" not in said:
        faults.append(
            f"{where}: needs close_below, close_above or within_hours; without one, give null"
        )
    if leveled and "timeframe" not in said:
        faults.append(f"{where}.timeframe: missing; whose closes count, such as 4h?")
    return None if faults else StatedInvalidation(**said)


_INVALIDATION: Mapping[str, Reader] = {
    "timeframe": partial(_text, most=16, blank=False),
    "close_below": _number,
    "close_above": _number,
    "within_hours": _number,
    "text": partial(_text, most=1_000),
}
_DECISION: Mapping[str, Reader] = {
    "asset": partial(_text, most=64, blank=False),
    "action": partial(_choice, among={one.value: one for one in Action}),
    "order_type": partial(_choice, among={one.value: one for one in OrderType}),
    "limit_price": _number,
    "risk_percent": _number,
    "stop": _number,
    "target": _number,
    "expires_hours": _number,
    "confidence": _probability,
    "p_target_before_stop": _probability,
    "expected_hold_hours": _number,
    "thesis": partial(_text, most=MOST_THESIS, blank=False),
    "invalidation": _invalidation,
    "cited_inputs": _cited,
    "ticket": _ticket,
}


def _shown(value: object) -> str:
    """A value for a fault: short, and escaped so that it cannot pass for words of ours."""
    if isinstance(value, str):
        short = value[:_MOST_SHOWN]
        shown = str(short) if isinstance(value, Spelt) else json.dumps(short)
        return shown + "…" * (len(value) > _MOST_SHOWN)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"a list of {len(value)}" if isinstance(value, list) else "an object"
