import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wastewise_jobs.client.sse import MOST_BYTES_BUFFERED, EventStreamParser, ServerEvent

STREAM = (
    "\ufeff: hello\r\nretry: 1500\nid: 7\nevent: progress\ndata: {\rdata: }\n\n"
    ": keep-alive\n\ndata:bare\n\nid\nevent: status\ndata: Zoë\n\nevent: cut\ndata: off"
)
EVENTS = [
    ServerEvent("progress", "{\n}", "7"),
    ServerEvent("message", "bare", "7"),
    ServerEvent("status", "Zoë", ""),
]


def test_events_are_read_as_the_standard_says() -> None:
    parser = EventStreamParser()
    assert list(parser.feed(STREAM.encode())) == EVENTS
    assert parser.retry_seconds == 1.5


@given(st.lists(st.integers(min_value=1, max_value=len(STREAM.encode()) - 1)))
def test_how_the_stream_is_cut_makes_no_difference(cuts: list[int]) -> None:
    raw = STREAM.encode()
    edges = [0, *sorted(set(cuts)), len(raw)]
    parser = EventStreamParser()
    events = [
        event for start, end in itertools.pairwise(edges) for event in parser.feed(raw[start:end])
    ]
    assert events == EVENTS


def test_an_event_without_data_is_none() -> None:
    parser = EventStreamParser()
    assert list(parser.feed(b"event: status\n\ndata: x\n\n")) == [ServerEvent("message", "x", "")]


def test_an_id_with_a_null_and_a_wordy_retry_are_ignored() -> None:
    parser = EventStreamParser()
    assert list(parser.feed("id: a\0b\nretry: soon\nretry: ²\ndata: x\n\n".encode())) == [
        ServerEvent("message", "x", "")
    ]
    assert parser.retry_seconds is None


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    parser = EventStreamParser()
    with pytest.raises(ValueError, match="without end"):
        list(parser.feed(b"x" * (MOST_BYTES_BUFFERED + 1)))
