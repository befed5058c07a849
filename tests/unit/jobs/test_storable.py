import dataclasses
import enum
import math
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import orjson
import pytest
from asyncpg.pgproto.pgproto import UUID as PgUUID  # noqa: N811 - another class of that name
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.jobs.storable import (
    MAX_DEPTH,
    NOT_STORABLE,
    clean_text,
    dump_json,
    parse_json,
    storable_object,
)

LIMIT = 300_000


class Bill(BaseModel):
    total: Decimal = Decimal("1.10")
    share: float = 0.5


class Open(BaseModel):
    """Whatever pydantic lets through."""

    model_config = ConfigDict(ser_json_inf_nan="constants", arbitrary_types_allowed=True)

    value: Any = None
    named: int = Field(default=1, alias="otherName")


@dataclasses.dataclass
class Point:
    x: float
    y: object = None


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ('{"a":[1,{"b":1e100000}]}', "number_too_large", "a.1.b"),
        ('{"a":' + "9" * 5000 + "}", "number_too_large", "a"),
        ("18446744073709551616", "number_too_large", ""),
        ("-9223372036854775809", "number_too_large", ""),
        ("1e-100000", "number_too_large", ""),
        ("0." + "1" * 500, "number_too_large", ""),
        ('{"x":{"a":1,"a":2}}', "duplicate_key", "x.a"),
        ('{"a":NaN}', "not_finite", "a"),
        ("[1,-Infinity]", "not_finite", "1"),
        ('{"a":"\\u0000"}', "nul_character", "a"),
        ('{"k":{"a\\u0000":1}}', "nul_character", "k"),
        ('{"a":"\\ud800"}', "lone_surrogate", "a"),
        ('{"a":"\\uDFFF"}', "lone_surrogate", "a"),
        ('"\ud800"', "lone_surrogate", ""),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "too_deep", ""),
        ("[" * 100_000, "too_deep", ""),
        ('{"a":}', "malformed_json", ""),
        ("", "malformed_json", ""),
        ('{"a":1} x', "malformed_json", ""),
        (b"\xff", "malformed_json", ""),
        (b'"\xed\xa0\x80"', "malformed_json", ""),
        ('"' + "x" * LIMIT + '"', "too_large", ""),
    ],
)
def test_a_text_that_cannot_be_stored_is_refused_with_its_path(
    text: str | bytes, code: str, field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_json(text, max_bytes=LIMIT)
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
        ('"' + "[" * 500 + '"', "[" * 500),
        ('"\\\\u0000"', "\\u0000"),
        ('"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("0e5", 0.0),
        ("0.1", 0.1),
        ('{"a":null,"b":[true,{}]}', {"a": None, "b": [True, {}]}),
    ],
)
def test_a_storable_text_is_parsed(text: str, value: object) -> None:
    parsed = parse_json(text, max_bytes=LIMIT)
    if value is not None:
        assert parsed == value
    assert dump_json(parsed)


def test_the_size_limit_counts_bytes() -> None:
    assert parse_json('"é"', max_bytes=4) == "é"
    with pytest.raises(InvalidInputError):
        parse_json('"é"', max_bytes=3)


def test_an_unterminated_string_of_escapes_is_refused_in_linear_time() -> None:
    started = time.process_time()
    with pytest.raises(InvalidInputError):
        parse_json('"' + '\\"' * 120_000 + "\\", max_bytes=LIMIT)
    # Quadratic would take minutes; the bound only tells the two apart.
    assert time.process_time() - started < 10


def in_a_circle() -> dict[str, object]:
    circle: dict[str, object] = {}
    circle["again"] = circle
    return circle


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (math.nan, ""),
        ({"a": [1, {"b": math.inf}]}, "a.1.b"),
        ({"m": Bill(share=math.nan)}, "m.share"),
        (Bill(share=math.inf), "share"),
        (Open(value=math.nan), "value"),
        (Open(value={"a": [2**64]}), "value.a.0"),
        (Open(value="\0"), "value"),
        (Open(value="\ud800"), "value"),
        (Open(value=object()), ""),
        (Open(value=nested(MAX_DEPTH)), ""),
        (Point(-math.inf), "x"),
        ({"a": [1, {"b": "\0"}]}, "a.1.b"),
        ({"k": {"a\0": 1}}, "k"),
        ({"a": "\\\0"}, "a"),
        ({"a": "\ud800"}, "a"),
        (b"x", ""),
        ({"a": b"x"}, "a"),
        ({"a": object()}, "a"),
        ({"a": 2**70}, "a"),
        ({(1,): 2}, ""),
        (in_a_circle(), ""),
        (nested(MAX_DEPTH + 1), ""),
        (nested(2_000), ""),
        ("y" * 2 * 1024 * 1024, ""),
    ],
)
def test_a_result_that_cannot_be_stored_is_refused_with_its_path(value: object, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        dump_json(value)
    assert (refused.value.code, refused.value.field) == (NOT_STORABLE, field)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        ({"a": None, "b": "null"}, {"a": None, "b": "null"}),
        (Open(value=None), {"value": None, "otherName": 1}),
        (Open(value="1" * 30), {"value": "1" * 30, "otherName": 1}),
        ([Open(value=2**64 - 1)], [{"value": 2**64 - 1, "otherName": 1}]),
        (Bill(), {"total": "1.10", "share": 0.5}),
        ([Point(1.0, Color.RED)], [{"x": 1.0, "y": "red"}]),
        ({1: "a", Color.RED: "b"}, {"1": "a", "red": "b"}),
        ({"x": None, 1: Bill()}, {"x": None, "1": {"total": "1.10", "share": 0.5}}),
        (timedelta(minutes=2), 120.0),
        (PurePosixPath("/a"), "/a"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"id": PgUUID(bytes(16))}, {"id": "00000000-0000-0000-0000-000000000000"}),
        ("\\u0000", "\\u0000"),
        ({3}, [3]),
        (nested(MAX_DEPTH), nested(MAX_DEPTH)),
    ],
)
def test_what_handlers_return_becomes_plain_json(value: object, plain: object) -> None:
    assert orjson.loads(dump_json(value)) == plain


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_whatever_is_dumped_is_accepted_as_an_input(value: object) -> None:
    try:
        text = dump_json(value)
    except InvalidInputError:
        # The cases above say what is refused; here only what is not matters.
        return
    assert parse_json(text, max_bytes=len(text.encode())) == value


@given(st.text(alphabet=st.characters()), st.integers(min_value=3, max_value=40))
def test_cleaned_text_is_valid_short_and_whole(text: str, max_bytes: int) -> None:
    cleaned = clean_text(text, max_bytes)
    assert len(cleaned.encode()) <= max_bytes
    assert "\0" not in cleaned
    if "\0" not in text and len(text.encode("utf-8", "surrogatepass")) <= max_bytes:
        assert cleaned == text.encode("utf-8", "replace").decode()


def test_surrogates_are_replaced_in_text() -> None:
    assert clean_text("a\ud800b\0") == "a?b\N{REPLACEMENT CHARACTER}"


def test_details_that_cannot_be_stored_say_so() -> None:
    assert storable_object({"a": Decimal(1)}) == {"a": "1"}
    assert storable_object({"a": b"x"}) == {"not_storable": "a: a bytes has no JSON form"}
    assert "not_storable" in storable_object({"a": "x" * 50_000})
