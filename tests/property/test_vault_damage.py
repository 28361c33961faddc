"""Damage to the vault's file is always told, and never gives a wrong secret."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from hydra.errors import ConfigError
from hydra.operations.vault import MAX_SECRET_BYTES
from tests.support.vaults import CANARY, PASSWORD, a_filled_vault, a_vault, doctor, values

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,63}", fullmatch=True).filter(
    lambda name: not name.startswith("TRADING_VAULT_")
)
TEXTS = st.text(min_size=1, max_size=200).filter(
    lambda text: len(text.encode("utf-8", "replace")) <= MAX_SECRET_BYTES
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault's file."""
    path = tmp_path_factory.mktemp("damage") / "vault.json"
    a_filled_vault(path, DEEPSEEK_API_KEY=CANARY)
    return path


@contextmanager
def holding(path: Path, data: bytes) -> Iterator[None]:
    """The file with other bytes in it, and its own again afterwards."""
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def must_be_told(path: Path, data: bytes) -> None:
    with holding(path, data), pytest.raises(ConfigError) as caught:
        a_vault(path).read(PASSWORD)
    said = str(caught.value)
    assert str(path) in said
    assert "damaged" in said or "version" in said, said
    assert CANARY not in said


def test_each_flipped_bit_of_each_byte_is_told(whole: Path) -> None:
    data = whole.read_bytes()
    vault = a_vault(whole)
    descriptor = os.open(whole, os.O_WRONLY)
    try:
        for i in range(len(data)):
            for bit in range(8):
                os.pwrite(descriptor, bytes([data[i] ^ 1 << bit]), i)
                with pytest.raises(ConfigError, match=r"damaged|version"):
                    vault.read(PASSWORD)
            os.pwrite(descriptor, data[i : i + 1], i)
    finally:
        os.close(descriptor)
    assert values(vault) == {"DEEPSEEK_API_KEY": CANARY}


def test_each_truncation_is_told(whole: Path) -> None:
    data = whole.read_bytes()
    for length in range(len(data)):
        must_be_told(whole, data[:length])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_other_change_is_told(whole: Path, data: st.DataObject) -> None:
    before = whole.read_bytes()
    start = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(start, len(before)))
    changed = before[:start] + data.draw(st.binary(max_size=40)) + before[end:]
    if changed != before:
        must_be_told(whole, changed)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300) | st.integers(1, 200_000).map(lambda n: b'{"header":' + b"[" * n))
def test_what_was_never_a_vault_is_told(whole: Path, data: bytes) -> None:
    must_be_told(whole, data)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_change_whose_checksum_fits_does_not_open(whole: Path, data: st.DataObject) -> None:
    """One character of salt, nonce or ciphertext, by somebody who knows the format."""
    before = whole.read_bytes()
    field = data.draw(st.sampled_from(["salt", "nonce", "ciphertext"]))

    def change(document: dict[str, Any]) -> None:
        holder = {
            "salt": document["header"]["kdf"],
            "nonce": document["header"],
            "ciphertext": document,
        }[field]
        text = holder[field]
        # The last characters may be padding, or hold bits that no byte has.
        i = data.draw(st.integers(0, len(text) - 5))
        letter = data.draw(st.sampled_from("AZaz09+/").filter(lambda one: one != text[i]))
        holder[field] = text[:i] + letter + text[i + 1 :]

    with holding(whole, before):
        doctor(whole, change)
        with pytest.raises(ConfigError, match="does not open"):
            a_vault(whole).read(PASSWORD)


@settings(max_examples=25, deadline=None)
@given(name=NAMES, text=TEXTS, again=TEXTS)
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str, again: str
) -> None:
    path = tmp_path_factory.mktemp("round") / "vault.json"
    vault = a_filled_vault(path, **{name: text})

    assert values(vault) == {name: text}
    vault.put(PASSWORD, name, SecretStr(again))
    assert values(vault) == {name: again}
