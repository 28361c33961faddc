"""`hydra vault`: secrets in one encrypted file.

Neither passwords nor secrets are taken from the command line, which `ps` and the shell's history
show; what stands there by mistake is refused without being repeated.
"""

from __future__ import annotations

import getpass
import sys
import warnings
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from apps.cli.failures import warn
from apps.cli.options import Json
from apps.cli.tables import Column, minute, prose, show_rows, whole
from hydra.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from hydra.operations.vault import Vault

app = typer.Typer(no_args_is_help=True)
# What is left over on the line comes to `_only`, which does not repeat it as Typer would.
LEFTOVERS = {"allow_extra_args": True, "ignore_unknown_options": True}

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="As an environment variable: DEEPSEEK_API_KEY.")
]


@app.callback()
def vault() -> None:
    """Keep secrets in one encrypted file, under a master password.

    The file is data/hydra/vault.json, or what HYDRA_VAULT names. The master password comes from
    TRADING_VAULT_PASSWORD, from the file that TRADING_VAULT_PASSWORD_FILE names, or is asked for.

    \b
    [bold]Examples[/bold]
      hydra vault init
      hydra vault set DEEPSEEK_API_KEY
      hydra vault list
    """


@app.command(context_settings=LEFTOVERS)
def init(context: typer.Context) -> None:
    """Make an empty vault.

    \b
    [bold]Example[/bold]
      hydra vault init
    """
    from hydra.operations.secrets import PASSWORD

    _only(context)
    vault = _vault()
    vault.must_be_free()
    vault.create(_new_password(PASSWORD, "master password of the new vault"))
    print(f"made {vault.path}")
    print("nobody can read it without the master password: keep that in a second place")
    print("next: hydra vault set NAME")


@app.command("set", context_settings=LEFTOVERS)
def put(context: typer.Context, name: Name) -> None:
    """Keep a secret: asked for without echo, or read from standard input.

    From standard input one newline at the end is left out. A secret of several lines, such as a
    private key, is best read from its file.

    \b
    [bold]Examples[/bold]
      hydra vault set DEEPSEEK_API_KEY
      hydra vault set COINBASE_API_PRIVATE_KEY < key.pem
    """
    from hydra.operations.secrets import Secrets
    from hydra.operations.vault import check_name

    _only(context)
    check_name(name)
    vault = _vault()
    vault.must_exist()
    found = Secrets().outside(name)
    was_there = vault.put(_password(), name, _secret(name))
    print(f"{name} is {'replaced' if was_there else 'kept'}")
    if found is not None:
        warn(f"{found.source} has {name} too, and comes before the vault: remove it there")


@app.command(context_settings=LEFTOVERS)
def get(context: typer.Context, name: Name) -> None:
    """Print a secret as it is, and a newline only where a terminal shows it.

    \b
    [bold]Example[/bold]
      hydra vault get DEEPSEEK_API_KEY
    """
    from hydra.operations.vault import check_name, no_such_secret

    _only(context)
    check_name(name)
    vault = _vault()
    vault.must_exist()
    entry = vault.read(_password()).secrets.get(name)
    if entry is None:
        raise no_such_secret(vault.path, name)
    # As bytes: an encoding that lacks a character would put the secret into an error.
    sys.stdout.buffer.write(entry.value.get_secret_value().encode())
    if sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


SECRETS = (Column("name", is_key=True), Column("set_at", minute))


@app.command("list", context_settings=LEFTOVERS)
def show(context: typer.Context, as_json: Json = False) -> None:
    """The names in the vault and when each was set, in UTC; never a value.

    \b
    [bold]Example[/bold]
      hydra vault list --json
    """
    from hydra.clock import iso

    _only(context)
    vault = _vault()
    vault.must_exist()
    contents = vault.read(_password())
    rows = [{"name": name, "set_at": iso(one.set_at_ns)} for name, one in contents.secrets.items()]
    empty = "the vault is empty: hydra vault set NAME"
    show_rows(rows, SECRETS, as_json=as_json, title="", empty=empty)


@app.command(context_settings=LEFTOVERS)
def remove(context: typer.Context, name: Name) -> None:
    """Take a secret out of the vault.

    \b
    [bold]Example[/bold]
      hydra vault remove DEEPSEEK_API_KEY
    """
    from hydra.operations.vault import check_name

    _only(context)
    check_name(name)
    vault = _vault()
    vault.must_exist()
    vault.remove(_password(), name)
    print(f"{name} is removed")


@app.command(context_settings=LEFTOVERS)
def rotate(context: typer.Context) -> None:
    """Change the master password, and encrypt everything anew.

    The new one comes from TRADING_VAULT_NEW_PASSWORD, or is asked for. Copies of the old file
    still open with the old password: where that became known, change the secrets too.

    \b
    [bold]Example[/bold]
      hydra vault rotate
    """
    from hydra.operations.secrets import NEW_PASSWORD, PASSWORD

    _only(context)
    vault = _vault()
    vault.must_exist()
    password = _password()
    vault.read(password)  # a wrong one is told before a new one is asked for
    vault.rotate(password, _new_password(NEW_PASSWORD, "new master password"))
    print(f"{vault.path} has its new master password; let {PASSWORD} say it from now on")
    print("copies of the old file still open with the old one: destroy them")


CHECK = (
    Column("vault", prose, is_key=True),
    Column("secrets", whole),
    Column("memory_kib", whole),
    Column("passes", whole),
    Column("lanes", whole),
    Column("strong"),
)


@app.command(context_settings=LEFTOVERS)
def check(context: typer.Context, as_json: Json = False) -> None:
    """Does the vault open, and what does a guess at its password cost? Exit code 2 when not.

    It is strong where a guess costs no less than at a new vault; rotate makes it so.

    \b
    [bold]Example[/bold]
      hydra vault check
    """
    _only(context)
    vault = _vault()
    vault.must_exist()
    contents = vault.read(_password())
    row: dict[str, object] = {
        "vault": str(vault.path),
        "secrets": len(contents.secrets),
        "memory_kib": contents.cost.memory_kib,
        "passes": contents.cost.passes,
        "lanes": contents.cost.lanes,
        "strong": contents.cost.work >= vault.cost.work,
    }
    show_rows([row], CHECK, as_json=as_json, title="", empty="")


def _only(context: typer.Context) -> None:
    """Refuse what is left over on the line, unseen: it may be a secret."""
    if context.args:
        raise ConfigError(
            f"`{context.command_path}` takes nothing more (what was typed is not shown, as it may"
            " be a secret). If it was one, change it: the shell's history has it now. Secrets are"
            f" asked for or read from standard input; `{context.command_path} --help` has examples"
        )


def _vault() -> Vault:
    from hydra.operations.secrets import Secrets

    return Secrets().vault()


def _password() -> SecretStr:
    from hydra.operations.secrets import PASSWORD, Secrets

    found = Secrets().outside(PASSWORD)
    return _ask("master password", PASSWORD) if found is None else found.value


def _new_password(variable: str, title: str) -> SecretStr:
    """A password that nobody has used yet: one that is typed is typed twice."""
    from hydra.operations.sealing import check_strength
    from hydra.operations.secrets import Secrets

    found = Secrets().outside(variable)
    if found is not None:
        return found.value
    password = _ask(title, variable)
    check_strength(password)
    if _ask(f"{title}, again", variable) != password:
        raise ConfigError("the two passwords differ, so nothing was done: try again")
    return password


def _secret(name: str) -> SecretStr:
    from pydantic import SecretStr

    from hydra.operations.secrets import without_newline
    from hydra.operations.vault import MAX_SECRET_BYTES

    stream = cast("TextIO | None", sys.stdin)
    if stream is None:
        raise ConfigError("standard input is closed: there is no secret to read")
    if stream.isatty():
        typed = _ask(name, "")
        if typed.get_secret_value().startswith("-----BEGIN"):
            # The lines after the first have gone to the shell, or will.
            raise ConfigError(
                f"only the first line of a key was read, so it was not kept: give its file, as in"
                f" `hydra vault set {name} < key.pem`"
            )
        return typed
    newline_bytes = 2
    data = stream.buffer.read(MAX_SECRET_BYTES + newline_bytes + 1)
    if len(data) > MAX_SECRET_BYTES + newline_bytes:
        raise ConfigError(
            f"standard input has more than the {MAX_SECRET_BYTES:,} bytes that a secret may have:"
            " was it the right file?"
        )
    try:
        return SecretStr(without_newline(data.decode()))
    except UnicodeDecodeError:
        # Without its cause, which holds the secret.
        raise ConfigError("the secret is not UTF-8 text, so it was not kept") from None


def _ask(title: str, variable: str) -> SecretStr:
    """Ask on the terminal, without echo. `variable` is what could have been set instead."""
    from pydantic import SecretStr

    try:
        with warnings.catch_warnings():
            # getpass would warn and go on with echo.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return SecretStr(getpass.getpass(f"{title} (not shown): "))
    except EOFError as error:
        print(file=sys.stderr)  # the prompt's line is still open
        raise ConfigError(f"nothing was typed for the {title}, so nothing was done") from error
    except getpass.GetPassWarning as error:
        instead = f": set {variable}, or {variable}_FILE to a file that has it" if variable else ""
        raise ConfigError(f"no terminal to ask for the {title}{instead}") from error
