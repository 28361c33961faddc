"""What a model may decide, and what it is told about it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from hydra.engines.llm.decisions import (
    SCHEMA,
    Action,
    Decision,
    Spelt,
    StatedInvalidation,
    clean,
    exact_number,
    storable,
)
from hydra.portfolio.intents import OrderType

TAKEN_EVERYWHERE = {
    "type", "properties", "required", "additionalProperties", "enum", "items", "description",
}  # fmt: skip


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from nodes(inner)
    if "items" in schema:
        yield from nodes(schema["items"])


def properties_of_a_decision() -> dict[str, Any]:
    (decisions,) = (node for node in nodes(SCHEMA) if node["type"] == "array" and "required"
                    in node["items"])  # fmt: skip
    found: dict[str, Any] = decisions["items"]["properties"]
    return found


def test_the_schema_uses_only_what_every_provider_takes() -> None:
    for node in nodes(SCHEMA):
        assert set(node) <= TAKEN_EVERYWHERE


def test_every_object_of_the_schema_is_closed_and_names_all_it_has() -> None:
    objects = [node for node in nodes(SCHEMA) if "properties" in node]

    assert len(objects) == 3
    for node in objects:
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])


def test_every_property_is_described_in_a_few_words() -> None:
    for node in nodes(SCHEMA):
        for name, inner in node.get("properties", {}).items():
            assert 10 < len(inner["description"]) < 220, name


def test_the_schema_and_the_structs_have_the_same_fields() -> None:
    properties = properties_of_a_decision()

    assert set(properties) == set(Decision.__struct_fields__)
    inner = properties["invalidation"]["properties"]
    assert set(inner) == set(StatedInvalidation.__struct_fields__)


def test_the_schema_lists_all_actions_and_order_types_and_null_where_it_may_be() -> None:
    properties = properties_of_a_decision()

    assert properties["action"]["enum"] == list(Action)
    assert properties["order_type"]["enum"] == [*OrderType, None]
    for name in ("order_type", "limit_price", "stop", "invalidation", "ticket"):
        assert "null" in properties[name]["type"]
    for name in ("asset", "action", "thesis", "cited_inputs"):
        assert "null" not in properties[name]["type"]


def test_the_schema_is_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SCHEMA)) == SCHEMA


def test_a_decision_with_an_unknown_field_is_none() -> None:
    with pytest.raises(msgspec.ValidationError, match="leverage"):
        msgspec.convert({"asset": "A", "action": "hold", "thesis": "", "leverage": 3}, Decision)


@pytest.mark.parametrize(
    ("spelt", "number"),
    [("65000.50", "65000.50"), ("1e5", "1E5"), ("-0.25", "-0.25"), ("0.1000000000000000055",) * 2],
)
def test_numbers_are_read_exactly(spelt: str, number: str) -> None:
    found = exact_number(spelt)
    assert found is not None
    assert str(found) == str(Decimal(number))


@pytest.mark.parametrize(
    "spelt",
    ["NaN", "Infinity", "-Infinity", "1e400", "1e-400", "9" * 29, "9" * 5_000, "1e" + "9" * 30,
     "1e29", "0." + "0" * 28 + "1"],
)  # fmt: skip
def test_numbers_beyond_all_measure_are_none(spelt: str) -> None:
    assert exact_number(spelt) is None


def test_a_record_keeps_numbers_as_json_reads_them_and_others_as_text() -> None:
    said = {"a": Spelt("1e5"), "b": Spelt("0.1"), "c": Spelt("NaN"), "d": Decimal("65000.50")}

    assert storable(said) == {"a": 100_000, "b": 0.1, "c": "NaN", "d": 65_000.5}
    assert storable([Spelt("0.10000000000000000001"), 2**70, Spelt("1e400"), True, None]) == [
        "0.10000000000000000001", str(2**70), "1e400", True, None,
    ]  # fmt: skip
    assert storable(Spelt("7" * 70_000)) == "7" * 63 + "…"


def test_a_record_keeps_no_character_that_no_store_takes() -> None:
    kept = storable({"k\0": ["nul \0", "half a pair \ud83d", "esc \x1b[2J", "line\nbreak\t"]})

    assert kept == {"k\ufffd": ["nul \ufffd", "half a pair \ufffd", "esc \ufffd[2J",
                                "line\nbreak\t"]}  # fmt: skip
    msgspec.json.encode(kept)


def test_a_record_has_a_depth_and_its_texts_a_length() -> None:
    deep: object = "x"
    for _ in range(100):
        deep = [deep]

    assert msgspec.json.encode(storable(deep)) == b"[" * 8 + '"…"'.encode() + b"]" * 8
    assert clean("x" * 5_000) == "x" * 3_999 + "…"
