"""`hydra config`: the settings in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apps.cli.failures import warn
from apps.cli.options import Json
from apps.cli.tables import Column, prose, show_rows

if TYPE_CHECKING:
    from hydra.variables import Setting

COLUMNS = (
    Column("setting", is_key=True),
    Column("value", prose),
    Column("source"),
    Column("about", prose),
    Column("group", part=0),
    Column("secret", part=0),
)


def config(
    example: Annotated[
        bool, typer.Option("--example", help="Print a .env with every setting and what it is for.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Every setting in force: its value, where it came from, what it is for.

    Of secrets it says only whether they are set. A wrong value ends it with exit code 2; names
    that look mistyped are warnings.

    \b
    [bold]Examples[/bold]
      hydra config
      hydra config --json
      hydra config --example > .env
    """
    from hydra.operations.configuration import example as example_text
    from hydra.operations.configuration import in_force, strangers
    from hydra.variables import SETTINGS, Kind

    if example:
        print(example_text(), end="")
        return
    more = _of_gladiators()
    rows = [
        {
            "setting": one.setting.name,
            "value": one.value,
            "source": one.source,
            "about": one.setting.about,
            "group": one.setting.group,
            "secret": one.setting.kind is Kind.SECRET,
        }
        for one in in_force(more)
    ]
    show_rows(rows, COLUMNS, as_json=as_json, title="", empty="")
    for stranger in strangers((*SETTINGS, *more)):
        hint = f"; did you mean {stranger.nearest}?" if stranger.nearest else ""
        warn(f"nobody reads {stranger.name} ({stranger.source}){hint}")


def _of_gladiators() -> list[Setting]:
    """The variables that gladiators of the user's own name. Raises ConfigError."""
    from hydra.engines.llm.roster import load_roster
    from hydra.settings import load_settings
    from hydra.variables import BY_NAME, MODELS, Kind, Setting

    more: dict[str, Setting] = {}
    for one in load_roster(load_settings().gladiators).values():
        for name, kind, about in (
            (one.key_env, Kind.SECRET, f"The key of the gladiator {one.name}."),
            # Whether it is set is all that counts, and it may be a key.
            (one.only_with, Kind.SECRET, f"The gladiator {one.name} plays only where this is set."),
        ):
            if name and name not in BY_NAME:
                more.setdefault(name, Setting(name=name, group=MODELS, kind=kind, about=about))
    return list(more.values())
