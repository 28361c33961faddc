"""What reached a season from outside, so that a resumed one hears it again."""

from __future__ import annotations

import msgspec

from hydra.tournament.season import SeasonStore

KILL, RELEASE, TIMEOUT = "external.kill", "external.release", "external.timeout"


class Inputs:
    """The recorded inputs of a season that is resumed; none of a new one."""

    def __init__(self, store: SeasonStore) -> None:
        self.stored_cycle = store.stored_cycle
        self._switches: dict[int, list[bool]] = {}
        self.late: dict[int, list[str]] = {}  # by cycle: engines that overran their deadline
        for cycle, kind, body in store.external_inputs():
            if kind == TIMEOUT:
                engine = str(msgspec.json.decode(body)["engine"])
                self.late.setdefault(cycle, []).append(engine)
            else:
                self._switches.setdefault(cycle, []).append(kind == KILL)

    def switches(self, cycle: int) -> list[bool]:
        """How the kill switch was turned at the start of the cycle: on, off."""
        return self._switches.get(cycle, [])

    def was_late(self, cycle: int, engine: str) -> bool:
        """Whether the engine's decision of this cycle overran its deadline; told once."""
        late = self.late.get(cycle, [])
        if engine not in late:
            return False
        late.remove(engine)
        return True
