"""What a gladiator is sent at an instant: as it was recorded, or by playing in memory up to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import msgspec

from apps.cli.failures import warn
from apps.cli.gladiator_check import checked_roster, named
from apps.cli.gladiator_seats import from_public, public
from apps.cli.models import recorded_calls
from apps.cli.season import Request, Season, build_season, request_of
from hydra.clock import iso
from hydra.engines.llm.calls import Message, Outcome, Question, Reply
from hydra.engines.llm.decisions import SCHEMA
from hydra.engines.llm.gladiator import QUESTION
from hydra.engines.llm.recorded import reply_of
from hydra.engines.llm.roster import Gladiator
from hydra.engines.llm.writing import tokens
from hydra.engines.registry import ENGINES
from hydra.errors import ConfigError, StorageError
from hydra.mother.contestants import NEVER
from hydra.mother.mother import Mother
from hydra.storage import queries
from hydra.storage.database import parse_url, place, reading, sqlite_path
from hydra.storage.memory import MemoryDatabase, MemorySeason
from hydra.storage.schema import ensure
from hydra.tournament.season import ModelCallRow, SeasonRow

_FEW = 2  # resamples: nobody reads the statistics of a season that is played for a prompt
_WIDTH = 72  # of a ruled heading


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose prompt, and of what."""

    name: str
    until_ns: int | None  # None: the newest
    bars: tuple[str, ...]  # files to play; none: a season's
    season: str | None  # None: the current one
    gladiators: str | None  # the user's file


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A prompt, and where it comes from."""

    question: Question
    digest: str  # of all that is sent
    source: str  # recorded: as a season asked it; replayed: as one would have
    season: str  # "" where only bars were played
    outcome: str = ""  # what came of it; "": it was not asked
    was_sent: bool = False
    has_schema: bool = True  # False: sent with another schema than this program's

    def row(self) -> dict[str, object]:
        """JSON values."""
        one = self.question
        return {
            "engine": one.engine,
            "at": iso(one.at_ns),
            "source": self.source,
            "season": self.season or None,
            "outcome": self.outcome or None,
            "provider": one.provider,
            "model": one.model,
            "prompt_version": one.prompt_version,
            "system": one.system,
            "messages": [{"role": said.role, "text": said.text} for said in one.messages],
            "schema": one.schema if self.has_schema else None,
            "params": one.params(),
            "tokens": self._tokens(),
            "sha256": self.digest,
        }

    def _tokens(self) -> dict[str, int]:
        """Estimates, as prompts are held against `prompt_tokens`."""
        one = self.question
        counts = {
            "system": tokens(one.system),
            "messages": sum(tokens(said.text) for said in one.messages),
            "schema": tokens(msgspec.json.encode(one.schema).decode()) if self.has_schema else 0,
        }
        return counts | {"all": sum(counts.values())}

    def text(self) -> str:
        """For people: what surrounds the texts, then the texts as they are."""
        one, counts = self.question, self._tokens()
        where = f"season {self.season}" if self.season else "the bars"
        did = "was sent" if self.was_sent else "would be sent"
        params = ", ".join(
            f"{name} {'not sent' if value is None else value}"
            for name, value in one.params().items()
        )
        facts = (
            ("model", f"{one.model} of {one.provider}"),
            ("params", params),
            ("tokens", f"about {counts.pop('all'):,}: "
             + ", ".join(f"{name} {count:,}" for name, count in counts.items())),
            ("sha256", self.digest),
            *([("outcome", self.outcome)] if self.outcome else ()),
        )  # fmt: skip
        lines = [f"{one.engine} {did} this at {iso(one.at_ns)} of {where}"]
        lines += [f"{name:8}{value}" for name, value in facts]
        lines += ["", _ruled(f"system prompt {one.prompt_version}"), one.system.rstrip("\n")]
        lines += ["", _ruled("schema of the answer")]
        if self.has_schema:
            lines.append(json.dumps(one.schema, indent=2, ensure_ascii=False))
        else:
            lines.append("not this program's: the question was put by another version of Hydra")
        for said in one.messages:
            lines += ["", _ruled(f"{said.role} message"), said.text.rstrip("\n")]
        return "\n".join(lines)


def _ruled(heading: str) -> str:
    return f"── {heading} ".ljust(_WIDTH, "─")


def prompt_of(asked: Asked, url: str) -> Shown:
    """Raises ConfigError where there is no such gladiator, season or instant; StorageError."""
    roster = checked_roster(asked.gladiators)
    if asked.bars:
        return _of_bars(asked, roster)
    return _of_season(asked, roster, url)


# Of bars


def _of_bars(asked: Asked, roster: Mapping[str, Gladiator]) -> Shown:
    one, engine = named(asked.name, roster)
    alone = SeasonRow(
        name="", mode="", profile="", seed=0, initial_units=0, settings={}, inputs=()
    )  # fmt: skip
    request = Request(bars=asked.bars, engines=tuple(ENGINES), gladiators=asked.gladiators)
    listener = _Listener(engine, ())
    season = _as_if(alone, one, request, listener)
    for warning in season.warnings:
        warn(warning)
    return _replayed(season, listener, asked.until_ns, "")


# Of a season


def _of_season(asked: Asked, roster: Mapping[str, Gladiator], url: str) -> Shown:
    _ensure(url)
    with reading(url) as connection:
        summary = queries.season(connection, asked.season)
    before = summary.season
    one, engine = named(asked.name, {**roster, **_seated(before, roster)})
    until_ns = NEVER if asked.until_ns is None else asked.until_ns
    with reading(url) as connection:
        row = queries.question_until(connection, before.name, engine, until_ns)
        prompts = queries.prompts(connection, before.name)
        later = () if row else queries.model_calls(connection, before.name, engine=engine)
    if row is not None:
        text = {prompt.sha256: prompt.text for prompt in prompts}.get(row.system_sha256)
        if text is None:
            raise StorageError(
                f"{place(url)}: the system prompt of {engine} is missing from season {before.name};"
                " hydra db verify says what else is"
            )
        return _recorded(row, text, before.name)
    if later:
        raise ConfigError(
            f"{engine} was first asked at {iso(later[0].at_ns)} of season {before.name}:"
            " give a later --at"
        )
    if summary.cycle < 0:
        raise ConfigError(f"nothing of season {before.name} is stored yet: go on with it first")
    request = replace(request_of(before), gladiators=asked.gladiators)
    listener = _Listener(engine, recorded_calls(url, before.name))
    season = _as_if(before, one, request, listener)
    if season.row.inputs != before.inputs:
        files = ", ".join(request.bars or ())
        raise ConfigError(
            f"the prices of season {before.name} are not what they were ({files}):"
            " give prices by --bars"
        )
    if summary.state != "finished":
        until_ns = min(until_ns, summary.at_ns)
    return _replayed(season, listener, until_ns, before.name)


def _ensure(url: str) -> None:
    """Bring the tables up to date. Raises StorageError where there is no database."""
    path = sqlite_path(parse_url(url))
    if path is not None and not path.exists():
        raise StorageError(
            f"there is no database at {path}: play a season first, or give prices by --bars"
        )
    ensure(url)


def _seated(before: SeasonRow, roster: Mapping[str, Gladiator]) -> dict[str, Gladiator]:
    """The gladiators as the season knows them.

    Of one that it never asked, what the settings say today counts, as long as they name it.
    """
    known = {name: from_public(values) for name, values in _told(before, "gladiators").items()}
    benched = _told(before, "benched")
    return {name: one for name, one in known.items() if name not in benched or name not in roster}


def _told(before: SeasonRow, key: str) -> dict[str, object]:
    """What a season's settings say by gladiator: settings, or why one could not play."""
    found = before.settings.get(key, {})
    return cast(dict[str, object], found) if isinstance(found, dict) else {}


def _recorded(row: ModelCallRow, system: str, season: str) -> Shown:
    said = msgspec.json.decode(row.prompt, type=list[tuple[str, str]])
    question = Question(
        engine=row.engine,
        at_ns=row.at_ns,
        attempt=row.attempt,
        provider=row.provider,
        model=row.model,
        prompt_version=row.prompt_version,
        system=system,
        messages=tuple(Message(role, text) for role, text in said),  # type: ignore[arg-type]
        schema=SCHEMA,
        **row.params,  # type: ignore[arg-type]
    )
    return Shown(
        question=question,
        digest=row.prompt_sha256,
        source="recorded",
        season=season,
        outcome=row.outcome,
        was_sent=row.tries > 0,
        has_schema=question.digest() == row.prompt_sha256,
    )


# Playing up to an instant


class _Listener:
    """`ModelClient` that sends nothing: it keeps one gladiator's questions, hears others' replies.

    A reply is taken even where its prompt has changed a little, as when a gladiator more holds
    a rank: what the others do shall be what they did.
    """

    def __init__(self, engine: str, calls: Iterable[ModelCallRow]) -> None:
        self.engine = engine
        self._rows = {(row.engine, row.at_ns, row.attempt): row for row in calls}
        self.newest: Question | None = None

    async def ask(self, question: Question, *, deadline_s: float) -> Reply:
        if question.engine == self.engine and question.attempt == QUESTION:
            self.newest = question
        row = self._rows.get((question.engine, question.at_ns, question.attempt))
        if row is not None:
            return reply_of(row)
        return Reply(outcome=Outcome.NOT_RECORDED, error="played for its prompt: nothing is sent")


def _as_if(before: SeasonRow, one: Gladiator, request: Request, client: _Listener) -> Season:
    """The season of `before` as if the gladiator played in it, key or no key."""
    benched = {name: why for name, why in _told(before, "benched").items() if name != one.name}
    settings = before.settings | {
        "gladiators": {**_told(before, "gladiators"), one.name: public(one)},
        "benched": benched,
    }
    entered = request.engines or ()
    if one.name not in entered:
        entered = (*entered, one.name)
    return build_season(
        before.name,
        replace(request, engines=entered),
        kill_switch=False,
        client=client,
        before=msgspec.structs.replace(before, settings=settings),
    )


def _replayed(season: Season, listener: _Listener, until_ns: int | None, name: str) -> Shown:
    until_ns = NEVER if until_ns is None else until_ns
    if season.feed.first_ns > until_ns:
        raise ConfigError(
            f"no bar has closed by {iso(until_ns)}: the first closes at"
            f" {iso(season.feed.first_ns)}; give a later --at"
        )
    played = asyncio.run(_play(season, until_ns))
    question = listener.newest
    if question is None:
        raise ConfigError(f"{listener.engine} {_why_not_asked(played, listener.engine, until_ns)}")
    return Shown(question=question, digest=question.digest(), source="replayed", season=name)


async def _play(season: Season, until_ns: int) -> MemorySeason:
    store = MemoryDatabase().open_season(season.row, resume=False)
    mother = Mother(
        plan=replace(season.plan, luck_traders=0, bootstrap_replicates=_FEW),
        contestants=season.contestants,
        streams=season.streams,
        store=store,
        absent=season.absent,
    )
    await mother.run(season.feed.until(until_ns).chunks())
    return store.season


def _why_not_asked(played: MemorySeason, engine: str, until_ns: int) -> str:
    for _, _, _, _, who, kind, _, body, _ in played.journal:
        if who == engine and kind == "failed":
            return f"cannot be asked: {msgspec.json.decode(body).get('text')}"
    by = "" if until_ns == NEVER else f" by {iso(until_ns)}"
    return f"is not asked{by}: no bar that it reads has closed; give a later --at, or more bars"
