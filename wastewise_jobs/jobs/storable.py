"""What may go into PostgreSQL: the one choke point for JSON and text that others wrote.

jsonb refuses NUL and lone surrogates, expands 1e100000 to a hundred thousand digits, and its
readers choke on deep nesting; a job whose outcome cannot be written would be stuck for ever. So
whatever comes in is parsed here, and whatever a handler says is dumped or cleaned here.

Store what `dump_json` makes of a parsed value, never the caller's own text: only then do the
limits on numbers hold for the rows.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, NoReturn
from uuid import UUID

import orjson
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from wastewise_jobs.errors import InvalidInputError
from wastewise_jobs.jobs.model import JsonObject

MAX_DEPTH = 64
MAX_INPUT_BYTES = 256 * 1024
MAX_RESULT_BYTES = 1024 * 1024
MAX_ERROR_BYTES = 16 * 1024
NOT_STORABLE = "RESULT_NOT_STORABLE"

_LEAST_INT, _GREATEST_INT = -(2**63), 2**64 - 1
_LONGEST_NUMBER = 400
_BRACKETS_OUTSIDE_STRINGS = re.compile(
    r'"(?:[^"\\]|\\(?:.|\Z))*(?:"|\Z)|([\[{])|([\]}])', re.DOTALL
)
_NUL_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# Like null, NaN and Infinity, it may stand for what PostgreSQL refuses in a text of pydantic's.
_LONG_NUMBER = re.compile(rb"\d{20}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(raw: bytes | str, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Any:  # noqa: ANN401 - JSON
    """Parse a JSON text of a caller into a value that PostgreSQL and our readers can hold.

    Raises InvalidInputError with the dotted path of the culprit and one of the codes too_large,
    malformed_json, too_deep, duplicate_key, not_finite, number_too_large, nul_character,
    lone_surrogate.
    """
    text = _decoded(raw, max_bytes)
    if too_deep(text, max_depth):
        _refuse("", f"nested deeper than {max_depth} levels", "too_deep")
    suspects: list[_Refused] = []
    try:
        value = json.loads(
            text,
            object_pairs_hook=_ObjectHook(suspects),
            parse_int=_IntHook(suspects),
            parse_float=_FloatHook(suspects),
            parse_constant=_ConstantHook(suspects),
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        _refuse("", f"not JSON: {error.msg.lower()} at {where}", "malformed_json")
    if suspects or "\\u" in text:
        _refuse_first_bad(value, "")
    return value


def dump_json(value: object, *, max_bytes: int = MAX_RESULT_BYTES) -> str:
    """Dump what a handler returned as a JSON text that PostgreSQL stores.

    Beyond plain JSON it takes pydantic models, dataclasses, enums, dates, times, UUIDs, paths and
    decimals (as strings), timedeltas (as seconds) and sets. Raises InvalidInputError with code
    RESULT_NOT_STORABLE and the dotted path of what cannot be stored.
    """
    try:
        if isinstance(value, BaseModel):
            raw = value.__pydantic_serializer__.to_json(value, by_alias=True)
            suspect = (
                b"null" in raw
                or b"NaN" in raw
                or b"Infinity" in raw
                or _LONG_NUMBER.search(raw) is not None
            )
        else:
            raw = orjson.dumps(value, default=_default)
            # orjson writes NaN and Infinity as null, so only a text with a null can hide one.
            suspect = b"null" in raw and value is not None
    except (TypeError, ValueError):
        # They say what, but not where; and they refuse keys that can be made strings.
        raw, suspect = b"", True
    if suspect:
        raw = _dump_slowly(value)
    if len(raw) > max_bytes:
        _refuse("", f"{len(raw)} bytes, at most {max_bytes} can be stored", NOT_STORABLE)
    if b"\\u0000" in raw and _NUL_ESCAPE.search(raw):
        _plain(value, "", 0)
    text = raw.decode()
    if too_deep(text, MAX_DEPTH):
        _refuse("", f"nested deeper than {MAX_DEPTH} levels", NOT_STORABLE)
    return text


def clean_text(text: str, max_bytes: int = MAX_ERROR_BYTES) -> str:
    """The text as PostgreSQL can store it: NUL and surrogates replaced, cut between characters."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    raw = text.encode("utf-8", "replace")
    if len(raw) > max_bytes:
        return raw[: max_bytes - 3].decode("utf-8", "ignore") + "…"
    return raw.decode()


def storable_object(
    details: Mapping[str, object], *, max_bytes: int = MAX_ERROR_BYTES
) -> JsonObject:
    """The details of an error as plain JSON; one key that says why where that is impossible."""
    if not details:
        return {}
    try:
        plain: JsonObject = orjson.loads(dump_json(dict(details), max_bytes=max_bytes))
    except InvalidInputError as error:
        return {"not_storable": clean_text(str(error), 1024)}
    return plain


def _decoded(raw: bytes | str, max_bytes: int) -> str:
    try:
        size = len(raw.encode() if isinstance(raw, str) else raw)
        text = raw if isinstance(raw, str) else raw.decode()
    except UnicodeEncodeError:
        _refuse("", "holds a lone surrogate", "lone_surrogate")
    except UnicodeDecodeError:
        _refuse("", "not UTF-8", "malformed_json")
    if size > max_bytes:
        _refuse("", f"{size} bytes, at most {max_bytes} are accepted", "too_large")
    return text


def too_deep(text: str, most: int) -> bool:
    """Whether a JSON text is nested deeper than that."""
    # Few brackets cannot be deep: most texts are not walked.
    return text.count("{") + text.count("[") > most and _depth(text) > most


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS_OUTSIDE_STRINGS.finditer(text):
        if match.group(1):
            depth += 1
            deepest = max(deepest, depth)
        elif match.group(2):
            depth -= 1
    return deepest


@dataclasses.dataclass(slots=True, eq=False)
class _Refused:
    """Stands where a value was refused, until the walk that knows its path finds it."""

    problem: str
    code: str


class _Hook:
    """A callback of json's scanner: leaves a `_Refused` in place of what it cannot accept."""

    def __init__(self, suspects: list[_Refused]) -> None:
        self._suspects = suspects

    def refused(self, problem: str, code: str) -> _Refused:
        bad = _Refused(problem, code)
        self._suspects.append(bad)
        return bad


class _ObjectHook(_Hook):
    def __call__(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    found[key] = self.refused("the key occurs twice", "duplicate_key")
                seen.add(key)
        return found


class _IntHook(_Hook):
    def __call__(self, text: str) -> int | _Refused:
        # Length first: int() of a long text is slow, and refused beyond 4,300 digits.
        if len(text) > len(str(_LEAST_INT)) + 1 or not _LEAST_INT <= int(text) <= _GREATEST_INT:
            return self.refused("an integer beyond 64 bits", "number_too_large")
        return int(text)


class _FloatHook(_Hook):
    def __call__(self, text: str) -> float | _Refused:
        value = float(text)
        lost = value == 0.0 and re.search("[1-9]", text.lower().partition("e")[0])
        if len(text) > _LONGEST_NUMBER or math.isinf(value) or lost:
            return self.refused("a number beyond double precision", "number_too_large")
        return value


class _ConstantHook(_Hook):
    def __call__(self, text: str) -> _Refused:
        return self.refused(f"{text} is not a JSON number", "not_finite")


def _refuse_first_bad(value: object, path: str) -> None:
    if isinstance(value, _Refused):
        _refuse(path, value.problem, value.code)
    elif isinstance(value, str):
        _refuse_bad_text(value, path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_bad_text(key, path)
            _refuse_first_bad(inner, _join(path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _refuse_first_bad(inner, _join(path, position))


def _refuse_bad_text(text: str, path: str, code: str | None = None) -> None:
    if "\0" in text:
        _refuse(path, "holds a NUL character", code or "nul_character")
    if _SURROGATE.search(text):
        _refuse(path, "holds a lone surrogate", code or "lone_surrogate")


def _default(value: object) -> object:
    """What orjson does not know by itself; a TypeError for what nobody knows."""
    match value:
        case BaseModel():
            return value.model_dump(mode="json", by_alias=True)
        case Decimal() | PurePath() | UUID():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case AbstractSet():
            return list(value)
        case Mapping():
            return dict(value)
        case _:
            raise TypeError(type(value).__name__)


def _dump_slowly(value: object) -> bytes:
    try:
        return orjson.dumps(_plain(value, "", 0))
    except PydanticSerializationError as error:
        _refuse("", str(error), NOT_STORABLE)


def _plain(value: object, path: str, depth: int) -> object:
    """The value in plain JSON types; refuses with its path whatever cannot be stored."""
    if depth > MAX_DEPTH + 1:
        _refuse("", f"nested deeper than {MAX_DEPTH} levels, or in a circle", NOT_STORABLE)
    if isinstance(value, Enum):
        return _plain(value.value, path, depth)
    if isinstance(value, list | tuple):
        return [_plain(v, _join(path, i), depth + 1) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return dict(_plain_items(value, path, depth))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return dict(_plain_items(fields, path, depth))
    return _plain_scalar(value, path, depth)


def _plain_scalar(value: object, path: str, depth: int) -> object:
    match value:
        case str():
            _refuse_bad_text(value, path, NOT_STORABLE)
            plain: object = str(value)
        case int():
            if not _LEAST_INT <= value <= _GREATEST_INT:
                _refuse(path, "an integer beyond 64 bits", NOT_STORABLE)
            plain = value if isinstance(value, bool) else int(value)
        case float():
            if not math.isfinite(value):
                _refuse(path, f"{value} is not a JSON number", NOT_STORABLE)
            plain = float(value)
        case None:
            plain = None
        case datetime() | date() | time():
            plain = value.isoformat()
        case _:
            try:
                plain = _plain(_default(value), path, depth)
            except TypeError:
                _refuse(path, f"a {type(value).__name__} has no JSON form", NOT_STORABLE)
    return plain


def _plain_items(
    items: Mapping[Any, object], path: str, depth: int
) -> Iterator[tuple[str, object]]:
    for key, value in items.items():
        name = key.value if isinstance(key, Enum) else key
        if not isinstance(name, str | int | float | UUID | date):
            _refuse(path, f"a key of type {type(key).__name__}", NOT_STORABLE)
        _refuse_bad_text(str(name), path, NOT_STORABLE)
        yield str(name), _plain(value, _join(path, name), depth + 1)


def _join(path: str, part: object) -> str:
    # The path itself is shown and stored, so the key in it must be clean and short.
    name = clean_text(str(part), 100)
    return f"{path}.{name}" if path else name


def _refuse(path: str, problem: str, code: str) -> NoReturn:
    raise InvalidInputError(path, problem, code=code)
