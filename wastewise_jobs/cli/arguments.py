"""Reading what was typed: lists of files, UUIDs, JSON, times. Pure but for reading `@file`."""

import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from wastewise_jobs.errors import InvalidInputError

if TYPE_CHECKING:
    from pydantic import BaseModel

ModelT = TypeVar("ModelT", bound="BaseModel")

_LISTS = frozenset({"--invoices", "--haul-log"})
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Fields of the API, and settings, whose option is not simply their name.
_OPTIONS = {
    "job_type": "JOB_TYPE",
    "project_id": "--project",
    "input_data": "--input",
    "timeout_seconds": "--timeout",
    "idempotency_key": "--key",
    "property_name": "--property",
    "equipment_type": "--equipment",
    "user_id": "--user",
    "expires_at": "--days",
    "wastewise_url": "--url",
    "worker_concurrency": "--concurrency",
    "worker_name": "--name",
}


def spread_files(arguments: Sequence[str]) -> list[str]:
    """`--invoices a.csv b.csv` as `--invoices a.csv --invoices b.csv`, so that globs work."""
    return list(_spread(arguments))


def _spread(arguments: Sequence[str]) -> Iterator[str]:
    current = ""
    for position, argument in enumerate(arguments):
        if argument.startswith("-"):
            current = argument if argument in _LISTS else ""
        elif current and arguments[position - 1] != current:
            if not _names_file(argument):
                current = ""
            else:
                yield current
        yield argument


def _names_file(argument: str) -> bool:
    # A job type has neither a suffix nor a slash, so it may come after the files.
    return "/" in argument or bool(Path(argument).suffix)


def json_object(text: str, option: str) -> dict[str, Any]:
    """The JSON object in `text`, or in the file that `@path` names; by the service's own rules."""
    from wastewise_jobs.jobs.storable import parse_json
    from wastewise_jobs.wire.jobs import MAX_INPUT_BYTES

    if text.startswith("@"):
        # Windows may put a mark before it.
        raw = read_file(Path(text[1:]), option, MAX_INPUT_BYTES).removeprefix(BOM_UTF8)
    else:
        raw = os.fsencode(text)
    try:
        value = parse_json(raw, max_bytes=MAX_INPUT_BYTES)
    except InvalidInputError as error:
        raise InvalidInputError(option, str(error)) from None
    if not isinstance(value, dict):
        raise InvalidInputError(option, 'must be a JSON object, {"name": value}')
    return value


def read_file(path: Path, option: str, most_bytes: int) -> bytes:
    """The whole file; InvalidInputError says which one cannot be read, or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise InvalidInputError(option, f"{path}: {error.strerror or error}") from None
    if len(content) > most_bytes:
        raise InvalidInputError(option, f"{path} is larger than {most_bytes >> 10:,} KiB")
    return content


def point_in_time(text: str | None, option: str) -> datetime | None:
    """An RFC 3339 time with an offset, or a delay from now such as 90s, 15m, 2h, 1d."""
    if text is None:
        return None
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if text[-1:] in units and text[:-1].isascii() and text[:-1].isdigit():
        try:
            return datetime.now(UTC) + timedelta(**{units[text[-1]]: int(text[:-1])})
        except (OverflowError, ValueError):
            raise InvalidInputError(option, f"{text} is too far away") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInputError(
            option, f"must be 2026-01-31T08:00:00+01:00 or a delay such as 15m, not {text[:100]!r}"
        )
    return moment


def somebody(user: UUID) -> UUID:
    """A user; InvalidInputError for the UUID that programs write where there is none."""
    if user.int == 0:
        raise InvalidInputError("--user", "the nil UUID is nobody")
    return user


def option_of(field: str) -> str:
    """What was typed for a field of the API: `equipmentType` is --equipment."""
    name, _, within = field.partition(".")
    snake = _CAMEL.sub("_", name).lower().replace("-", "_")
    option = _OPTIONS.get(snake, f"--{snake.replace('_', '-')}")
    # A place in a list says nothing to whoever repeated an option.
    return f"{option}: {within}" if within and not within.isdecimal() else option


def checked(model: type[ModelT], **values: Any) -> ModelT:  # noqa: ANN401 - the model checks them
    """As the client's, in the words of the command line."""
    from wastewise_jobs import client

    try:
        return client.checked(model, **values)
    except InvalidInputError as error:
        raise InvalidInputError(option_of(error.field), error.problem) from None
