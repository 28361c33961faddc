"""How the report's templates are read: numbers for people, text that stays text."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from apps.cli import gladiator_lines, tables
from apps.cli.failures import plain

FILTERS = (
    tables.money,
    tables.gain,
    tables.share,
    tables.change,
    tables.percent,
    tables.ratio,
    tables.whole,
    tables.minute,
    gladiator_lines.cost,
)


def environment() -> Environment:
    """Escapes whatever it is given; control characters never reach the page."""
    folder = resources.files("apps.cli").joinpath("templates")
    made = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for show in FILTERS:
        made.filters[show.__name__] = _or_nothing(show)
    made.filters["sign"] = sign
    made.filters["clip"] = clip
    return made


def _printable(value: object) -> object:
    return plain(value) if type(value) is str else value  # markup is the template's own


def _or_nothing(show: object) -> object:
    def shown(value: object) -> str:
        assert callable(show)
        return tables.NOTHING if value is None or value == "" else str(show(value))

    return shown


def sign(value: object) -> str:
    """A class for gains and losses."""
    if not isinstance(value, int | float) or value == 0:
        return ""
    return "up" if value > 0 else "down"


def clip(value: object, most: int) -> str:
    """The text, cut to so many characters; what is cut ends in "…"."""
    said = str(value)
    return said if len(said) <= most else said[: most - 1].rstrip() + "…"
