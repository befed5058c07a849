from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wastewise_jobs.web.http.cursor import (
    moment_cursor,
    position_cursor,
    read_moment_cursor,
    read_position_cursor,
)
from wastewise_jobs.web.http.problems import ProblemError

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of naive ones


@given(MOMENTS, st.uuids())
def test_a_cursor_gives_back_where_the_page_ended(moment: datetime, row_id: UUID) -> None:
    assert read_moment_cursor("jobs", moment_cursor("jobs", moment, row_id)) == (moment, row_id)


@given(st.integers(0, 2**31 - 1))
def test_a_position_comes_back_too(position: int) -> None:
    assert read_position_cursor("rows x", position_cursor("rows x", position)) == position


def test_without_a_cursor_a_list_begins_at_its_beginning() -> None:
    assert read_moment_cursor("jobs", None) is None
    assert read_position_cursor("rows x", None) == 0


@given(st.text(max_size=250))
def test_what_we_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(ProblemError, match="is no cursor of this list"):
        read_moment_cursor("jobs", text)
    with pytest.raises(ProblemError):
        read_position_cursor("jobs", text)


def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = moment_cursor("jobs", datetime.now(UTC), UUID(int=5))
    with pytest.raises(ProblemError):
        read_moment_cursor("projects", cursor)
    with pytest.raises(ProblemError):
        read_position_cursor("jobs", cursor)
    with pytest.raises(ProblemError):
        read_moment_cursor("jobs", cursor + "=")
