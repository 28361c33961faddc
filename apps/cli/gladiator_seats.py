"""Puts the gladiators of a season on their seats: contestants, or the bench with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from hydra.engines.llm.calls import ModelClient
from hydra.engines.llm.gladiator import GladiatorEngine
from hydra.engines.llm.prompt_files import prompt
from hydra.engines.llm.providers import why_benched
from hydra.engines.llm.roster import Gladiator
from hydra.engines.registry import ENGINES
from hydra.errors import ConfigError
from hydra.market.bars import BarTable
from hydra.market.timeframes import timeframe_ns
from hydra.mother.contestants import NEVER, Contestant
from hydra.operations.secrets import secret
from hydra.settings import variable
from hydra.tournament.season import EngineRow

NS_PER_MS = 1_000_000
ANSWER_GRACE_S = 5.0  # beyond a gladiator's own deadline, before Mother stops waiting for it
# Where its requests go and what its key is called decide nothing of a season.
PRIVATE = ("base_url", "key_env", "only_with", "enabled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A gladiator that a season names. `benched`: why it cannot play, "" where it can."""

    settings: Gladiator
    benched: str = ""


def default_names(roster: Mapping[str, Gladiator]) -> tuple[str, ...]:
    """Those that enter a season where nobody says who plays."""
    return tuple(
        name for name, one in roster.items() if not one.only_with or variable(one.only_with)
    )


def check_names(roster: Mapping[str, Gladiator]) -> None:
    """Raises ConfigError where a gladiator is named as an engine, or as the house."""
    taken = sorted(roster.keys() & {*ENGINES, "house"})
    if taken:
        raise ConfigError(f"gladiator {taken[0]}: the name is taken; give it another")


def entries_of(
    chosen: Sequence[Gladiator], *, models: str, benched: Mapping[str, str] | None = None
) -> tuple[Entry, ...]:
    """Who of the chosen can play. `benched` says it of a season that was played before."""
    if benched is not None:
        return tuple(Entry(settings=one, benched=benched.get(one.name, "")) for one in chosen)
    if models == "off":
        return tuple(Entry(settings=one, benched="models are off (--models off)") for one in chosen)
    return tuple(Entry(settings=one, benched=why_benched(one, secret)) for one in chosen)


def public(settings: Gladiator) -> dict[str, object]:
    """What a season's settings and its engines' rows say of a gladiator, JSON values."""
    told = cast(dict[str, object], msgspec.to_builtins(settings))
    return {name: value for name, value in told.items() if name not in PRIVATE}


def from_public(told: object) -> Gladiator:
    """The gladiator of a stored season. Raises ConfigError."""
    try:
        return msgspec.convert(told, Gladiator, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"a gladiator of the stored season cannot be read: {error}") from error


def resolutions(
    entries: Sequence[Entry], tables: Sequence[BarTable]
) -> dict[str, tuple[int | None, int | None]]:
    """By name: the bars that each gladiator reads, and the coarser ones beside them.

    A timeframe that is not coarser than every symbol's own bars, or no multiple of them, gives
    way to those bars (None), or is left out.
    """
    finest: dict[str, int] = {}
    for table in tables:
        known = finest.get(table.symbol, table.resolution_ns)
        finest[table.symbol] = min(known, table.resolution_ns)

    def fits(length_ns: int) -> bool:
        return all(length_ns > own and length_ns % own == 0 for own in finest.values())

    found: dict[str, tuple[int | None, int | None]] = {}
    for entry in entries:
        lengths = [timeframe_ns(text) for text in entry.settings.timeframes]
        primary = lengths[0] if fits(lengths[0]) else None
        wider = [length for length in lengths[1:] if fits(length)]
        found[entry.settings.name] = (primary, wider[0] if wider else None)
    return found


def seated(
    entries: Sequence[Entry],
    *,
    client: ModelClient,
    sees: Mapping[str, tuple[int | None, int | None]],
    latency_ns: int,
) -> tuple[tuple[Contestant, ...], tuple[EngineRow, ...]]:
    """The contestants, replica by replica, and the rows of those on the bench."""
    contestants: list[Contestant] = []
    absent: list[EngineRow] = []
    for entry in entries:
        one = entry.settings
        try:
            text = prompt(one.prompt)
        except ConfigError as error:
            raise ConfigError(f"gladiator {one.name}: {error}") from error
        params = public(one) | {"prompt_sha256": text.sha256}
        primary_ns, wider_ns = sees[one.name]
        for name in one.names():
            title = f"Gladiator: {one.model} of {one.provider}, asked every {one.every}"
            if entry.benched:
                absent.append(
                    EngineRow(
                        engine=name,
                        title=title,
                        params=params,
                        is_reference=False,
                        state="benched",
                        reason=entry.benched,
                    )
                )
                continue
            contestants.append(
                Contestant(
                    name=name,
                    engine=GladiatorEngine(name=name, settings=one, client=client, prompt=text),
                    title=title,
                    params=params,
                    latency_ns=latency_ns,
                    resolution_ns=primary_ns,
                    context_ns=wider_ns,
                    every_s=one.every_s,
                    # A reflection runs beside the decision and may take as long.
                    answer_s=one.deadline_s + ANSWER_GRACE_S,
                    keeps_history=True,
                    cutoff_ns=NEVER if one.cutoff_ns is None else one.cutoff_ns,
                    family=one.name if one.replicas > 1 else "",
                    prompts=(text,),
                )
            )
    return tuple(contestants), tuple(absent)
