"""The table of settings and all that follows it; nothing of a secret is ever shown."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydra.engines.llm.providers import PROVIDERS
from hydra.errors import ConfigError
from hydra.operations import configuration
from hydra.operations.configuration import Stranger, example, in_force, strangers
from hydra.settings import DOTENV, ENVIRONMENT, Found, Settings, find, without_password
from hydra.variables import BY_NAME, MODELS, SETTINGS, Kind, Setting
from tests.support.shared_data import ROOT
from tests.support.vaults import PASSWORD, a_filled_vault

CANARY = "sk-canary-4711"
# Of other programs; see docs/configuration.md.
FOREIGN = {"NO_COLOR", "COLUMNS", "NUMBA_CACHE_DIR", "_RJEM_MALLOC_CONF"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting in the environment, and no `.env`."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setenv("HYDRA_ENV_FILE", str(tmp_path / ".env"))


# The table and what follows it


def test_settings_has_exactly_the_fields_of_the_table() -> None:
    aliases = [field.validation_alias for field in Settings.model_fields.values()]

    assert aliases == [setting.name for setting in SETTINGS if setting.is_field]


def test_defaults_of_the_table_are_those_of_settings() -> None:
    fields = {field.validation_alias: field for field in Settings.model_fields.values()}
    for setting in SETTINGS:
        if setting.is_field and not setting.default.startswith("("):
            default = fields[setting.name].default
            shown = "" if default is None else str(default).lower()
            assert shown == setting.default, setting.name


def test_choices_of_the_table_are_those_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        for choice in setting.choices:
            monkeypatch.setenv(setting.name, choice.upper())
            assert {one.setting.name: one.value for one in in_force()}[setting.name] == choice
        assert bool(setting.choices) == (setting.kind is Kind.CHOICE)


def test_every_key_and_address_of_a_provider_is_in_the_table() -> None:
    keys = {one.key_variable for one in PROVIDERS.values() if one.key_variable}
    addresses = {one.url_variable: one.url for one in PROVIDERS.values()}

    of_models = [one for one in SETTINGS if one.group == MODELS]
    assert {one.name for one in of_models if one.kind is Kind.SECRET} == keys
    assert {one.name: one.default for one in of_models if one.kind is Kind.URL} == addresses


def test_variables_that_the_sources_name_are_in_the_table() -> None:
    named = set()
    for path in [*(ROOT / "libs").rglob("*.py"), *(ROOT / "apps").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "os.environ.get", "os.getenv", "variable", "secret", "os.environ.setdefault",
            ):  # fmt: skip
                named |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    compose = (ROOT / "docker-compose.yml").read_text()

    assert named <= FOREIGN | BY_NAME.keys()
    assert all(f"${{{one.name}" in compose for one in SETTINGS if one.group == "docker compose")


def test_the_example_is_what_the_table_says() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")

    assert text == example(), "write it again: hydra config --example > .env.example"


def test_the_page_of_settings_has_every_line_of_the_table() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8").splitlines()
    wanted = []
    for setting in SETTINGS:
        group = f"| **{setting.group}** | | |"
        if group not in wanted:
            wanted.append(group)
        default = setting.default.removeprefix("(").removesuffix(")")
        if setting.default and not setting.default.startswith("("):
            default = f"`{default}`"
        cell = f" {default} " if default else " "
        wanted.append(f"| `{setting.name}` |{cell}| {setting.about} |")

    assert [line for line in page if line.startswith(("| `", "| **"))] == wanted


def test_each_entry_is_one_line_that_says_something() -> None:
    assert len(BY_NAME) == len(SETTINGS)
    for setting in SETTINGS:
        assert setting.about.endswith(".")
        assert "\n" not in setting.about + setting.default
        assert "|" not in setting.about + setting.default


# What is in force


def test_the_environment_wins_over_the_file_and_empty_is_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "LOG_LEVEL=debug\nLOG_FORMAT=console\nXAI_API_KEY=sk-x\nHYDRA_DB_PORT=\n"
    )
    monkeypatch.setenv("LOG_LEVEL", "error")
    monkeypatch.setenv("LOG_FORMAT", "  ")

    shown = {one.setting.name: (one.value, one.source) for one in in_force()}

    assert shown["LOG_LEVEL"] == ("error", "environment")
    assert shown["LOG_FORMAT"] == ("console", ".env")
    assert shown["XAI_API_KEY"] == ("set", ".env")
    assert shown["HYDRA_DB_PORT"] == ("5432", "default")
    assert shown["GOOGLE_API_KEY"] == ("not set", "default")


def test_a_switch_in_another_case_still_stops_trading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("kill_switch", "ON")

    assert find("KILL_SWITCH") == Found("ON", ENVIRONMENT)
    assert {one.setting.name: one.value for one in in_force()}["KILL_SWITCH"] == "true"


WRONG = [
    ("KILL_SWITCH", "banana", "KILL_SWITCH='banana'"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL='loud'"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT='xml'"),
    ("HYDRA_HOME", "~no_such_user_here/x", "no such user's home"),
    ("HYDRA_DB_URL", f"postgresql//me:{CANARY}@h/x", "HYDRA_DB_URL='postgresql//me:***@h/x'"),
    ("HYDRA_DB_URL", f"mysql://me:{CANARY}@h/x", "not supported"),
    ("HYDRA_DB_URL", "sqlite://", "path of a file"),
    ("DEEPSEEK_BASE_URL", "ftp://h", "DEEPSEEK_BASE_URL='ftp://h' (environment): it must be"),
    ("DEEPSEEK_BASE_URL", f"https://me:{CANARY}@h:x/", "host or port"),
    ("DEEPSEEK_BASE_URL", f"https://h:{CANARY}", "host or port"),
    ("XAI_BASE_URL", "http://[::1", "host or port"),
    ("HYDRA_ALARM_AFTER_S", "-5", "HYDRA_ALARM_AFTER_S='-5'"),
    ("HYDRA_ALARM_AFTER_S", "nan", "HYDRA_ALARM_AFTER_S='nan'"),
    ("HYDRA_ALARM_COMMAND", "notify 'me", "No closing quotation"),
    ("HYDRA_DB_PORT", "70000", "HYDRA_DB_PORT='70000'"),
    ("HYDRA_DB_PORT", "²", "whole number"),
    ("XAI_API_KEY", f"“{CANARY}”", "XAI_API_KEY (environment)"),
    ("XAI_API_KEY", f"{CANARY}\nx", "XAI_API_KEY (environment)"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_a_wrong_value_is_named_without_its_secret(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as caught:
        in_force()

    assert said in str(caught.value)
    assert name in str(caught.value)
    if "h:sk" not in value:  # there it stands where a port would
        assert CANARY not in str(caught.value)


def test_no_letter_of_a_secret_is_in_what_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in SETTINGS:
        if setting.kind is Kind.SECRET:
            monkeypatch.setenv(setting.name, CANARY)
        if setting.kind is Kind.URL:
            monkeypatch.setenv(setting.name, f"https://me:{CANARY}@h/v1?api_key={CANARY}")
    monkeypatch.setenv("HYDRA_DB_URL", f"postgresql://me:{CANARY}@h/x?password={CANARY}")
    own = Setting(name="MY_KEY", group=MODELS, kind=Kind.SECRET, about="Mine.")
    monkeypatch.setenv("MY_KEY", CANARY)

    assert CANARY not in repr(in_force([own]))
    assert CANARY not in repr(find("MY_KEY"))


@given(
    st.sampled_from(["postgresql://me:", "https://me:", "postgresql+psycopg://:", "x//me:"]),
    st.text(alphabet=st.characters(exclude_characters="\r"), min_size=1),
)
def test_whatever_a_password_is_made_of_it_is_hidden(start: str, password: str) -> None:
    # Letters before the first colon and after the last @ are the user's and the host's.
    shown = without_password(f"{start}{CANARY}{password}@host/name")

    assert CANARY not in shown
    assert shown.endswith("@host/name")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"XAI_API_KEY=sk-canary-4711\xff\n")
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        in_force()
    assert caught.value.__cause__ is None

    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    assert in_force()  # python-dotenv takes what is no file for absent


def test_a_secret_of_a_file_or_the_vault_is_set_and_its_place_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vault = a_filled_vault(tmp_path / "vault.json", GOOGLE_API_KEY="of the vault")
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("XAI_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("HYDRA_VAULT", str(vault.path))
    monkeypatch.setenv("TRADING_VAULT_PASSWORD", PASSWORD.get_secret_value())

    shown = {one.setting.name: (one.value, one.source) for one in in_force()}

    assert shown["XAI_API_KEY"] == ("set", f"the file {tmp_path / 'key'} (XAI_API_KEY_FILE)")
    assert shown["GOOGLE_API_KEY"] == ("set", f"the vault {vault.path}")
    assert shown["TRADING_VAULT_PASSWORD"] == ("set", ENVIRONMENT)
    assert strangers(SETTINGS, [(ENVIRONMENT, {"XAI_API_KEY_FILE": "x"})]) == []


# Slips of the pen


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("HYDRA_HOM", "HYDRA_HOME"),
        ("HYDRA_DBURL", "HYDRA_DB_URL"),
        ("HYDRA_QQQQQQQQQQQQ", ""),
        ("KILLSWITCH", "KILL_SWITCH"),
        ("DEEPSEEK_APIKEY", "DEEPSEEK_API_KEY"),
        ("ANTROPIC_API_KEY", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_slip_is_pointed_out_with_the_nearest_name(name: str, nearest: str) -> None:
    found = strangers(SETTINGS, [(ENVIRONMENT, {name: "1", "PATH": "/bin", "LOGNAME": "me"})])

    assert found == [Stranger(name, ENVIRONMENT, nearest)]


def test_everything_unknown_in_the_file_is_pointed_out() -> None:
    found = strangers(SETTINGS, [(ENVIRONMENT, {"HOME": "x"}), (DOTENV, {"HOMER": "x"})])

    assert found == [Stranger("HOMER", DOTENV, "")]


@pytest.mark.parametrize("name", [one.name for one in SETTINGS])
def test_known_names_in_any_case_are_no_slips(name: str) -> None:
    assert strangers(SETTINGS, [(ENVIRONMENT, {name: "1", name.lower(): "1"})]) == []


def test_the_modules_own_environment_is_asked_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYDRA_HOM", "x")

    assert "HYDRA_HOM" in {one.name for one in configuration.strangers(SETTINGS)}
