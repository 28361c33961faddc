"""The report is one page that loads nothing, and shows untrusted text as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from apps.cli.report import default_path, render, write_report
from hydra.errors import ConfigError
from hydra.settings import Settings
from hydra.storage.database import reading
from hydra.storage.store import open_season
from hydra.tournament.season import EngineRow, EquityRow, GuardianDayRow
from tests.support.pages import assert_loads_nothing
from tests.support.seasons import OPENING, START_NS, USD, a_season, a_ticket, play

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
HOUR_NS = 3_600 * 10**9


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    url = f"sqlite:///{tmp_path / 'hydra.db'}"
    with open_season(url, a_season(), resume=False) as store:
        play(store)
    with reading(url) as opened:
        yield opened


def test_a_page_loads_nothing_and_is_well_formed(connection: Connection) -> None:
    page = render(connection)

    assert_loads_nothing(page)
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest", page)


def test_a_page_names_what_matters(connection: Connection) -> None:
    page = render(connection)

    for must in ("season-1", "ftmo-2step", "donchian", "max open", "below the floor", "verified"):
        assert must in page


def test_untrusted_text_stays_text(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hydra.db'}"
    with open_season(url, a_season(), resume=False) as store:
        store.engine(
            EngineRow(
                engine=EVIL,
                title=EVIL,
                params={EVIL: EVIL},
                is_reference=False,
                state="benched",
                reason=EVIL,
            )
        )
        store.journal(
            1, START_NS, EVIL, "refused", None, json.dumps({"refused": {"rule": EVIL}}).encode()
        )
        store.ticket(a_ticket(1, EVIL, thesis=EVIL, asset=EVIL))
        store.equity(
            EquityRow(
                at_ns=START_NS,
                engine=EVIL,
                equity_units=OPENING,
                balance_units=OPENING,
                shadow_units=OPENING,
                weight=0.0,
            )
        )
        store.guardian_day(
            GuardianDayRow(
                engine=EVIL,
                day="2024-01-01",
                start_balance_units=OPENING,
                daily_floor_units=OPENING - USD,
                total_floor_units=None,
                worst_equity_units=OPENING,
                end_balance_units=OPENING,
                opened=0,
                refused=0,
                resized=0,
                breach=EVIL,
            )
        )
        store.commit(1, START_NS)

    with reading(url) as connection:
        page = render(connection)

    assert_loads_nothing(page)
    assert "alert(1)" in page  # shown, not run
    data = re.search(r'id="curves">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["equity"]["lines"][0]["name"] == EVIL


def test_a_season_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hydra.db'}"
    with open_season(url, a_season(), resume=False) as store:
        store.commit(0, START_NS)

    with reading(url) as connection:
        assert "No engine holds a rank yet" in render(connection)


def test_many_days_and_trades_are_cut_and_the_page_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'hydra.db'}"
    with open_season(url, a_season(), resume=False) as store:
        for i in range(1, 701):
            store.ticket(a_ticket(i))
        for i in range(3_000):
            store.equity(
                EquityRow(
                    at_ns=START_NS + i * HOUR_NS,
                    engine="ema",
                    equity_units=OPENING + (i % 97) * USD,
                    balance_units=OPENING,
                    shadow_units=OPENING,
                    weight=0.4,
                )
            )
        store.commit(1, START_NS)

    with reading(url) as connection:
        page = render(connection)

    assert "the last 500 of 700 tickets" in page
    data = re.search(r'id="curves">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    (line,) = json.loads(data[1])["equity"]["lines"]
    assert len(line["t"]) <= 600
    assert max(line["v"]) == 25_096


def test_a_report_is_written_whole_or_not_at_all(connection: Connection, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"

    assert write_report(connection, "season-1", out) == out
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    with pytest.raises(ConfigError, match="is a folder"):
        write_report(connection, "season-1", tmp_path)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(connection, "season-1", out / "below" / "a-file.html")
    with pytest.raises(ConfigError, match="no season"):
        write_report(connection, "other", out)


def test_a_season_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    settings = Settings(HYDRA_HOME=tmp_path)  # type: ignore[call-arg]

    path = default_path(settings, "../../etc/passwd")

    assert path.parent == tmp_path.resolve() / "data" / "hydra" / "reports"
