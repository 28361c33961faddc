"""What gladiators need in order to play, and one tiny question to each that has it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from apps.cli.failures import plain
from apps.cli.gladiator_seats import check_names
from apps.cli.models import spent_today_units
from hydra.clock import NS_PER_S, SystemClock
from hydra.engines.llm.caller import LiveModels
from hydra.engines.llm.calls import Message, Outcome, Question, Reply, Usage
from hydra.engines.llm.decisions import SCHEMA
from hydra.engines.llm.pricing import most_units, price
from hydra.engines.llm.prompt_files import versions
from hydra.engines.llm.providers import PROVIDERS, base_url_of, why_benched
from hydra.engines.llm.reply import parse_reply
from hydra.engines.llm.roster import Gladiator, load_roster
from hydra.errors import ConfigError
from hydra.market.instruments import UNITS_PER_USD
from hydra.operations.secrets import secret
from hydra.settings import variable
from hydra.storage.database import parse_url, sqlite_path

DEADLINE_S = 30.0
MOST_OUTPUT_TOKENS = 2_000  # room for a model that thinks before it says a word
SYSTEM = "You are one trading engine of several in a tournament. This is a check of the line."
ASK = "There is no market here. Call the tool `decide` once, with an empty list of decisions."
_THOUSAND = 1_000  # tokens: the rate that the first ones have
UNPRICED = "nobody knows what {model} costs: set usd_per_mtok_in and usd_per_mtok_out"


# What they need


def checked_roster(file: str | None) -> dict[str, Gladiator]:
    """All gladiators, those of a user's file among them. Raises ConfigError."""
    roster = load_roster(None if file is None else Path(file))
    check_names(roster)
    for name, one in roster.items():
        if one.prompt not in versions():
            raise ConfigError(
                f"gladiator {name}: no prompt {one.prompt!r}; there are: {', '.join(versions())}"
            )
    return roster


def named(name: str, roster: Mapping[str, Gladiator]) -> tuple[Gladiator, str]:
    """The gladiator that a user names, and the name of it (or its first replica) in a season.

    Raises ConfigError, suggesting one that is spelt alike.
    """
    if name in roster:
        return roster[name], roster[name].names()[0]
    for one in roster.values():
        if name in one.names():
            return one, name
    alike = get_close_matches(name.lower(), roster, n=1)
    hint = f"did you mean {alike[0]}? " if alike else ""
    raise ConfigError(f"no gladiator {name!r}; {hint}there are: {', '.join(roster) or 'none'}")


def state_of(one: Gladiator, now_ns: int) -> tuple[str, str]:
    """How it stands and why: ready, benched, unpriced or optional."""
    why = why_benched(one, secret)
    if why:
        is_waiting = one.only_with and not variable(one.only_with)
        return ("optional" if is_waiting else "benched"), why
    if None in usd_per_mtok(one, now_ns):
        return "unpriced", UNPRICED.format(model=one.model)
    return "ready", ""


def usd_per_mtok(one: Gladiator, now_ns: int) -> tuple[Decimal | None, Decimal | None]:
    """What a million tokens cost now, in and out, at the rate of a short prompt; None: unknown."""
    known = price(one)
    if known is None:
        return None, None
    rates = [
        known.usd(usage, at_ns=now_ns)
        for usage in (
            Usage(input_tokens=_THOUSAND, output_tokens=0),
            Usage(input_tokens=0, output_tokens=_THOUSAND),
        )
    ]
    coming, going = (None if usd is None else _short(usd * _THOUSAND) for usd in rates)
    return coming, going


def _short(exact: Decimal) -> Decimal:
    """Without zeros at its end."""
    return Decimal(f"{exact.normalize():f}")


def place_of(one: Gladiator) -> str:
    """The address that it asks, without user and password; "" where its provider is unknown."""
    if one.provider not in PROVIDERS:
        return ""
    parts = urlsplit(base_url_of(one))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def spent_units(url: str, roster: Mapping[str, Gladiator], now_ns: int) -> dict[str, int]:
    """Spent today by gladiator, 1e-8 USD; nothing where there is no database yet."""
    path = sqlite_path(parse_url(url))
    if path is not None and not path.exists():
        return {}
    return spent_today_units(url, _by_engine(roster), now_ns)


def _by_engine(roster: Mapping[str, Gladiator]) -> dict[str, Gladiator]:
    return {engine: one for one in roster.values() for engine in one.names()}


# The check


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of one question."""

    gladiator: str
    model: str
    outcome: str  # of Outcome, or benched, or unreadable
    error: str
    reply: Reply | None = None  # None: it was not asked

    @property
    def was_asked(self) -> bool:
        return self.reply is not None

    def is_failure(self, *, is_named: bool) -> bool:
        """Whether it should have answered and did not."""
        if not self.was_asked:
            return is_named
        return self.outcome != Outcome.ANSWERED

    def row(self) -> dict[str, object]:
        reply = self.reply or Reply(outcome=Outcome.EMPTY)
        usage, cost = reply.usage, reply.cost_units
        return {
            "gladiator": self.gladiator,
            "outcome": self.outcome,
            "model": self.model,
            "model_said": reply.model,
            "latency_s": round(reply.latency_ns / NS_PER_S, 3) if reply.tries else None,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
            "cost_usd": None if cost is None else cost / UNITS_PER_USD,
            "error": self.error,
        }


def say_what_it_costs(roster: Mapping[str, Gladiator]) -> None:
    """Before anything is asked, on standard error: what the calls cost at most."""
    now_ns = SystemClock().now_ns()
    most = [
        most_units(price(one), _question(one, now_ns), at_ns=now_ns)
        for one in roster.values()
        if not why_benched(one, secret)
    ]
    units = sum(one for one in most if one is not None)
    if units:
        print(
            f"real questions for real money: {units / UNITS_PER_USD:.3f} USD at most, and a"
            " fraction of that as a rule",
            file=sys.stderr,
        )


def check_all(roster: Mapping[str, Gladiator], url: str) -> list[Checked]:
    """Ask all that can play, at once; the others are on the bench."""
    return asyncio.run(_check_all(roster, url))


async def _check_all(roster: Mapping[str, Gladiator], url: str) -> list[Checked]:
    clock = SystemClock()
    spent = spent_units(url, roster, clock.now_ns())
    async with LiveModels(_by_engine(roster), clock=clock, spent_units=spent) as models:
        return await asyncio.gather(*(_check(one, models, clock) for one in roster.values()))


async def _check(one: Gladiator, models: LiveModels, clock: SystemClock) -> Checked:
    if why := why_benched(one, secret):
        return Checked(gladiator=one.name, model=one.model, outcome="benched", error=why)
    reply = await models.ask(_question(one, clock.now_ns()), deadline_s=DEADLINE_S)
    outcome, error = reply.outcome.value, reply.error
    if reply.outcome is Outcome.ANSWERED and (faults := _faults(reply)):
        outcome, error = "unreadable", f"the answer cannot be read: {faults[0]}"
    return Checked(
        gladiator=one.name, model=one.model, outcome=outcome, error=plain(error), reply=reply
    )


def _faults(reply: Reply) -> Sequence[str]:
    return parse_reply(reply.text).faults


def _question(one: Gladiator, now_ns: int) -> Question:
    return Question(
        engine=one.names()[0],
        at_ns=now_ns,
        attempt=1,
        provider=one.provider,
        model=one.model,
        prompt_version="check",
        system=SYSTEM,
        messages=(Message("user", ASK),),
        schema=SCHEMA,
        max_output_tokens=min(one.max_output_tokens, MOST_OUTPUT_TOKENS),
        temperature=one.temperature,
        seed=one.seed,
    )
