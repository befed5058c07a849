"""Cursors of lists: where a page ended, in one opaque word.

A cursor holds no right: whoever invents one sees only what they may see anyway. The checksum
makes a mistyped or mixed-up one an error instead of a wrong page.
"""

import base64
import binascii
import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

from wastewise_jobs.web.http.problems import INVALID_CURSOR, ProblemError
from wastewise_jobs.wire.types import FieldProblem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECKSUM_BYTES = 6
_LONGEST = 200


def moment_cursor(which: str, moment: datetime | None, row_id: UUID) -> str:
    """The cursor behind a row of the list `which` that is ordered by time and id.

    None stands for a time that only the database can hold: the row is asked for it again.
    """
    passed = "" if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)
    return _seal(which, f"{passed}:{row_id}")


def read_moment_cursor(which: str, cursor: str | None) -> tuple[datetime, UUID] | None:
    """The (time, id) to go on behind; raises ProblemError for anything we did not make."""
    moment, row_id = read_row_cursor(which, cursor) or (None, None)
    if row_id is None:
        return None
    if moment is None:
        raise _refused()
    return moment, row_id


def read_row_cursor(which: str, cursor: str | None) -> tuple[datetime | None, UUID] | None:
    """The same where the time may be None."""
    if cursor is None:
        return None
    passed, _, row_id = _open(which, cursor).partition(":")
    try:
        moment = _EPOCH + timedelta(microseconds=int(passed)) if passed else None
        return moment, UUID(row_id)
    except (ValueError, OverflowError):
        raise _refused() from None


def position_cursor(which: str, position: int) -> str:
    """The cursor behind a row that is ordered by its position."""
    return _seal(which, str(position))


def read_position_cursor(which: str, cursor: str | None) -> int:
    """The position to go on behind; 0 without a cursor."""
    if cursor is None:
        return 0
    try:
        return int(_open(which, cursor))
    except ValueError:
        raise _refused() from None


def _seal(which: str, text: str) -> str:
    raw = _checksum(which, text) + text.encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _open(which: str, cursor: str) -> str:
    if len(cursor) > _LONGEST or not cursor.isascii():
        raise _refused()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        text = raw[_CHECKSUM_BYTES:].decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _refused() from None
    if raw[:_CHECKSUM_BYTES] != _checksum(which, text) or _seal(which, text) != cursor:
        raise _refused()
    return text


def _checksum(which: str, text: str) -> bytes:
    return hashlib.sha256(f"{which}\0{text}".encode()).digest()[:_CHECKSUM_BYTES]


def _refused() -> ProblemError:
    problem = "is no cursor of this list"
    return ProblemError(
        INVALID_CURSOR,
        f"cursor: {problem}",
        field="cursor",
        errors=[FieldProblem(field="cursor", problem=problem)],
    )
