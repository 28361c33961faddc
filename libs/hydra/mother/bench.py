"""When an engine that keeps failing is put on the bench."""

from __future__ import annotations


class Bench:
    """Counts failures in a row. One success clears an engine's count."""

    def __init__(self, failures: int) -> None:
        self._most = failures
        self._in_a_row: dict[str, int] = {}

    def failed(self, engine: str) -> bool:
        """Whether this failure is one too many."""
        self._in_a_row[engine] = self._in_a_row.get(engine, 0) + 1
        return self._in_a_row[engine] >= self._most

    def succeeded(self, engine: str) -> bool:
        """Clear the engine's count; whether there was one."""
        return self._in_a_row.pop(engine, 0) > 0
