"""Alarms: told once, told again while they last, taken back; and what a season's pulse says."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event

import pytest

from apps.runtime.sentinel import STALL_S, STORAGE_S, Pulse, Sentinel, conditions
from apps.runtime.status import read
from hydra.clock import NS_PER_DAY, NS_PER_S
from hydra.operations.alarms import REMIND_S, Alarms, Condition, News, Notice, run_command
from tests.support.bars import an_instrument
from tests.support.daemons import a_board

STATUS = Path("data") / "hydra" / "run" / "live.json"


def told(alarms: Alarms, at_s: float, *found: Condition) -> list[tuple[News, str]]:
    return [(one.news, one.key) for one in alarms.look(found, round(at_s * NS_PER_S))]


def test_an_alarm_is_told_once_then_reminded_of_then_taken_back() -> None:
    alarms = Alarms()
    fire = Condition("fire", "it burns")

    assert told(alarms, 0, fire) == [(News.RAISED, "fire")]
    assert told(alarms, 1, fire) == []
    assert told(alarms, REMIND_S, fire) == [(News.LASTS, "fire")]
    assert alarms.standing() == ["it burns"]
    assert told(alarms, REMIND_S + 1) == [(News.OVER, "fire")]
    assert alarms.standing() == []


def test_what_has_not_held_long_enough_is_not_told_of_at_all() -> None:
    alarms = Alarms()
    slow = Condition("slow", "it is slow", after_s=10)

    assert told(alarms, 0, slow) == []
    assert told(alarms, 9, slow) == []
    assert told(alarms, 9.5) == []  # over before it was worth a word
    assert told(alarms, 10, slow) == []  # counted anew
    assert told(alarms, 20, slow) == [(News.RAISED, "slow")]


def test_a_notice_says_how_long_it_has_lasted() -> None:
    assert str(Notice(News.RAISED, "fire", "it burns", 0.0)) == "alarm: it burns"
    assert str(Notice(News.OVER, "fire", "it burns", 90.0)) == "alarm over: it burns (90 s)"


def keys(pulse: Pulse, at_s: float = 0.0) -> dict[str, float]:
    found = conditions(pulse, round(at_s * NS_PER_S), prices_s=300.0)
    return {one.key: one.after_s for one in found}


def a_pulse(**values: object) -> Pulse:
    pulse = Pulse(bar_s=60.0, is_playing=True, beat_ns=0, symbols=2)
    for name, value in values.items():
        setattr(pulse, name, value)
    return pulse


def test_a_season_on_which_all_is_well_has_no_alarm() -> None:
    assert keys(a_pulse(), at_s=60.0) == {}
    assert keys(a_pulse(unfit={"BTC-USD": "stale"}), at_s=60.0) == {}  # refused, nothing is open


def test_a_market_that_stands_still_is_told_of() -> None:
    assert keys(a_pulse(), at_s=60.0 + STALL_S) == {}
    assert keys(a_pulse(), at_s=60.5 + STALL_S) == {"stall": 0.0}
    assert keys(a_pulse(is_playing=False), at_s=9_000.0) == {}  # it is recovering
    assert keys(a_pulse(bar_s=None), at_s=9_000.0) == {}  # of a file, at any pace


def test_open_tickets_on_unfit_prices_are_told_of_with_the_reason() -> None:
    pulse = a_pulse(unfit={"BTC-USD": "coinbase is stale"}, exposed=frozenset({"BTC-USD"}))

    (found,) = conditions(pulse, 0, prices_s=300.0)

    assert (found.key, found.after_s) == ("equity", 300.0)
    assert "BTC-USD: coinbase is stale" in found.text


def test_no_fit_symbol_at_all_is_told_of() -> None:
    assert keys(a_pulse(unfit={"A": "stale", "B": "stale"})) == {"prices": 300.0}


def test_a_database_that_is_away_explains_the_standstill() -> None:
    assert keys(a_pulse(storage="locked"), at_s=9_000.0) == {"storage": STORAGE_S}


class Restless(Pulse):
    """The loop replaces what is unfit between any two looks at it."""

    __slots__ = ("looks",)
    looks: list[dict[str, str]]

    def __getattribute__(self, name: str) -> object:
        if name == "unfit":
            looks = super().__getattribute__("looks")
            return looks.pop(0) if looks else {}
        return super().__getattribute__(name)


def test_what_the_loop_replaces_meanwhile_does_not_make_the_sentinel_stumble() -> None:
    pulse = Restless(bar_s=60.0, beat_ns=0, symbols=2, exposed=frozenset({"A"}))
    pulse.looks = [{"A": "stale"}]

    assert keys(pulse) == {"equity": 300.0}


def test_a_sentinel_that_cannot_tell_says_so_in_the_status_and_looks_again(tmp_path: Path) -> None:
    told = Heard()

    def deaf(line: str) -> None:
        told(line)
        raise BrokenPipeError("nobody reads")

    pulse = a_pulse(beat_ns=-(10**15))
    sentinel = Sentinel(
        pulse, a_board(tmp_path), folder=tmp_path, prices_s=300.0, command=(), warn=deaf
    )
    with sentinel:
        assert told.came.wait(20.0)
        told.came.clear()
        pulse.beat_ns, pulse.is_playing = 0, False
        assert told.came.wait(20.0)  # that it is over
    assert [line.split(":")[0] for line in told.lines] == ["alarm", "alarm over"]


class Heard:
    """What a sentinel says, and a wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.came = Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self.came.set()


def a_sentinel(home: Path, pulse: Pulse, heard: Heard, *command: str) -> Sentinel:
    return Sentinel(pulse, a_board(home), folder=home, prices_s=300.0, command=command, warn=heard)


def test_the_sentinel_works_while_the_market_loop_is_held(tmp_path: Path) -> None:
    heard = Heard()
    pulse = a_pulse(storage="", beat_ns=-(10**15))  # ages ago

    with a_sentinel(tmp_path, pulse, heard):
        assert heard.came.wait(20.0)  # this thread, the loop's, does nothing else

        assert read(tmp_path / STATUS).alarms
    assert "alarm: no minute has been played for" in heard.lines[0]
    assert read(tmp_path / STATUS).alarms == []  # it does not run any more


def test_alarms_stand_in_the_status_until_they_are_over(tmp_path: Path) -> None:
    heard = Heard()
    pulse = a_pulse(unfit={"A": "stale", "B": "stale"})
    sentinel = a_sentinel(tmp_path, pulse, heard)
    status_path = tmp_path / STATUS

    sentinel.look(0)
    assert not status_path.exists()
    sentinel.look(300 * NS_PER_S)
    pulse.beat_ns = 300 * NS_PER_S
    assert any("no symbol has fit prices" in one for one in read(status_path).alarms)
    pulse.unfit = {}
    sentinel.look(301 * NS_PER_S)
    assert read(status_path).alarms == []


def test_a_command_of_the_operator_gets_the_alarm(tmp_path: Path) -> None:
    note = tmp_path / "note"
    write = f"import sys, pathlib; pathlib.Path({str(note)!r}).write_text(sys.stdin.read())"

    fault = run_command([sys.executable, "-c", write], Notice(News.RAISED, "fire", "it $burns", 0))

    assert fault == ""
    assert note.read_text() == "alarm: it $burns\n"


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (["/no/such/program"], "No such file"),
        ([sys.executable, "-c", "import sys; sys.exit('no line')"], "ended with 1: no line"),
    ],
)
def test_a_command_that_fails_says_so(command: list[str], fault: str) -> None:
    assert fault in run_command(command, Notice(News.RAISED, "fire", "it burns", 0))


def test_a_market_that_is_shut_is_unfit_but_no_alarm() -> None:
    sunday_ns = 1_704_585_600 * NS_PER_S  # 2024-01-07
    instruments = [an_instrument("EURUSD", calendar="fx"), an_instrument("BTC-USD")]
    pulse = Pulse(bar_s=60.0)

    pulse.feel({"EURUSD": "not tradeable"}, instruments, sunday_ns)
    assert (pulse.symbols, pulse.unfit) == (1, {})
    pulse.feel({"EURUSD": "stale"}, instruments, sunday_ns - 3 * NS_PER_DAY)
    assert (pulse.symbols, pulse.unfit) == (2, {"EURUSD": "stale"})
