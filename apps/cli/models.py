"""Who answers the gladiators of a season: their providers, recorded replies, or nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import stamina.instrumentation

from hydra.clock import NS_PER_DAY, NS_PER_S, SystemClock
from hydra.engines.llm.caller import LiveModels
from hydra.engines.llm.calls import Outcome, Question, Reply
from hydra.engines.llm.recorded import RecordedModels
from hydra.engines.llm.roster import Gladiator
from hydra.errors import ConfigError
from hydra.operations.secrets import secret
from hydra.storage import queries
from hydra.storage.database import reading
from hydra.storage.schema import ensure
from hydra.tournament.season import ModelCallRow

# Where structlog is installed it would print every repetition on standard output, among the JSON.
# What came of them is in the replies.
stamina.instrumentation.set_on_retry_hooks(())


PASSED_S = 120.0  # after its moment a question of a live season is not put any more


class Models:
    """`ModelClient` of a season: recorded replies first, then, where it may, the providers.

    `recording`: only that season's replies are heard. `resumed`: those of the season itself,
    and whatever comes after them is asked. What the providers need (SDKs, the money that was
    spent today) is looked up with the first question that goes out: most seasons have none.
    """

    def __init__(
        self,
        url: str,
        *,
        recording: str | None = None,
        resumed: str | None = None,
        timely: bool = False,
        lost_until_ns: int | None = None,
    ) -> None:
        """`timely`: the market's time is the machine's, and a question that is repeated after
        the program was not there is not put: its moment has passed. `lost_until_ns`: of a live
        season that was recorded; see RecordedModels.
        """
        self._timely = timely
        self._url = url
        self._gladiators: dict[str, Gladiator] = {}
        self._live: LiveModels | None = None
        self._asks = not recording
        heard = recording or resumed
        self._recorded = RecordedModels(
            recorded_calls(url, heard) if heard else (),
            otherwise=None if recording else self._Providers(self),
            lost_until_ns=lost_until_ns,
        )

    class _Providers:
        def __init__(self, models: Models) -> None:
            self._models = models

        async def ask(self, question: Question, *, deadline_s: float) -> Reply:
            late_s = (SystemClock().now_ns() - question.at_ns) / NS_PER_S
            if self._models._timely and late_s > PASSED_S:
                return Reply(
                    outcome=Outcome.LATE, error="its moment passed while the program was not there"
                )
            return await self._models.providers().ask(question, deadline_s=deadline_s)

    def providers(self) -> LiveModels:
        """The real ones, made when they are first needed."""
        if self._live is None:
            self._live = live_models(self._url, self._gladiators)
        return self._live

    @property
    def missed(self) -> int:
        """Questions that had no recorded reply."""
        return self._recorded.missed

    async def open(self) -> None:
        """Load what the providers need before the first question, which would pay for it in time.

        Nothing where nobody asks.
        """
        if self._gladiators and self._asks:
            await self.providers().open()

    def seat(self, gladiators: Iterable[Gladiator]) -> None:
        """Name those that will ask."""
        for one in gladiators:
            self._gladiators |= dict.fromkeys(one.names(), one)

    async def ask(self, question: Question, *, deadline_s: float) -> Reply:
        return await self._recorded.ask(question, deadline_s=deadline_s)

    async def aclose(self) -> None:
        """Close the connections to the providers."""
        if self._live is not None:
            await self._live.aclose()


def live_models(url: str, gladiators: Mapping[str, Gladiator]) -> LiveModels:
    """The real providers, knowing what has been spent today by all seasons of the database."""
    clock = SystemClock()
    return LiveModels(
        gladiators,
        clock=clock,
        spent_units=spent_today_units(url, gladiators, clock.now_ns()),
        find_secret=secret,
    )


def spent_today_units(url: str, gladiators: Mapping[str, Gladiator], now_ns: int) -> dict[str, int]:
    """By gladiator (its replicas together), 1e-8 USD, since midnight UTC."""
    ensure(url)
    with reading(url) as connection:
        spent = queries.spent_units(connection, now_ns - now_ns % NS_PER_DAY)
    found: dict[str, int] = {}
    for engine, units in spent.items():
        one = gladiators.get(engine)
        name = one.name if one is not None else engine.partition("#")[0]
        found[name] = found.get(name, 0) + units
    return found


def recording_of(url: str, name: str | None) -> queries.SeasonSummary:
    """The season whose replies are to be heard again; by default the newest that has any.

    Raises ConfigError where there is none.
    """
    ensure(url)
    with reading(url) as connection:
        name = name or queries.newest_with_calls(connection)
        if name is None:
            raise ConfigError(
                "no season of this database has asked a model: there are no recorded replies."
                " Play one with --models live first"
            )
        return queries.season(connection, name)


def recorded_calls(url: str, season: str) -> list[ModelCallRow]:
    """All calls of a season."""
    with reading(url) as connection:
        return queries.model_calls(connection, season)
