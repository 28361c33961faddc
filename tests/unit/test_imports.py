"""The shape of the house: imports point one way, and some rules that a reader can check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shared_data import ROOT

ROOMS = ("market", "features", "portfolio", "guardian", "tournament", "engines", "mother")
EDGES = ("feeds", "brokers", "storage", "operations")
COMMON = ("clock", "errors", "settings", "variables", "jit")
# What an edge may know: the values of the rooms, never who plays them.
KNOWN_TO_EDGES = ("market", "features", "portfolio", "guardian", "tournament")
SOURCES = sorted((ROOT / "libs").rglob("*.py")) + sorted((ROOT / "apps").rglob("*.py"))


def imports_of(path: Path) -> Iterator[str]:
    """Full names of all modules that the file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "apps" if parts[0] == "apps" else parts[2].removesuffix(".py")


def allowed(room: str) -> set[str]:
    if room in ROOMS:
        return {*COMMON, *ROOMS[: ROOMS.index(room) + 1]}
    if room in EDGES:
        return {*COMMON, *KNOWN_TO_EDGES, *EDGES}
    return {*COMMON, *ROOMS, *EDGES, "warm"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_from_right_to_left(path: Path) -> None:
    room = room_of(path)
    if room in (*COMMON, "warm", "__init__"):
        return
    wrong = []
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "apps" and room != "apps":
            wrong.append(name)
        if parts[0] == "hydra" and len(parts) > 1 and parts[1] not in allowed(room):
            wrong.append(name)

    assert not wrong, f"{room} may not import {', '.join(wrong)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_clock_reads_the_time(path: Path) -> None:
    if path.name == "clock.py":
        return
    calls = {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }  # fmt: skip

    assert not calls & {
        "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time",
        "time.time_ns", "time.monotonic", "time.monotonic_ns",
    }  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_pickled_and_no_sql_is_pasted_together(path: Path) -> None:
    assert not {"pickle", "dill", "shelve", "marshal"} & set(imports_of(path))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] in (
            "execute", "exec_driver_sql", "executemany", "text",
        ):  # fmt: skip
            pasted = [a for a in node.args[:1] if isinstance(a, ast.JoinedStr | ast.BinOp)]
            assert not pasted, f"line {node.lineno}"
