"""`hydra gladiators`: who could play, a call to see that they answer, what they are told."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.failures import INTERRUPTED, UNSOUND, complain, plain
from apps.cli.options import Db, Json, database_url, instant_ns
from apps.cli.tables import Column, money, prose, ratio, show_rows, whole

if TYPE_CHECKING:
    from hydra.engines.llm.roster import Gladiator

app = typer.Typer(invoke_without_command=True)
UNITS_PER_USD = 100_000_000
UNKNOWN = "unknown"

Gladiators = Annotated[
    Path | None,
    typer.Option(
        "--gladiators",
        metavar="FILE",
        help="TOML that adds or changes gladiators; default: HYDRA_GLADIATORS.",
        show_default=False,
    ),
]


def cents(value: object) -> str:
    """USD so small that cents do not show them; a text as it is."""
    return f"{value:.4f}" if isinstance(value, int | float) else str(value)


LISTED = (
    Column("gladiator", is_key=True),
    Column("replicas", whole),
    Column("state"),
    Column("reason", prose),
    Column("provider"),
    Column("model"),
    Column("price"),
    Column("cutoff"),
    Column("every"),
    Column("daily_budget_usd", money),
    Column("spent_today_usd", cents),
)
TOLD = (  # to programs
    *(column for column in LISTED if column.name != "price"),
    Column("usd_per_mtok_in"),
    Column("usd_per_mtok_out"),
    Column("key_variable"),
    Column("address"),
)


@app.callback(invoke_without_command=True)
def gladiators(
    context: typer.Context,
    file: Gladiators = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """The language models that play: can they, at what price, and what they spent today.

    States: ready; benched (the reason says what to set); unpriced (is not asked until its
    price is set); optional (does not enter seasons until a variable is set).

    \b
    [bold]Examples[/bold]
      hydra gladiators
      hydra gladiators --gladiators mine.toml --json
      hydra gladiators check claude
      hydra gladiators prompt claude --at 2024-02-01
    """
    if context.invoked_subcommand is not None:
        _check_order(context.invoked_subcommand, file is not None or db is not None or as_json)
        return
    from apps.cli.gladiator_check import place_of, spent_units, state_of, usd_per_mtok
    from hydra.clock import SystemClock
    from hydra.engines.llm.providers import PROVIDERS, key_variable_of

    roster = roster_of(file)
    now_ns = SystemClock().now_ns()
    spent = spent_units(database_url(db), roster, now_ns)
    rows: list[dict[str, object]] = []
    for name, one in roster.items():
        state, reason = state_of(one, now_ns)
        price_in, price_out = usd_per_mtok(one, now_ns)
        rows.append(
            {
                "gladiator": name,
                "replicas": one.replicas,
                "state": state,
                "reason": reason,
                "provider": one.provider,
                "model": one.model,
                "usd_per_mtok_in": price_in,
                "usd_per_mtok_out": price_out,
                "cutoff": None if one.cutoff is None else one.cutoff.isoformat(),
                "every": one.every,
                "daily_budget_usd": one.daily_budget_usd,
                "spent_today_usd": spent.get(name, 0) / UNITS_PER_USD,
                "key_variable": key_variable_of(one) if one.provider in PROVIDERS else "",
                "address": place_of(one),
            }
        )
    if not as_json:
        for row in rows:
            rates = (row["usd_per_mtok_in"], row["usd_per_mtok_out"])
            row["price"] = UNKNOWN if None in rates else f"{rates[0]} / {rates[1]}"
            row["cutoff"] = row["cutoff"] or UNKNOWN
    show_rows(
        rows,
        TOLD if as_json else LISTED,
        as_json=as_json,
        title="gladiators (price: USD for a million tokens in / out)",
        empty="no gladiator is enabled",
    )
    if as_json or not rows:
        return
    if any(row["price"] == UNKNOWN for row in rows):
        print("price unknown: not asked until usd_per_mtok_in and usd_per_mtok_out are set")
    if any(row["cutoff"] == UNKNOWN for row in rows):
        print("cutoff unknown: what it decides in a replay holds no rank until cutoff is set")


CHECKED = (
    Column("gladiator", is_key=True),
    Column("outcome"),
    Column("model"),
    Column("model_said"),
    Column("latency_s", ratio),
    Column("input_tokens", whole),
    Column("output_tokens", whole),
    Column("cost_usd", cents),
    Column("error", prose),
)
UNASKED = ("gladiator", "outcome", "model", "error")  # columns where nobody was asked


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Whom to ask; default: all.", show_default=False),
    ] = None,
    file: Gladiators = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Ask each model one tiny question, all at once. Costs real money: a fraction of a cent each.

    A call that would go beyond what is left of the gladiator's daily budget is not made. Who is
    on the bench is listed, and is a failure only where named. Exit code 1: somebody did not
    answer.

    \b
    [bold]Examples[/bold]
      hydra gladiators check
      hydra gladiators check claude grok --json
    """
    from apps.cli.gladiator_check import check_all, say_what_it_costs

    roster = roster_of(file)
    chosen = roster if not names else {n: roster[n] for n in [_known(n, roster) for n in names]}
    say_what_it_costs(chosen)
    try:
        found = check_all(chosen, database_url(db))
    except KeyboardInterrupt:
        complain("interrupted; what was asked by then may have to be paid")
        raise typer.Exit(INTERRUPTED) from None
    was_asked = any(one.was_asked for one in found)
    show_rows(
        [one.row() for one in found],
        CHECKED if was_asked or as_json else [one for one in CHECKED if one.name in UNASKED],
        as_json=as_json,
        title="one question each",
        empty="no gladiator is enabled",
    )
    if any(one.is_failure(is_named=bool(names)) for one in found):
        raise typer.Exit(UNSOUND)
    if not was_asked:
        print("nobody can be asked: the reasons say what to set", file=sys.stderr)


@app.command()
def prompt(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A gladiator, or claude#2 of some.")],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="T", help="Asked last at or before T (ISO, UTC); the newest."),
    ] = None,
    season: Annotated[
        str | None,
        typer.Option("--season", metavar="NAME", help="Which season; default: the current one."),
    ] = None,
    bars: Annotated[
        list[Path] | None,
        typer.Option(
            "--bars",
            metavar="FILE",
            help="Play these prices instead of a season; again for more files.",
            show_default=False,
        ),
    ] = None,
    file: Gladiators = None,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Print exactly what a gladiator is sent at an instant. Nothing is sent, no key is needed.

    Of a season in which it was asked, that is what it was sent; of another, what it would have
    been sent, had it played and never answered. The JSON has the texts byte for byte.

    \b
    [bold]Examples[/bold]
      hydra gladiators prompt claude
      hydra gladiators prompt claude --at 2024-02-01T08:00 --season season-1 --json
      hydra gladiators prompt claude --bars data/sample/crypto_4h.csv
    """
    from apps.cli.gladiator_prompts import Asked, prompt_of
    from apps.cli.tables import print_json
    from hydra.errors import ConfigError

    until_ns = instant_ns(at, "--at")
    if bars and season is not None:
        raise ConfigError("--bars plays prices without a season: leave out --bars or --season")
    asked = Asked(
        name=name,
        until_ns=until_ns,
        bars=tuple(str(path.expanduser().absolute()) for path in bars or ()),
        season=season,
        gladiators=settings_file(file),
    )
    shown = prompt_of(asked, database_url(db))
    if as_json:
        print_json([shown.row()])
    else:
        print(plain(shown.text()))


def _check_order(command: str, has_options: bool) -> None:
    """An option before the command would be read by nobody. Raises ConfigError."""
    if has_options:
        from hydra.errors import ConfigError

        raise ConfigError(
            f"options come after the command: hydra gladiators {command} … --gladiators FILE"
        )


def settings_file(file: Path | None) -> str | None:
    """The user's file of gladiators: what `--gladiators` says, else the settings."""
    from hydra.settings import load_settings

    path = load_settings().gladiators if file is None else file
    return None if path is None else str(path.expanduser().absolute())


def roster_of(file: Path | None) -> dict[str, Gladiator]:
    """All gladiators by name. Raises ConfigError."""
    from apps.cli.gladiator_check import checked_roster

    return checked_roster(settings_file(file))


def _known(name: str, roster: Mapping[str, Gladiator]) -> str:
    """The gladiator of that name, or of that replica's. Raises ConfigError."""
    from apps.cli.gladiator_check import named

    return named(name, roster)[0].name
