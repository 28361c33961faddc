"""The `hydra` command: puts the commands together and turns errors into one line and a code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import Exit, TyperException

from apps.cli import (
    audit_commands,
    data_commands,
    database_commands,
    gladiator_commands,
    guardian_commands,
    read_commands,
    recording_commands,
    run_commands,
    vault_commands,
)
from apps.cli.config_command import config
from apps.cli.daily_command import clean, daily
from apps.cli.failures import INTERRUPTED, PIPE_CLOSED, USAGE, code_of, complain, keep_traceback
from apps.cli.replay_command import replay
from apps.cli.report_command import report
from hydra.errors import HydraError

app = typer.Typer(
    name="hydra",
    help="A tournament of trading engines: each with its own account, one market, one guardian.",
    epilog="First season:  hydra replay --bars data/sample/crypto_4h.csv",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command(rich_help_panel="Play")(replay)
app.command(rich_help_panel="Play")(report)
for command in run_commands.COMMANDS:
    app.command(rich_help_panel="Live")(command)
for command in read_commands.COMMANDS:
    app.command(rich_help_panel="Look")(command)
app.command(rich_help_panel="Look")(daily)
app.add_typer(gladiator_commands.app, name="gladiators", rich_help_panel="Look")
app.add_typer(guardian_commands.app, name="guardian", rich_help_panel="Guard")
app.command(rich_help_panel="Care")(config)
app.command(rich_help_panel="Care")(clean)
app.add_typer(database_commands.app, name="db", rich_help_panel="Care")
app.add_typer(data_commands.app, name="data", rich_help_panel="Care")
app.add_typer(recording_commands.app, name="recording", rich_help_panel="Care")
app.add_typer(audit_commands.app, name="audit", rich_help_panel="Care")
app.add_typer(vault_commands.app, name="vault", rich_help_panel="Care")


def main() -> None:
    """The entry point of the installed script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code (see docs/cli.md). Raises nothing."""
    try:
        code = app(list(arguments), prog_name="hydra", standalone_mode=False)
        sys.stdout.flush()
    except HydraError as error:
        complain(str(error))
        return code_of(error)
    except TyperException as error:
        if not error.format_message():
            return USAGE  # a group without a command: its help is printed already
        asked = " ".join(("hydra", *_command_path(arguments)))
        complain(error.format_message(), hint=f"{asked} --help lists what there is")
        return USAGE
    except Exit as asked_for:
        return asked_for.exit_code
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return INTERRUPTED
    except SystemExit as ended:
        # Typer's own answer to a pipe that was closed is 1.
        return PIPE_CLOSED if ended.code == 1 else int(ended.code or 0)
    except BrokenPipeError:
        # Whoever read us (head, less) has seen enough; nothing more can be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        return keep_traceback(error)
    return code if isinstance(code, int) else 0


def _command_path(arguments: Sequence[str]) -> list[str]:
    """The leading words of a command line that name commands."""
    groups = {"gladiators", "guardian", "db", "data", "recording", "audit", "vault"}
    words = [word for word in arguments[:2] if not word.startswith("-")]
    names = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    if words and words[0] in groups:
        return words[:1]
    return words[:1] if words and words[0] in names else []


if __name__ == "__main__":
    main()
