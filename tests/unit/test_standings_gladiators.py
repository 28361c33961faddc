"""Standings tell what gladiators cost, who holds no rank and why, and how far luck reaches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from apps.cli.gladiator_lines import family_rows, gladiator_rows
from apps.cli.live import Lines, Screen
from apps.cli.remarks import names, remarks
from apps.cli.standings import COLUMNS, show_standings, standing_rows
from apps.cli.tables import Row
from hydra.engines.protocol import Abstention, Answer, Refusal
from hydra.engines.view import View
from hydra.mother.contestants import NEVER
from hydra.storage.call_figures import abstentions, call_figures, nearest_rank
from hydra.storage.database import reading
from hydra.storage.store import open_season
from hydra.tournament.season import EngineRow, EquityRow, ScoreRow
from tests.support.bars import START_NS, a_table
from tests.support.gladiators import (
    SECOND_NS,
    a_call,
    a_gladiator,
    benched,
    params_of,
    play_into,
)
from tests.support.seasons import (
    HOUR_NS,
    OPENING,
    USD,
    ScriptedEngine,
    a_contestant,
    a_season,
    play_bars,
)

KEYS = {"claude": "ANTHROPIC_API_KEY", "deepseek": "DEEPSEEK_API_KEY", "grok": "XAI_API_KEY"}
UNRANKED = (
    "decided on prices from before its model's knowledge cutoff (unknown): holds no rank;"
    " --count-before-cutoff ranks it"
)
RISING = a_table(closes=[100.0 + i for i in range(12)])


def no_key(name: str) -> str:
    return f"no key: set {KEYS[name]} in the environment or .env"


def asked(view: View, engine: str) -> Answer:
    call = a_call(engine, view.account.now_ns)
    return Answer(holds=("wait",), calls=(call,))


def buys_once(view: View, number: int) -> Answer:
    if number:
        return asked(view, "g")
    return Answer(
        intents=(view.buy(stop=view.close * 0.5),), calls=(a_call("g", view.account.now_ns),)
    )


def rows_of(url: str) -> dict[str, dict[str, object]]:
    with reading(url) as connection:
        return {str(row["engine"]): row for row in standing_rows(connection, None)}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'hydra.db'}"


def shown(rows: Sequence[Row], capsys: pytest.CaptureFixture[str]) -> str:
    show_standings(rows, as_json=False, title="t")
    return capsys.readouterr().out


# Who never played


def test_who_never_played_has_a_line_without_figures_below_those_who_did(url: str) -> None:
    play_into(
        url,
        [RISING],
        [a_contestant("plain", ScriptedEngine())],
        absent=[benched(name, no_key(name)) for name in KEYS],
    )

    rows = rows_of(url)
    assert list(rows) == ["plain", "claude", "deepseek", "grok", "house"]
    assert rows["claude"]["state"] == "benched"
    assert rows["claude"]["reason"] == no_key("claude")
    assert rows["claude"]["model"] == "claude-test-1"
    figures = {c.name for c in COLUMNS} - {"engine", "state", "reason", "provider", "model"}
    assert not any(rows["claude"][name] for name in figures)


def test_reasons_that_differ_in_what_to_set_are_one_line_that_says_what_to_set_for_each() -> None:
    rows = [{"engine": n, "state": "benched", "reason": no_key(n)} for n in KEYS]

    assert remarks(rows) == [
        "claude (ANTHROPIC_API_KEY), deepseek (DEEPSEEK_API_KEY), grok (XAI_API_KEY) are benched:"
        " no key: set it in the environment or .env"
    ]
    assert remarks(rows[:1]) == [f"claude is benched: {no_key('claude')}"]


def test_equal_reasons_are_one_line_and_different_ones_are_not() -> None:
    rows = [
        {"engine": f"claude#{i}", "state": "benched", "reason": no_key("claude")} for i in (3, 1, 2)
    ]
    rows.append({"engine": "ema", "state": "breached", "reason": "max-loss at 22,500"})
    rows.append({"engine": "x", "state": "benched", "reason": "EngineError: HTTP_PROXY, NO_PROXY"})

    assert remarks(rows) == [
        f"claude#1–#3 are benched: {no_key('claude')}",
        "ema is breached: max-loss at 22,500",
        "x is benched: EngineError: HTTP_PROXY, NO_PROXY",
    ]


def test_a_reason_of_any_length_is_a_remark_of_some_lines() -> None:
    (said,) = remarks(
        [{"engine": "x", "state": "benched", "reason": "EngineError: " + "y" * 65_536}]
    )

    assert len(said) < 450
    assert said.endswith("…")


@pytest.mark.parametrize(
    ("engines", "said"),
    [
        (["a"], "a"),
        (["c#2", "a", "c#1", "c#4"], "c#1–#2, #4, a"),
        (["c#x", "#1", "ema:fast=5"], "c#x, #1, ema:fast=5"),
    ],
)
def test_replicas_are_named_as_ranges(engines: list[str], said: str) -> None:
    assert names(engines) == said


# What a model costs


def test_gross_and_net_of_what_a_model_costs_stand_side_by_side(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    def faulty(view: View, number: int) -> Answer:
        call = a_call("f", view.account.now_ns, cost_units=None if number else USD // 100)
        if number == 1:
            return Answer(abstention=Abstention(reason="late", text="late"), calls=(call,))
        refusal = Refusal(
            symbol="DOGE", rule="unknown-asset", limit="", figure="", text="no DOGE", decision={}
        )  # fmt: skip
        return Answer(refusals=(refusal,), calls=(call,))

    play_into(
        url,
        [RISING],
        [
            a_gladiator("g", buys_once),
            a_gladiator("f", faulty),
            a_contestant("plain", ScriptedEngine()),
        ],
    )

    rows = rows_of(url)
    net, cost = rows["g"]["net_pnl_usd"], rows["g"]["model_cost_usd"]
    assert isinstance(net, float) and net > 0
    assert cost == pytest.approx(0.12)
    assert rows["g"]["net_of_models_usd"] == pytest.approx(net - 0.12)
    assert rows["f"]["net_of_models_usd"] is None
    assert rows["f"]["model_unknown_costs"] == 11
    assert rows["f"]["model_abstentions"] == {"late": 1}
    assert rows["plain"]["model_cost_usd"] is None

    out = shown(list(rows.values()), capsys)
    assert max(len(line) for line in out.splitlines()) <= 80
    _, below = out.split("language models")
    lines = {line.split()[0]: line.split() for line in below.splitlines() if line.strip()}
    assert lines["g"][1:6] == [
        "claude-test-1", f"+{net:,.2f}", "0.1200", f"+{net - 0.12:,.2f}", "12",
    ]  # fmt: skip
    assert lines["f"][3:5] == ["unknown", "unknown"]
    assert "plain" not in lines

    show_standings(list(rows.values()), as_json=True, title="t")
    found = {row["engine"]: row for row in json.loads(capsys.readouterr().out)}
    assert all(list(row) == [column.name for column in COLUMNS] for row in found.values())
    assert found["f"]["model_abstentions"] == {"late": 1}
    assert found["f"]["model_refused"] == 11
    assert found["g"]["model_input_tokens"] == 12_000


def test_a_season_without_gladiators_says_nothing_of_models(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    play_into(url, [RISING], [a_contestant("plain", ScriptedEngine())])

    out = shown(list(rows_of(url).values()), capsys)
    assert "model" not in out
    assert "replicas" not in out
    assert "benched" not in out


# Knowledge cutoff


def test_who_holds_no_rank_for_its_cutoff_says_so_and_keeps_its_return(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    play_into(
        url,
        [RISING],
        [a_gladiator("g", buys_once, cutoff_ns=NEVER), a_contestant("plain", ScriptedEngine())],
    )

    rows = rows_of(url)
    assert rows["g"]["rank"] is None
    assert rows["g"]["state"] == rows["g"]["tag"] == "before-cutoff"
    assert rows["g"]["reason"] == UNRANKED
    assert rows["g"]["return_frac"] == pytest.approx(rows["g"]["net_pnl_usd"] / 25_000)  # type: ignore[operator]
    assert rows["g"]["low_frac"] is None  # what counts is nothing, and has no interval
    assert rows["g"]["sharpe"] is None
    assert remarks(list(rows.values()))[0] == f"g: {UNRANKED}"
    assert "–  g " in shown(list(rows.values()), capsys)


def test_several_without_a_rank_are_one_remark_for_each_cutoff() -> None:
    rows = [
        {"engine": name, "state": "before-cutoff", "counting": "none", "cutoff": cutoff}
        for name, cutoff in (("a", "unknown"), ("b", "unknown"), ("c", "2024-01-31"))
    ]

    said = remarks(rows)
    assert len(said) == 2
    assert said[0].startswith("c: decided on prices from before its model's knowledge cutoff (2024")
    assert said[1] == (
        "a, b: decided on prices from before their models' knowledge cutoff (unknown): hold no"
        " rank; --count-before-cutoff ranks them"
    )


def trader(view: View, number: int) -> Answer:
    """Buys at every sixth question and closes two questions later."""
    if number % 6 == 0:
        return Answer(intents=(view.buy(stop=50.0),), calls=(a_call("g", view.account.now_ns),))
    if number % 6 == 2:
        return Answer(intents=tuple(view.close_ticket(t) for t in view.account.tickets))
    return Answer(holds=("wait",))


@pytest.mark.parametrize(("counts_all", "kind"), [(False, "later"), (True, "all")])
def test_who_ranks_by_a_part_of_its_decisions_or_by_all_of_them_says_so(
    url: str, counts_all: bool, kind: str
) -> None:
    cutoff = {"cutoff": "2023-12-31"}
    play_into(
        url,
        [a_table(closes=[100.0 + i for i in range(40)])],
        [
            a_gladiator(
                "g",
                trader,
                cutoff_ns=START_NS + 20 * HOUR_NS,
                params=params_of("g", **cutoff),
            ),
            # Between what counts of g and all that it made.
            a_contestant("plain", ScriptedEngine({30: lambda view: [view.buy(stop=65.0)]})),
        ],
        settings={"plan": {"counts_tagged": counts_all}},
        counts_tagged=counts_all,
    )

    rows = rows_of(url)
    g = rows["g"]
    assert g["rank"] is not None
    assert g["state"] == "playing"
    assert g["counting"] == kind
    (remark,) = [one for one in remarks(list(rows.values())) if one.startswith("g")]
    assert "2023-12-31" in remark
    assert ("--count-before-cutoff" in remark) == counts_all
    (line,) = gladiator_rows(list(rows.values()))
    assert line["counted_pnl_usd"] == (None if counts_all else g["counted_pnl_usd"])
    if not counts_all:
        # Its line stands below the one that it outearned, but not by what counts.
        plain = rows["plain"]["net_pnl_usd"]
        assert g["counted_pnl_usd"] < plain < g["net_pnl_usd"]  # type: ignore[operator]
        assert list(rows)[:2] == ["plain", "g"]


# Replicas


def test_the_spread_of_replicas_is_that_of_a_sample() -> None:
    rows: list[Row] = [
        {"engine": f"c#{i}", "family": "c", "all_frac": value}
        for i, value in enumerate((0.01, 0.03, -0.04), start=1)
    ]
    rows += [
        {"engine": "d#1", "family": "d", "all_frac": 0.02},
        {"engine": "ema", "family": None, "all_frac": 0.5},
        {"engine": "d#2", "family": "d"},  # never played
    ]

    c, d = family_rows(rows)
    assert c["replicas"] == 3
    assert c["mean_frac"] == pytest.approx(0.0)
    assert c["deviation_frac"] == pytest.approx(0.0360555, rel=1e-5)  # sqrt(0.0026 / 2)
    assert (c["lowest_frac"], c["highest_frac"]) == (-0.04, 0.03)
    assert (d["replicas"], d["deviation_frac"]) == (1, None)


def test_replicas_have_a_table_of_their_own(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    engines = [
        a_gladiator("claude#1", lambda view, number: asked(view, "claude#1")),
        a_gladiator("claude#2", buys_once),
    ]
    play_into(url, [RISING], engines)

    rows = rows_of(url)
    assert rows["claude#1"]["family"] == "claude"
    out = shown(list(rows.values()), capsys)
    _, below = out.split("replicas of one model")
    line = next(line for line in below.splitlines() if line.startswith("claude "))
    returns = [rows[f"claude#{i}"]["return_frac"] for i in (1, 2)]
    assert line.split()[:2] == ["claude", "2"]
    assert f"+{50 * sum(returns):.2f}%" in line  # type: ignore[arg-type]


# While it plays


def test_a_playing_season_tells_what_was_asked_so_far(url: str) -> None:
    with open_season(url, a_season(), resume=False) as store:
        for name, cutoff in (("g", "2023-12-31"), ("h", None)):
            store.engine(
                EngineRow(
                    engine=name, title="t", params=params_of(name, cutoff=cutoff),
                    is_reference=False,
                )
            )  # fmt: skip
        store.engine(benched("claude", no_key("claude")))
        store.model_call(a_call("g", START_NS, cost_units=None))
        store.model_call(a_call("g", START_NS, attempt=2, latency_ns=3 * SECOND_NS))
        store.model_call(a_call("h", START_NS))
        store.model_call(a_call("h", START_NS + 1, outcome="over-budget", tries=0, cost_units=None))
        store.journal(1, START_NS, "g", "abstained", None, b'{"reason":"late","text":"60 s"}')
        store.journal(1, START_NS, "g", "abstained", None, b'{"reason":"late","text":"60 s"}')
        for name, rank, equity in (("g", 1, 300), ("h", None, -20)):
            net_units = 100 * USD if rank else equity * USD
            store.equity(
                EquityRow(
                    at_ns=START_NS, engine=name, equity_units=OPENING + equity * USD,
                    balance_units=OPENING, shadow_units=OPENING, weight=0.4,
                )
            )  # fmt: skip
            store.score(
                ScoreRow(
                    at_ns=START_NS, scoring_cycle=1, engine=name, rank=rank, total_points=40.0,
                    weight=1.0, net_pnl_units=net_units, trades=3, wins=1,
                )
            )  # fmt: skip
        store.commit(1, START_NS)

    rows = rows_of(url)
    assert list(rows) == ["g", "h", "claude"]
    assert rows["g"]["net_pnl_usd"] == 300  # in all; 100 of it counts
    assert rows["g"]["counted_pnl_usd"] == 100
    assert rows["g"]["counting"] == "later"
    assert rows["g"]["model_abstentions"] == {"late": 2}
    assert rows["g"]["model_unknown_costs"] == 1
    assert rows["g"]["net_of_models_usd"] is None
    assert rows["h"]["state"] == "before-cutoff"
    assert rows["h"]["model_calls"] == 1
    assert rows["h"]["net_of_models_usd"] == pytest.approx(-20.01)
    with reading(url) as connection:
        assert abstentions(connection) == {"g": {"late": 2}}
        figures = call_figures(connection)
    assert figures["g"].repairs == 1
    assert (figures["g"].latency_p50_ns, figures["g"].latency_p95_ns) == (SECOND_NS, 3 * SECOND_NS)
    assert figures["h"].outcomes == {"answered": 1, "over-budget": 1}


def test_before_the_first_score_there_is_nothing_to_show(url: str) -> None:
    with open_season(url, a_season(), resume=False) as store:
        store.engine(benched("claude", no_key("claude")))
        store.commit(0, START_NS)

    assert rows_of(url) == {}


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([], 50, None), ([7], 95, 7), ([1, 2, 3, 4], 50, 2), (list(range(1, 21)), 95, 19)],
)
def test_percentiles_are_values_that_occurred(
    values: list[int], percent: int, found: int | None
) -> None:
    assert nearest_rank(values, percent) == found


def test_the_live_view_shows_who_plays_and_stands_the_bench(
    capsys: pytest.CaptureFixture[str],
) -> None:
    season = play_bars(
        [RISING],
        [a_gladiator("g", buys_once, cutoff_ns=NEVER), a_contestant("plain", ScriptedEngine())],
        absent=[benched("claude", no_key("claude"))],
    )
    places = season.mother.places
    console = Console(width=120, force_terminal=True, color_system=None)
    screen = Screen(
        console, title="t", cycles=12, engine_bars=24, initial_units=OPENING, standings=places
    )

    with screen:
        screen.update(6, START_NS)
        table = screen._table(places())
    Lines(12, places).update(12, START_NS)

    assert table.row_count == 2
    assert "leads: plain" in capsys.readouterr().out
