"""The first rows of a season: how it was set up, and who plays."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.market.bars import Stream
from hydra.mother.contestants import Contestant
from hydra.mother.desk import Desk
from hydra.mother.plan import SeasonPlan
from hydra.tournament.season import EngineRow, SeasonStore


def open_season(
    *,
    plan: SeasonPlan,
    contestants: Sequence[Contestant],
    absent: Sequence[EngineRow],
    streams: Sequence[Stream],
    desk: Desk,
    store: SeasonStore,
) -> None:
    """Write them down, and let the book watch every account's floors."""
    engines = [
        EngineRow(engine=c.name, title=c.title, params=c.params, is_reference=c.is_reference)
        for c in contestants
    ]
    desk.record(
        "",
        "season",
        {
            "settings": plan.record(),
            "engines": engines,
            "streams": [(s.instrument, s.resolution_ns) for s in streams],
        },
    )
    for row in (*engines, *absent):
        store.engine(row)
    for row in absent:
        desk.record(row.engine, row.state, {"reason": row.reason})
    for prompt in {row.sha256: row for c in contestants for row in c.prompts}.values():
        store.prompt(prompt)
    for account in desk.accounts:
        desk.floors.set(account)
