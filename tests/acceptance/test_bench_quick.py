"""The benchmarks do what they say: not how fast, but that all do the same work."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import daemon, daemon_feeds, daemon_ticks, models, report
from benchmarks.measure import Measurement, Task, from_json, measure
from benchmarks.suite import HYDRA, SLEEPING, Plan, Results, run
from benchmarks.workload import Workload, candles


def test_a_longer_walk_begins_with_the_shorter_one() -> None:
    short, long = candles(500), candles(2_000)

    assert (long.close[:500] == short.close).all()
    assert (short.high >= short.close).all() and (short.low <= short.open).all()
    assert (short.volume > 0).all()


def test_a_sample_of_the_engines_is_spread_evenly() -> None:
    assert Workload.of(10, 50, sample=3).periods == ((20, 80), (44, 176), (69, 276))


def test_hydra_takes_the_trades_of_backtesting_py_on_the_workload_of_the_benchmark() -> None:
    bars = 8_000
    hydra, sleeping, peer = (
        measure(Task(name, bars, 1)) for name in (HYDRA, SLEEPING, "backtesting_py")
    )

    # Hydra closes at the end what backtesting.py leaves open.
    assert hydra.trades == peer.trades + 1
    assert (hydra.trades, hydra.pnl_usd) == (sleeping.trades, sleeping.pnl_usd)


def test_a_measurement_comes_back_from_a_process_of_its_own() -> None:
    found = run(Task(HYDRA, 2_000, 2, runs=2, options={"watch": "phases"}))

    assert len(found.cpu_s) == 2
    assert found.engine_bars == 4_000
    assert found.peak_mb > 10
    assert sum(found.notes.values()) == pytest.approx(1.0)


def test_the_report_judges_every_aim() -> None:
    task = Task(HYDRA, 1_000, 1)
    slow, fast = (
        Measurement(task, "1", 1_000, [seconds, seconds], [1.0, 1.0], 10, 0.0, 0.0, {}, 100.0)
        for seconds in (1.0, 0.0001)
    )
    results = Results(
        Plan(1_000, 100, 1_000, 2, rounds=1, slow_rounds=1, sample=1),
        machine="one",
        python="3",
        one={HYDRA: fast, SLEEPING: fast, "backtesting_py": slow},
        many={HYDRA: slow, SLEEPING: slow, "backtesting_py": fast},
        absent={"backtrader_py": "No module named backtrader"},
        few=fast,
        again_one=fast,
        again_many=fast,
        store={"one": 0.1, "many": 0.3},
        phases={"one": {"loop": 1.0}, "many": {"loop": 1.0}},
    )

    reached = {aim.name: aim.reached for aim in report.aims(results)}

    assert reached["one engine, asked at every bar ÷ backtesting.py"] is True
    assert reached["2 engines, asked at every bar: engine-bars a CPU second"] is False
    assert reached["store's share of CPU, 2 engines"] is False
    assert None in reached.values()  # backtrader is not there
    assert "No module named backtrader" in report.markdown(results)
    assert json.loads(json.dumps(results.as_json()))["plan"]["engines"] == 2


def test_a_measurement_is_read_as_it_was_printed() -> None:
    found = measure(Task("backtesting_py", 1_000, 1))

    assert from_json(json.dumps(found.as_json())) == found


@pytest.mark.nightly
def test_the_cost_of_a_gladiators_call_is_measured_beside_the_sdks() -> None:
    before = set(os.environ)
    found = models.measure(calls=25, say=lambda what: None)

    assert set(found.wires) == {"deepseek", "anthropic", "xai", "google"}
    assert found.ours.calls > 20
    for whole, sdk in found.wires.values():
        assert whole.calls == sdk.calls == 25
        assert whole.p50 > found.ours_again.p50 / 2
    assert found.crowd.calls == models.CROWD
    assert found.memory_mb > 100
    assert "| missed deadlines, 200 at once |" in models.markdown(found)
    # Whoever runs next in this process has no keys. The other variable is polars' own.
    assert set(os.environ) <= {*before, "_RJEM_MALLOC_CONF"}


def test_ticks_are_measured_one_by_one() -> None:
    market, source = daemon_ticks.market(600, 2_000, Path("nowhere"))
    found = daemon_ticks.measure(market, rate=2_000, commit_ms=None, every=2, paced=False).row()

    assert "sample" in source
    assert len(market) == 600 and market.resolution_ns == 500_000
    assert found["ticks"] == 540  # a tenth is for warming up
    assert found["trades"] > 1_000  # of 20 engines, once they are warm
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]


def test_a_pulse_never_crosses_its_book() -> None:
    venue = daemon_feeds.Pulse(100)
    for _ in range(3_000):
        next(venue.walk)
        for book in venue.books.values():
            bids, asks = book.depth(1)
            assert bids[0][0] < asks[0][0]


@pytest.mark.nightly
def test_the_goals_of_the_daemon_are_measured_on_processes_that_are_killed(tmp_path: Path) -> None:
    plan = replace(daemon.QUICK, ticks=600, growth_ticks=600, listen_s=0.0)
    found = daemon.measure(plan, tmp_path, say=lambda what: None)

    assert found.stored["records"] >= plan.records
    assert found.recovery["cpu_s"] > 0 and found.recovery["took_s"] > 0
    assert found.memory["last_mb"] > 100
    assert all(rate > 0 for rates in found.events.values() for rate in rates.values())
    assert {aim.reached for aim in daemon.aims(found)} >= {None}  # the load was not measured
    assert "durable events a second" in daemon.markdown(found)
