import threading
import time
from datetime import UTC, datetime
from uuid import RFC_4122, UUID

import pytest

from wastewise_jobs.jobs import ids
from wastewise_jobs.jobs.ids import new_job_id


def moment(job_id: UUID) -> datetime:
    return datetime.fromtimestamp((job_id.int >> 80) / 1000, UTC)


def test_an_id_is_a_version_7_uuid_of_this_moment() -> None:
    before = time.time_ns() // 1_000_000
    job_id = new_job_id()
    assert (job_id.version, job_id.variant) == (7, RFC_4122)
    # Ids made in a burst before may be ahead of the clock by a few milliseconds.
    assert before <= job_id.int >> 80 <= time.time_ns() // 1_000_000 + 1000


def test_ids_of_one_process_sort_in_the_order_they_were_made() -> None:
    made = [new_job_id() for _ in range(50_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert [str(i) for i in made] == sorted(str(i) for i in made)


def test_a_clock_that_steps_back_changes_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last_moment", 0)
    times = iter([1_700_000_000_000_000_000, 1_600_000_000_000_000_000, 1_700_000_000_000_000_001])
    monkeypatch.setattr("wastewise_jobs.jobs.ids.time.time_ns", lambda: next(times))
    first, second, third = (new_job_id() for _ in range(3))
    assert first < second < third
    assert moment(second) == moment(first)


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999, 1_000_000, 2**62])
def test_the_fraction_of_a_millisecond_never_spills(
    monkeypatch: pytest.MonkeyPatch, nanoseconds: int
) -> None:
    monkeypatch.setattr(ids, "_last_moment", -1)
    monkeypatch.setattr("wastewise_jobs.jobs.ids.time.time_ns", lambda: nanoseconds)
    job_id = new_job_id()
    assert job_id.int >> 80 == nanoseconds // 1_000_000
    assert (job_id.int >> 64) & 0xFFF == nanoseconds % 1_000_000 * 4096 // 1_000_000
    assert job_id.version == 7


def test_threads_never_make_the_same_id() -> None:
    made: list[UUID] = []
    threads = [
        threading.Thread(target=lambda: made.extend([new_job_id() for _ in range(3000)]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 24_000


def test_processes_that_make_one_at_the_same_moment_make_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wastewise_jobs.jobs.ids.time.time_ns", lambda: 1_700_000_000_000_000_000)
    made = set()
    for _ in range(1000):
        monkeypatch.setattr(ids, "_last_moment", 0)
        made.add(new_job_id())
    assert len({job_id.int >> 64 for job_id in made}) == 1
    assert len(made) == 1000
