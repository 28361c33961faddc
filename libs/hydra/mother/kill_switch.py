"""The operator's kill switch, as Mother hears it: thrown between cycles, and on record."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.guardian.guardian import Guardian
from hydra.mother.desk import Desk
from hydra.mother.inputs import KILL, RELEASE
from hydra.portfolio.columns import BY_KILL_SWITCH
from hydra.tournament.season import SeasonStore


class KillSwitch:
    """Looks at the store's switch. `wanted`: how it is to be turned next; None: it stays."""

    def __init__(
        self,
        *,
        desk: Desk,
        guardians: Sequence[Guardian],
        store: SeasonStore,
        by_environment: bool,
    ) -> None:
        self._desk = desk
        self._guardians = guardians
        self._store = store
        self._by_environment = by_environment
        self._is_on = False
        self.wanted: bool | None = None

    def look(self) -> None:
        """See how the operator has it now."""
        on = self._store.kill_switch() or self._by_environment
        self.wanted = on if on != self._is_on else None

    def turn(self, on: bool) -> None:
        """Throw or release it: at the start of a cycle, before its bars."""
        self._is_on = on
        self.wanted = None
        self._desk.record("", KILL if on else RELEASE, {})
        for guardian in self._guardians:
            if on:
                guardian.kill("kill switch")
            else:
                guardian.release()
        if on:
            for account in self._desk.accounts:
                self._desk.close_all(account, BY_KILL_SWITCH, self._desk.moment.now_ns)
