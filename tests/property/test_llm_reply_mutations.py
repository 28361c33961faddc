"""Replies that went wrong in every way there is: nothing raises and nothing is invented.

An oracle of its own reads the same texts with the standard library alone: each decision that
comes back must be an item of a list of decisions that stands in the text, field by field.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.engines.llm.decisions import Action, Decision, StatedInvalidation
from hydra.engines.llm.judge import Judged, judge
from hydra.engines.llm.reply import MOST_REPAIR, Parsed, parse_reply, repair_request
from hydra.engines.view import View
from hydra.portfolio.intents import Open, OrderType, Side, fault_of
from tests.support.llm_replies import LONG, ODD, TIMEFRAMES, VALID, a_market, a_ticket

CORPUS = VALID + ODD
MARKET = a_market(
    a_ticket(5, "BTC-USD", Side.SELL),
    a_ticket(6, "XAU-USD", Side.SELL, is_open=False),
    a_ticket(7, "ETH-USD", Side.BUY),
)

# The oracle


class Number(str):
    """A number as it is spelt."""


class Twice(dict[str, object]):
    """An object in which a key stands twice."""


def as_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return dict(pairs) if len({key for key, _ in pairs}) == len(pairs) else Twice(pairs)


JSON = json.JSONDecoder(
    strict=False, object_pairs_hook=as_object,
    parse_int=Number, parse_float=Number, parse_constant=Number,
)  # fmt: skip


def values_in(text: str) -> Iterator[object]:
    """All objects, lists and strings that begin anywhere in the text, whatever is around them."""
    for start in re.finditer(r'[{\["]', text):
        try:
            yield JSON.raw_decode(text, start.start())[0]
        except (json.JSONDecodeError, RecursionError):
            continue


def lists_of_decisions(text: str) -> Iterator[list[object]]:
    """What stands under "decisions" in the text, or in a string within it."""
    for value in values_in(text):
        if isinstance(value, dict) and not isinstance(value, Twice):
            inner = value.get("decisions")
            if isinstance(inner, list):
                yield inner
            elif isinstance(inner, str):
                yield from (found for found in values_in(inner) if isinstance(found, list))
        elif isinstance(value, str) and "{" in value:
            for within in values_in(value):
                if isinstance(within, dict) and not isinstance(within, Twice):
                    inner = within.get("decisions")
                    if isinstance(inner, list):
                        yield inner


def says(said: object, field: object) -> bool:
    """Whether the JSON value means the field's value."""
    if field is None or field == ():
        return said is None or said == []
    if isinstance(field, StatedInvalidation):
        return isinstance(said, dict) and says_all(said, field)
    if isinstance(field, tuple):
        return isinstance(said, list) and list(field) == said
    if isinstance(field, Decimal | int):
        if not isinstance(said, str) or "NaN" in said or "Infinity" in said:
            return False
        if type(said) is not Number and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", said):
            return False
        return Decimal(said) == field
    return type(said) is str and said == str(field)


def says_all(said: dict[str, object], stated: Decision | StatedInvalidation) -> bool:
    fields = msgspec.structs.asdict(stated)
    return (
        type(said) is dict
        and set(said) <= set(fields)
        and all(says(said.get(name), field) for name, field in fields.items())
    )


def stands_in(text: str, decisions: tuple[Decision, ...], *, others: int = 0) -> bool:
    """Whether a list in the text has all of them, in their order, and so many other items."""
    for found in lists_of_decisions(text):
        items = iter(found)
        if len(found) == len(decisions) + others and all(
            any(isinstance(item, dict) and says_all(item, decision) for item in items)
            for decision in decisions
        ):
            return True
    return False


# Mutations

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[{}\[\],:]')
HOSTILE = (
    "1e400", "-1e400", "1e-400", "9" * 400, "NaN", "Infinity", "-0", "0", "-1", "65e3", "0.1e1",
    "64000.000000000000000000001", "null", "true", "[]", "{}", '""', '"65k"', '"$65000"', '"1.5%"',
    '"65,000"', '"64000.5"', '"63000"', '"\\u0000"', '"\\ud83d"', '"\\u202e"', '"*"', '"ALL"',
    '"BTC/USD"', '"eth-usd"', '"SOL-USD"', '"open_short"', '"close"', '"hold"', '"stop"',
    '"limit"', '"4h"', '"stop": 64000, "stop"', '{"decisions": []}', "['a']", "// why\n",
)  # fmt: skip
STRANGE = (
    "\0",
    "\ud83d",
    "\udc80",
    "\u202e",
    "\u2028",
    "\ufeff",
    "\u00a0",
    "６",
    "“",
    "\x1b",
    "\\",
    '"',
)
VALUE = re.compile(r'(?<=": )(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|null)')
ORDINARY = sorted({match[0] for text in VALID for match in VALUE.finditer(text)})
DIGITS: tuple[str, ...] = (*"0123456789.eE+-", "00", "000000")
WRAPPED: tuple[Callable[[str], str], ...] = (
    json.dumps,
    lambda text: f"```json\n{text}\n```",
    lambda text: f"[{text}]",
    lambda text: f'{{"decisions": {text}}}',
    lambda text: f'{{"name": "decide", "arguments": {text}}}',
    lambda text: json.dumps({"name": "decide", "arguments": text}),
    lambda text: "[" * 300 + text + "]" * 300,
    lambda text: f"{text}\n{text}",
    lambda text: f'{{"note": "x"}} {text}',
)


def flip(r: random.Random, text: str) -> str:
    raw = bytearray(text.encode(errors="surrogatepass"))
    if raw:
        raw[r.randrange(len(raw))] ^= 1 << r.randrange(8)
    return raw.decode(errors="surrogateescape")


def span(r: random.Random, text: str) -> tuple[int, int]:
    start = r.randrange(len(text) + 1)
    return start, min(len(text), start + int(r.expovariate(1 / 12)))


def delete(r: random.Random, text: str) -> str:
    start, end = span(r, text)
    return text[:start] + text[end:]


def duplicate(r: random.Random, text: str) -> str:
    start, end = span(r, text)
    return text[:end] + text[start:]


def splice(r: random.Random, text: str) -> str:
    other = r.choice(CORPUS)
    return text[: r.randrange(len(text) + 1)] + other[r.randrange(len(other) + 1) :]


def truncate(r: random.Random, text: str) -> str:
    return text[: r.randrange(len(text) + 1)]


def tokens(r: random.Random, text: str) -> tuple[re.Match[str], re.Match[str]] | None:
    found = list(TOKEN.finditer(text))
    if not found:
        return None
    first, second = sorted((r.choice(found), r.choice(found)), key=lambda one: one.start())
    return first, second


def swap(r: random.Random, text: str) -> str:
    if (pair := tokens(r, text)) is None or pair[0] is pair[1]:
        return text
    a, b = pair
    return text[: a.start()] + b[0] + text[a.end() : b.start()] + a[0] + text[b.end() :]


def replace(r: random.Random, text: str) -> str:
    """A value by something hostile, or by another reply's value."""
    found = list(VALUE.finditer(text))
    if not found:
        return text
    at = r.choice(found)
    other = r.choice(HOSTILE) if r.random() < 0.5 else r.choice(ORDINARY)
    return text[: at.start()] + other + text[at.end() :]


def rename(r: random.Random, text: str) -> str:
    key, other = r.choice((*LONG, "decisions", "close_below")), r.choice((*LONG, "size", "x"))
    return text.replace(f'"{key}"', f'"{other}"', r.choice((1, -1)))


def scale(r: random.Random, text: str) -> str:
    """A number by another one: a digit or a zero more, a point elsewhere."""
    found = list(re.finditer(r"[0-9]", text))
    if not found:
        return text
    at = r.choice(found).start()
    return text[:at] + r.choice(DIGITS) + text[at + r.randrange(2) :]


def strange(r: random.Random, text: str) -> str:
    at = r.randrange(len(text) + 1)
    return text[:at] + r.choice(STRANGE) + text[at:]


def wrap(r: random.Random, text: str) -> str:
    wrapper: Callable[[str], str] = r.choice(WRAPPED)
    return wrapper(text)


MUTATIONS = (
    flip, delete, duplicate, splice, truncate, swap, replace, replace, replace, replace, replace,
    replace, rename, scale, scale, scale, strange, wrap,
)  # fmt: skip


def mutated(r: random.Random) -> str:
    text = r.choice(VALID if r.random() < 0.7 else CORPUS)
    for _ in range(r.choice((1, 1, 1, 2, 2, 3, 5))):
        text = r.choice(MUTATIONS)(r, text)
    return text


# What holds of all replies


def check_stored(value: object) -> None:
    """PostgreSQL and UTF-8 take it."""
    for text in re.findall(r'"(?:[^"\\]|\\.)*"', msgspec.json.encode(value).decode()):
        assert "\0" not in json.loads(text)


def check_parsed(text: str, parsed: Parsed) -> None:
    if parsed.decisions:
        assert stands_in(text, parsed.decisions, others=len(parsed.rejected)), text
    assert bool(parsed.rejected) <= bool(parsed.faults)
    check_stored((parsed.faults, [raw for raw, _ in parsed.rejected]))
    if parsed.faults:
        assert len(repair_request(parsed)) <= MOST_REPAIR


def check_opening(intent: Open, market: View) -> None:
    """Prices on the grid, inside int64 and on their sides."""
    seen = market.market[intent.symbol]
    tick, side = seen.instrument.tick_size, int(intent.side)
    for price in (intent.stop, intent.target, intent.price):
        assert price is None or (price % tick == 0 and 0 < int(price / tick) < 2**63)
    enters, leaves = (seen.ask, seen.bid) if side == 1 else (seen.bid, seen.ask)
    if intent.order == OrderType.MARKET:
        assert intent.price is None
    else:
        assert intent.price is not None
        assert side * (enters - intent.price) * (1 if intent.order == OrderType.LIMIT else -1) > 0
        enters = leaves = intent.price
    assert intent.stop is not None
    assert side * (leaves - intent.stop) > 0
    assert intent.target is None or side * (intent.target - enters) > 0
    assert intent.lots is None
    assert intent.risk_frac is None or 0 < intent.risk_frac <= 1


def check_judged(judged: Judged, market: View) -> None:
    for intent in judged.intents:
        assert fault_of(intent) == ""
        if isinstance(intent, Open):
            check_opening(intent, market)
    for refused in judged.refusals:
        check_stored(refused)
        assert max(map(len, (refused.limit, refused.figure, refused.text))) <= 400


def play(seed: int, mutations: int) -> Counter[str]:
    """Reads and judges that many mutated replies; counts what came of them."""
    r = random.Random(seed)  # a seed gives the same replies on each run
    counts: Counter[str] = Counter()
    for _ in range(mutations):
        text = mutated(r)
        parsed = parse_reply(text)
        check_parsed(text, parsed)
        counts["faulty"] += bool(parsed.faults)
        if not parsed.decisions:
            continue
        judged = judge(parsed.decisions, MARKET, timeframes=TIMEFRAMES)
        check_judged(judged, MARKET)
        counts["read"] += 1
        counts["partly"] += bool(parsed.faults)
        counts["opened"] += any(isinstance(intent, Open) for intent in judged.intents)
        counts.update(refused.rule for refused in judged.refusals)
    return counts


def test_mutated_replies_raise_nothing_and_invent_nothing() -> None:
    counts = play(seed=20_261_126, mutations=20_000)

    assert counts["faulty"] > 8_000  # they do go wrong,
    assert counts["read"] > 3_000  # yet not so much that nothing could be invented
    assert counts["opened"] > 1_500
    assert counts["partly"] > 500
    assert {"far-price", "stop-side", "stop-missing", "limit-side", "unknown-asset",
            "contradiction", "duplicate", "absurd-size"} <= set(counts)  # fmt: skip


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(20))
def test_a_million_mutated_replies(seed: int) -> None:
    play(seed, mutations=50_000)


class TestTheOracle:
    """It must see what parse_reply might make up."""

    def test_it_finds_what_stands_there(self) -> None:
        for text in VALID:
            assert stands_in(text, parse_reply(text).decisions)

    @pytest.mark.parametrize(
        "invented",
        [
            {"action": Action.HOLD},
            {"order_type": OrderType.LIMIT},
            {"stop": Decimal("63900.51")},
            {"target": None},
            {"limit_price": Decimal(65_000)},
            {"risk_percent": Decimal("0.50000000000000001")},
            {"confidence": Decimal(1)},
            {"thesis": "Closes above the 20-day high on rising volume"},
            {"cited_inputs": ()},
            {"invalidation": None},
            {"invalidation": StatedInvalidation(within_hours=Decimal(48))},
            {"ticket": 7},
        ],
    )
    def test_it_sees_a_field_that_was_made_up(self, invented: dict[str, object]) -> None:
        text = VALID[0]
        (decision,) = parse_reply(text).decisions
        assert not stands_in(text, (msgspec.structs.replace(decision, **invented),))

    def test_it_sees_a_decision_too_many_and_another_order(self) -> None:
        one, two, _ = parse_reply(VALID[1]).decisions
        assert stands_in(VALID[1], (one, two), others=1)
        assert not stands_in(VALID[1], (two, one), others=1)
        assert not stands_in(VALID[1], (one, one), others=1)
        assert not stands_in(VALID[1], (one, two))


# Decisions that no reply has to give

around = st.decimals("0", "200000", places=3) | st.decimals("-1e30", "1e30")
prices = st.none() | st.sampled_from(
    [65_000, 65_010, 64_999, 66_000, 60_000, 3_400, 3_401, 3_300, 3_500, 2_650, 2_600, 2_700]
).map(Decimal) | around  # fmt: skip
hours = st.none() | st.decimals("0.001", "1000", places=3) | st.decimals("-1e30", "1e30")
probabilities = st.none() | st.decimals(0, 1, places=3)
invalidations = st.none() | st.builds(
    StatedInvalidation,
    timeframe=st.sampled_from(["1h", "4h", "1d", "x", None]),
    close_below=prices,
    close_above=prices,
    within_hours=hours,
)
decisions = st.builds(
    Decision,
    asset=st.sampled_from(["BTC-USD", "btcusd", "ETH-USD", "XAU-USD", "SOL-USD", "*", "DOGE"]),
    action=st.sampled_from(Action),
    thesis=st.just("because"),
    order_type=st.none() | st.sampled_from(OrderType),
    limit_price=prices,
    risk_percent=st.none() | st.decimals("0.01", "100", places=2) | around,
    stop=prices,
    target=prices,
    expires_hours=hours,
    confidence=probabilities,
    p_target_before_stop=probabilities,
    expected_hold_hours=hours,
    invalidation=invalidations,
    ticket=st.none() | st.integers(4, 8),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(decisions, min_size=1, max_size=6))
def test_whatever_was_decided_what_opens_is_sound(said: list[Decision]) -> None:
    check_judged(judge(said, MARKET, timeframes=TIMEFRAMES), MARKET)


@settings(max_examples=200, deadline=None)
@given(st.lists(decisions, min_size=1, max_size=6))
def test_each_decision_is_accounted_for_once(said: list[Decision]) -> None:
    judged = judge(said, MARKET, timeframes=TIMEFRAMES)

    openings = sum(isinstance(intent, Open) for intent in judged.intents)
    refused = Counter(one.decision["action"] for one in judged.refusals)
    for action, done in (("hold", len(judged.holds)), ("open", openings)):
        of = [one for one in said if one.action.value.startswith(action)]
        named = sum(count for name, count in refused.items() if str(name).startswith(action))
        assert done + named == len(of)
    closed = [intent for intent in judged.intents if not isinstance(intent, Open)]
    assert len(closed) == len(set(closed)) <= len(MARKET.account.tickets)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([Action.OPEN_LONG, Action.OPEN_SHORT]),
    st.decimals("33000", "97000", places=4),
    st.decimals("22000", "190000", places=4),
    st.decimals("0.0001", "100", places=4),
)
def test_an_opening_passes_on_exactly_what_was_said(
    action: Action, stop: Decimal, target: Decimal, percent: Decimal
) -> None:
    said = Decision(
        asset="BTC-USD", action=action, thesis="because", order_type=OrderType.MARKET, stop=stop,
        target=target, risk_percent=percent,
    )  # fmt: skip

    judged = judge([said], MARKET, timeframes=TIMEFRAMES)

    half_tick = Decimal("0.005")
    for intent in judged.intents:
        if isinstance(intent, Open):
            assert intent.stop is not None
            assert intent.target is not None
            assert abs(intent.stop - stop) <= half_tick
            assert abs(intent.target - target) <= half_tick
            assert intent.risk_frac == percent / 100
