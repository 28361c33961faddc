"""The report's section on language models: what it shows, where it ends, that text stays text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from apps.cli.calibration_plot import LEFT, SIDE, TOP, Cases, diagram, wilson
from apps.cli.report import render, write_report
from apps.cli.report_models import LAST_CALLS, LAST_LESSONS, MOST_REPLY, said_in
from hydra.engines.protocol import Abstention, Answer
from hydra.engines.view import View
from hydra.mother.contestants import NEVER
from hydra.storage.database import reading
from hydra.storage.store import SqlSeasonStore, open_season
from hydra.tournament.season import EngineRow, LessonRow, StandingRow, TicketRow
from tests.support.bars import START_NS, a_table
from tests.support.gladiators import a_call, a_gladiator, benched, params_of, play_into
from tests.support.pages import Tags, assert_loads_nothing
from tests.support.seasons import (
    HOUR_NS,
    USD,
    ScriptedEngine,
    a_contestant,
    a_season,
    a_ticket,
    closed,
)

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\'\x1b[31m\x00\x9b\x85'
LONG = (EVIL * 2_000)[:65_536]
REPLY = json.dumps(
    {
        "decisions": [
            {
                "asset": "BTC-USD", "action": "open_long", "order_type": "market",
                "thesis": "breaks out", "stop": 90,
            },
            {"asset": "ETH-USD", "action": "hold", "thesis": "no edge"},
            {"asset": "SOL-USD", "action": "hold", "thesis": "no edge"},
        ]
    }
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hydra.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SqlSeasonStore]:
    """A season in which nothing has been written yet."""
    with open_season(url, a_season(), resume=False) as opened:
        yield opened


def finish(store: SqlSeasonStore, *lines: StandingRow) -> None:
    store.commit(1, START_NS)
    store.close(1, START_NS, lines)


def page_of(url: str) -> str:
    with reading(url) as connection:
        return render(connection)


def an_engine(engine: str, **changes: object) -> EngineRow:
    params = params_of(engine) | changes
    return EngineRow(engine=engine, title="Gladiator", params=params, is_reference=False)


def a_line(engine: str, rank: int | None = 1, **changes: object) -> StandingRow:
    metrics: dict[str, object] = {
        "net_pnl_usd": 120.5, "counted_pnl_usd": 120.5, "total_return_frac": 0.00482,
        "equity_usd": 25_120.5, "tag": "", "family": "", "model_answers": 10, "model_calls": 12,
        "model_repairs": 2, "model_refused": 1, "model_holds": 5,
        "model_abstentions": {"late": 3, "unreachable": 1}, "model_input_tokens": 34_567,
        "model_output_tokens": 890, "model_cost_usd": 0.1234, "model_unknown_costs": 0,
        "net_of_models_usd": 120.3766,
    }  # fmt: skip
    return StandingRow(engine=engine, rank=rank, metrics=metrics | changes)


def a_resolved(ticket: int, stated: float, came: bool, engine: str = "g") -> TicketRow:
    row = closed(ticket, engine, 10 * USD if came else -10 * USD, ticket)
    return a_ticket(
        ticket,
        engine,
        status=row.status,
        exit_reason=row.exit_reason,
        closed_ns=row.closed_ns,
        pnl_units=row.pnl_units,
        target_first=stated,
    )


def cells(page: str, row: str) -> list[str]:
    """The texts of the first table row of the section that holds `row`."""
    section = page[page.index('<section id="models">') :]
    found = next(tr for tr in re.findall(r"<tr[ >].*?</tr>", section, re.DOTALL) if row in tr)
    return [
        re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", cell)).strip()
        for cell in re.findall(r"<td.*?</td>", found, re.DOTALL)
    ]


# What it shows


def test_a_season_without_gladiators_has_no_such_section(url: str) -> None:
    play_into(url, [a_table(closes=[100.0, 101.0])], [a_contestant("plain", ScriptedEngine())])

    assert "Language models" not in page_of(url)


def test_money_tokens_and_latency_of_each(url: str, store: SqlSeasonStore) -> None:
    store.engine(an_engine("g"))
    for i in range(20):
        store.model_call(
            a_call(
                "g", START_NS + i, latency_ns=(i + 1) * 250_000_000, model_said="claude-test-1-0601"
            )
        )
    finish(store, a_line("g"))

    shown = cells(page_of(url), "claude-test-1")
    assert shown == [
        "g", "claude-test-1 anthropic, every 1h, prompt v1; answered as claude-test-1-0601",
        "+120.50", "0.1234", "+120.38", "12", "2", "34,567", "890", "2.50 s", "4.75 s",
    ]  # fmt: skip


def test_unknown_costs_are_said_and_the_known_part_too(url: str, store: SqlSeasonStore) -> None:
    store.engine(an_engine("g"))
    finish(store, a_line("g", model_unknown_costs=3, net_of_models_usd=None))

    shown = cells(page_of(url), "claude-test-1")
    assert shown[3:5] == ["unknown 0.1234 known, 3 calls not", "unknown"]


def test_answers_are_decided_held_or_abstained_with_reasons(
    url: str, store: SqlSeasonStore
) -> None:
    store.engine(an_engine("g"))
    finish(store, a_line("g"))

    page = page_of(url)
    assert cells(page, "late 3") == ["g", "10", "", "1", "5", "4", "late 3, unreachable 1", "1"]
    bar = page[page.index('class="bar answers"') :]
    assert 'aria-label="decided 1, held 5, abstained 4"' in bar
    assert re.findall(r'class="(\w+)" style="width:([\d.]+)%"', bar)[:3] == [
        ("decided", "10.0"), ("held", "50.0"), ("abstained", "40.0"),
    ]  # fmt: skip


def test_who_is_on_the_bench_stands_there_with_what_to_set(url: str) -> None:
    play_into(
        url,
        [a_table(closes=[100.0, 101.0])],
        [a_contestant("plain", ScriptedEngine())],
        absent=[
            benched("claude", "no key: set ANTHROPIC_API_KEY in the environment or .env"),
            benched("grok", "no key: set XAI_API_KEY in the environment or .env", provider="xai"),
        ],
    )

    page = page_of(url)
    assert cells(page, ">grok<") == [
        "grok", "claude-test-1 xai", "no key: set XAI_API_KEY in the environment or .env",
    ]  # fmt: skip
    assert "claude (ANTHROPIC_API_KEY), grok (XAI_API_KEY) are benched" in page
    assert "What they answered" not in page


def test_a_real_season_has_its_section_and_marks_what_does_not_count(url: str) -> None:
    def script(view: View, number: int) -> Answer:
        call = a_call("g", view.account.now_ns, reply=REPLY)
        if number:
            why = Abstention(reason="late", text="no answer within 60 s")
            return Answer(abstention=why, calls=(call,))
        return Answer(intents=(view.buy(stop=50.0, target_first=0.6),), calls=(call,))

    play_into(
        url,
        [a_table(closes=[100.0 + i for i in range(12)])],
        [a_gladiator("g", script, cutoff_ns=NEVER), a_contestant("plain", ScriptedEngine())],
    )

    page = page_of(url)
    assert_loads_nothing(page)
    assert "✓ verified" in page
    trades = page[page.index('id="trades"') :]
    assert ">before-cutoff</small>" in trades
    assert "holds no rank; --count-before-cutoff ranks it" in page
    assert cells(page, "late 11")[1:4] == ["12", "", "1"]
    assert cells(page, "open long BTC-USD")[-1].startswith(
        "open long BTC-USD breaks out hold ETH-USD, SOL-USD no edge reply,"
    )


def test_replicas_are_shown_on_one_scale(url: str, store: SqlSeasonStore) -> None:
    lines = []
    for i, pnl in enumerate((250.0, 0.0, -500.0), start=1):
        store.engine(an_engine(f"c#{i}", name="c", replicas=3))
        lines.append(a_line(f"c#{i}", i, net_pnl_usd=pnl, counted_pnl_usd=pnl, family="c"))
    finish(store, *lines)

    page = page_of(url)
    assert cells(page, "<b>c</b>")[:6] == ["c", "3", "−0.33%", "1.53%", "−2.00%", "+1.00%"]
    strip = page[page.index('class="strip"') :]
    places = [float(x) for x in re.findall(r'<circle[^>]*cx="([\d.]+)"', strip)[:3]]
    assert places[0] > places[1] > places[2]
    assert places[1] == float(re.findall(r'class="zero" x1="([\d.]+)"', strip)[0])
    assert "c#3: −2.00%" in strip


def test_a_season_that_still_plays_has_the_section(url: str, store: SqlSeasonStore) -> None:
    store.engine(an_engine("g"))
    store.model_call(a_call("g", START_NS, reply=REPLY))
    store.commit(1, START_NS)

    page = page_of(url)
    assert_loads_nothing(page)
    assert "breaks out" in page


# How far probabilities are true


def test_a_diagram_has_dots_where_shares_lie_and_as_large_as_their_cases() -> None:
    tickets = [a_resolved(i, 0.3, came=i <= 2) for i in range(1, 9)]  # 2 of 8
    tickets += [a_resolved(i, 0.9, came=i <= 10) for i in range(9, 11)]  # 2 of 2
    tickets += [
        a_ticket(11, "g", target_first=0.5),  # open
        a_ticket(12, "g", status="CLOSED", exit_reason="engine", target_first=0.5),
        a_ticket(13, "g", status="CLOSED", exit_reason="stop"),  # said nothing
    ]

    drawn = diagram("g", "k0", Cases.of(tickets))

    assert (drawn.cases, drawn.untested) == (10, 1)
    assert drawn.base == pytest.approx(0.4)
    assert drawn.brier == pytest.approx((2 * 0.49 + 6 * 0.09 + 2 * 0.01) / 10)
    assert drawn.base_brier == pytest.approx(0.24)
    low, high = drawn.dots
    assert (low.x, low.y) == (round(LEFT + SIDE * 0.3, 1), round(TOP + SIDE * 0.75, 1))
    assert (high.x, high.y) == (round(LEFT + SIDE * 0.9, 1), TOP)
    assert (low.radius / high.radius) ** 2 == pytest.approx(8 / 2, rel=0.05)
    assert low.high_y < low.y < low.low_y
    assert "8 stated at 0.30 on average: the target came first in 25%" in drawn.says


def test_fewer_than_ten_are_too_few(url: str, store: SqlSeasonStore) -> None:
    store.engine(an_engine("g"))
    for i in range(1, 10):
        store.ticket(a_resolved(i, 0.5, came=True))
    finish(store, a_line("g"))

    page = page_of(url)
    figure = page[page.index("<figure") : page.index("</figure>")]
    assert "too few: 9 of 10" in figure
    assert "Brier" not in figure
    assert "<circle" not in figure


def test_replicas_share_a_diagram(url: str, store: SqlSeasonStore) -> None:
    for name in ("c#1", "c#2"):
        store.engine(an_engine(name, name="c", replicas=2))
    for i in range(1, 13):
        store.ticket(a_resolved(i, 0.5, came=i % 2 == 0, engine=f"c#{1 + i % 2}"))
    finish(store, a_line("c#1", family="c"), a_line("c#2", 2, family="c"))

    page = page_of(url)
    assert page.count("<figure") == 1
    figure = page[page.index("<figure") : page.index("</figure>")]
    assert "c (2 replicas)" in figure
    assert "Brier <b>0.250</b>, base rate 0.250" in figure
    assert 'role="img" aria-label="c (2 replicas): 12 tickets' in figure


@pytest.mark.parametrize(
    ("successes", "cases", "z", "low", "high"),
    [(0, 10, 1.96, 0.0, 0.2775), (10, 20, 1.96, 0.2993, 0.7007), (10, 10, 1.96, 0.7225, 1.0)],
)
def test_wilson_s_interval_has_its_known_values(
    successes: int, cases: int, z: float, low: float, high: float
) -> None:
    assert wilson(successes, cases, z) == pytest.approx((low, high), abs=1e-4)


# What was said


def test_what_a_reply_says_is_told_in_short() -> None:
    assert said_in(a_call("g", START_NS, reply=REPLY)) == [
        ("open long BTC-USD", "breaks out"),
        ("hold ETH-USD, SOL-USD", "no edge"),
    ]
    lesson = a_call("g", START_NS, attempt=3, reply='{"lesson": "wait for the close"}')
    assert said_in(lesson) == [("lesson", "wait for the close")]
    assert said_in(a_call("g", START_NS)) == [("no change", "")]
    assert said_in(a_call("g", START_NS, reply="buy!")) == [
        ("not understood:", "there is no JSON object in the answer")
    ]
    half = REPLY.replace('"market"', "null")
    assert [what for what, _ in said_in(a_call("g", START_NS, reply=half))] == [
        "hold ETH-USD, SOL-USD", "not taken:",
    ]  # fmt: skip
    assert said_in(a_call("g", START_NS, reply="")) == []


def test_calls_and_lessons_are_the_last_ones_and_cut(url: str, store: SqlSeasonStore) -> None:
    store.engine(an_engine("g"))
    for i in range(LAST_CALLS + 50):
        store.model_call(a_call("g", START_NS + i * HOUR_NS, reply="x" * 10_000))
    for i in range(LAST_LESSONS + 5):
        store.lesson(
            LessonRow(engine="g", at_ns=START_NS + i, ticket=i, text="y" * 10_000, words="w" * 999)
        )
    finish(store, a_line("g"))

    page = page_of(url)
    tables = page[page.index('id="calls"') :]
    assert tables.count("<details>") == LAST_CALLS
    assert f"the last {LAST_CALLS} of {LAST_CALLS + 50} calls" in page
    assert f"the last {LAST_LESSONS} of {LAST_LESSONS + 5} lessons" in page
    assert "reply, 10,000 characters" in page
    assert "x" * (MOST_REPLY - 1) + "…" in page
    assert "x" * MOST_REPLY not in page
    assert "y" * 500 not in page
    assert "2024-01-07 05:00" in page  # the newest
    assert "2024-01-03 01:00" not in page


@pytest.mark.parametrize("text", [EVIL, LONG], ids=["short", "64 KB"])
def test_whatever_a_model_or_its_provider_says_stays_text(
    text: str, url: str, store: SqlSeasonStore, tmp_path: Path
) -> None:
    said = text.replace("\x00", "")  # no store takes it
    reply = json.dumps({"decisions": [{"asset": said, "action": "hold", "thesis": said}]})
    names = [f"{i} {EVIL}".replace("\x00", "") for i in range(3)]
    for i, name in enumerate(names):
        store.engine(an_engine(name, name=said, model=said, provider=said, every=said, prompt=said))
        for hour in range(60):
            store.model_call(
                a_call(
                    name,
                    START_NS + hour * HOUR_NS,
                    reply=(said, reply, json.dumps({"lesson": said}))[i],
                    attempt=i + 1,
                    outcome=said,
                    error=said,
                    model_said=said,
                    provider=said,
                    model=said,
                )
            )
        store.lesson(LessonRow(engine=name, at_ns=1, ticket=i, text=said, words=said))
    store.engine(benched("b", said, model=said, provider=said))
    for i in range(1, 301):
        store.ticket(
            a_ticket(i, names[0], thesis=said, tag=said, lots=Decimal(1), target_first=0.5)
        )
    finish(
        store,
        *(
            a_line(
                name, None, family=said, tag=said, model_abstentions={f"{i}{said}": 1, "late": 2}
            )
            for i, name in enumerate(names)
        ),
    )

    page = page_of(url)

    tags = assert_loads_nothing(page)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert (
        sum("alert(1)" in part for tag, part in tags.texts if tag == "pre") >= 60
    )  # shown, not run
    assert not any(
        "alert" in part for tag, part in tags.texts if tag == "script" and "{" not in part
    )
    assert len(page.encode()) < 1_200_000
    with reading(url) as connection:
        written = write_report(connection, "season-1", tmp_path / "r.html")
    assert Tags(written.read_text("utf-8")).open == []
