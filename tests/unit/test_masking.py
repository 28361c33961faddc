"""Secrets stay out of texts and values, however they are written there."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra.operations.masking import Mask, known_secrets
from hydra.operations.secrets import Secrets
from hydra.settings import DOTENV, ENVIRONMENT
from tests.support.vaults import PASSWORD, a_filled_vault

CANARY = 'canary-47/11+x="y"\'z'
SECRETS = st.text(min_size=6, max_size=40).filter(lambda s: len(set(s.strip())) > 3)


@settings(max_examples=40)
@given(SECRETS, st.text(max_size=20), st.text(max_size=20))
def test_a_known_secret_is_hidden_wherever_it_stands(secret: str, before: str, after: str) -> None:
    mask = Mask([secret])
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], _quoted(secret)):
        shown = mask.hide(f"{before}{form}{after}")
        assert form not in shown or form in "***"


def _quoted(text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        return text


def test_values_hide_them_at_any_depth() -> None:
    shown = Mask([CANARY]).value(
        {
            "text": f"a {CANARY} b",
            CANARY: 1,
            "deep": [{"er": ({"x": CANARY}, {CANARY})}],
            "bytes": CANARY.encode(),
            "object": ValueError(CANARY),
            "very": {"deep": {"in": {"it": {"is": {"hidden": {"too": CANARY}}}}}},
        }
    )

    assert CANARY not in json.dumps(shown)
    assert CANARY not in str(shown)
    assert "canary" not in str(shown)


@pytest.mark.parametrize(
    "name",
    ["api_key", "X-API-Key", "token", "bot_token", "TELEGRAM_TOKEN", "password", "passwd", "cookie",
     "FTMO_PASS", "secret", "client_secret", "Authorization", "credentials", "passphrase"],
)  # fmt: skip
def test_what_stands_under_a_telling_name_is_hidden(name: str) -> None:
    mask = Mask()

    assert mask.value({name: "x1", "n": {name: ["y"]}}) == {name: "***", "n": {name: "***"}}
    assert mask.value({name: 1234}) == {name: "***"}
    assert mask.value({name: None}) == {name: None}


@pytest.mark.parametrize("name", ["input_tokens", "max_output_tokens", "usd_per_mtok_in", "engine"])
def test_figures_that_operators_need_are_shown(name: str) -> None:
    assert Mask().value({name: 512}) == {name: 512}
    assert Mask().value({name: Decimal("1.50")}) == {name: "1.50"}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary",
        "{'authorization': 'Basic canary'}",
        '{"Authorization":"canary"}',
        "sent Bearer canary-12345",
        "POST /x?api_key=canary&n=1",
        "x-api-key: canary",
        "password=canary",
        "the secret: canary",
        '"access_token": "canary"',
        "postgresql://me:canary@host/x",
        "postgresql+psycopg://me:can@canary@host/x",
        "https://canary@host/x",
        "https://me:ca/nary@host/x",
        "key sk-canary-0123456789abcdef was refused",
        "xai-canary0123456789abcdef",
        "AIzacanary0123456789abcdef",
    ],
)
def test_what_looks_like_a_secret_is_hidden_though_nobody_named_it(text: str) -> None:
    shown = Mask().hide(text)

    assert "canary" not in shown
    assert "nary" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'ema_trend'",
        "no key: set DEEPSEEK_API_KEY in the environment or .env",
        "opened 0.12 BTC-USD at 42000.10, stop 41000",
        "http://localhost:11434/v1 answered 200",
        "basic strategies need no bearing",
        "512 tokens",
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert Mask().hide(text) == text


def test_a_key_of_several_lines_is_hidden_line_by_line() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"

    shown = Mask([pem]).hide("it read hkiG9w0BAQEFAASC there")

    assert shown == "it read *** there"


def test_the_longest_of_two_that_begin_alike_is_hidden_whole() -> None:
    assert Mask(["abcd", "abcdef"]).hide("abcdefgh") == "***gh"


def test_a_secret_learnt_later_is_hidden_from_then_on() -> None:
    mask = Mask()
    assert mask.hide("canary") == "canary"

    mask.add(["canary"])

    assert mask.hide("canary") == "***"


def test_secrets_of_the_environment_are_known_by_their_names() -> None:
    found = known_secrets(
        [
            (ENVIRONMENT, {
                "DEEPSEEK_API_KEY": "a1", "TELEGRAM_TOKEN": "b2", "FTMO_PASS": "c3",
                "TRADING_VAULT_PASSWORD": "d4", "PATH": "/bin", "TLS_KEY": "/run/secrets/x",
                "HYDRA_HOME": "/x", "KILL_SWITCH": "true", "EMPTY_KEY": "",
            }),
            (DOTENV, {"AWS_SECRET": "e5", "XAI_API_KEY": " f6 "}),
        ]
    )  # fmt: skip

    assert found == {"a1", "b2", "c3", "d4", "e5", "f6"}


@pytest.mark.parametrize(
    "piece",
    ["a-", "x://a:", "token", "token=", "://", "authorization:  ", "sk-", "key ", "a@", " "],
)
def test_no_text_takes_long(piece: str) -> None:
    mask = Mask(["canary-1"])
    started = time.perf_counter()

    mask.hide(piece * (100_000 // len(piece)))

    assert time.perf_counter() - started < 2


def test_secrets_of_files_and_of_the_vault_are_known_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = a_filled_vault(tmp_path / "vault.json", MY_OWN="canary-of-the-vault")
    (tmp_path / "key").write_text("canary-of-the-file\n")
    (tmp_path / "key").chmod(0o600)
    kept = Secrets(
        environment={
            "XAI_API_KEY_FILE": str(tmp_path / "key"),
            "GOOGLE_API_KEY_FILE": str(tmp_path / "absent"),
            "TRADING_VAULT_PASSWORD": PASSWORD.get_secret_value(),
        },
        vault=vault,
    )
    monkeypatch.setattr("hydra.operations.secrets._of_this_process", kept)

    assert {"canary-of-the-vault", "canary-of-the-file"} <= known_secrets()

    vault.path.unlink()
    absent = Secrets(environment={"TRADING_VAULT_PASSWORD": "canary-of-the-door"}, vault=vault)
    monkeypatch.setattr("hydra.operations.secrets._of_this_process", absent)
    assert "canary-of-the-door" in known_secrets()
