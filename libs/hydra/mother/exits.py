"""How an engine leaves a season: asked no more, its tickets closed, its state and why on record."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from hydra.mother.clockwork import Clockwork
from hydra.mother.contestants import Contestant
from hydra.mother.desk import Desk
from hydra.mother.ledgers import Account
from hydra.mother.seats import Screen
from hydra.mother.shadow import Shadows
from hydra.tournament.ranking import State
from hydra.tournament.season import EngineRow, SeasonStore


class Exits:
    """Keeps `states`, the rows of engines that no longer play, by name."""

    def __init__(
        self,
        *,
        desk: Desk,
        contestants: Sequence[Contestant],
        screens: Sequence[Screen],
        clockwork: Clockwork,
        shadows: Shadows,
        states: MutableMapping[str, EngineRow],
        store: SeasonStore,
    ) -> None:
        self._desk = desk
        self._contestants = contestants
        self._screens = screens
        self._clockwork = clockwork
        self._shadows = shadows
        self._states = states
        self._store = store

    def leave(self, account: Account, state: State, reason: str, code: int) -> None:
        """The account's engine is out. `code`: why its tickets are closed, of the BY_ ones.

        One that is out already may still lose its account, but fails no more.
        """
        if state is State.BENCHED and account.name in self._states:
            return
        now_ns = self._desk.moment.now_ns
        for screen in self._screens:
            screen.dismiss(account.index)
        self._clockwork.dismiss(account.index)
        self._desk.close_all(account, code, now_ns)
        if state is not State.BREACHED:
            self._shadows.left(self._desk, account)
        if account.index < len(self._contestants):  # else the house's
            contestant = self._contestants[account.index]
            row = EngineRow(
                engine=account.name,
                title=contestant.title,
                params=contestant.params,
                is_reference=contestant.is_reference,
                state=state.value,
                reason=reason,
                since_ns=now_ns,
            )
            self._states[account.name] = row
            self._store.engine(row)
        self._desk.record(account.name, state.value, {"reason": reason})
