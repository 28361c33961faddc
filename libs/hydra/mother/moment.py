"""Which cycle it is and what time: one value that everyone in the room looks at."""

from __future__ import annotations


class Moment:
    """The newest cycle's number, from 1, and its instant. Mother alone moves it."""

    __slots__ = ("cycle", "now_ns")

    def __init__(self, now_ns: int) -> None:
        self.cycle = 0
        self.now_ns = now_ns
