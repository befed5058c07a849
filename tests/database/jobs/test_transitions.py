from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from tests.support.factories import (
    LEASE,
    assert_invariant,
    cancel_run,
    claim,
    come_due,
    enqueue,
    enqueue_one,
    insert_project,
    job_row,
    make_job,
    make_running,
    queue_row,
)
from wastewise_jobs.db.pool import Connection, Pool
from wastewise_jobs.errors import LeaseLostError
from wastewise_jobs.jobs.model import AiUsage, ClaimedJob, Progress, Status
from wastewise_jobs.jobs.outcome import Completed, Failed, RetryLater
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.projects.analysis_store import AnalysisStore

RETRY = RetryLater("NETWORK_ERROR", "no answer", "retryable", {"host": "x"})
FAILED = Failed("INVALID_INPUT", "no files", "permanent", {"field": "files"})


async def test_a_claim_gives_a_job_to_a_worker_under_a_lease_and_a_higher_fence(
    store: JobStore, connection: Connection
) -> None:
    user, project = uuid4(), None
    job_id = await enqueue_one(
        store,
        user_id=user,
        project_id=project,
        input_json='{"a": 1}',
        priority=4,
        max_retries=2,
        timeout_seconds=60.0,
    )
    (job,) = await claim(store, worker_id="w7", lease=timedelta(seconds=30))
    created_at = (await job_row(connection, job_id))["created_at"]
    assert job == ClaimedJob(
        id=job_id,
        fence=1,
        job_type="complete_analysis",
        queue="default",
        user_id=user,
        project_id=None,
        input_json='{"a": 1}',
        retry_count=0,
        max_retries=2,
        crash_count=0,
        timeout_seconds=60.0,
        priority=4,
        created_at=created_at,
        waited_seconds=job.waited_seconds,
    )
    assert 0 <= job.waited_seconds < 60
    row = await job_row(connection, job_id)
    assert (row["status"], row["worker_id"], row["fence"]) == ("processing", "w7", 1)
    assert row["claimed_at"] == row["started_at"] is not None
    queued = await queue_row(connection, job_id)
    assert queued is not None
    assert queued["lease_expires_at"] == row["claimed_at"] + timedelta(seconds=30)
    # A worker that dies at once must not cost the handler its time.
    assert queued["deadline_at"] == row["claimed_at"] + timedelta(seconds=90)
    await assert_invariant(connection)


async def test_a_completion_stores_result_duration_and_usage(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await store.progress([(job, Progress(40, "reading", 1, 3))])
    usage = AiUsage(requests=2, tokens_input=2**33, tokens_output=5, cost_usd=0.25)
    assert await store.complete([(job, Completed('{"ok": true}', usage))]) == {job.id}

    view = await store.get(job.id, user_id=None)
    assert view is not None
    assert (view.status, view.result, view.progress_percent) == ("completed", {"ok": True}, 100)
    assert (view.steps_completed, view.total_steps) == (3, 3)
    assert (view.ai_requests, view.ai_tokens_input, view.ai_tokens_output) == (2, 2**33, 5)
    assert view.ai_cost_usd == 0.25
    assert view.completed_at is not None
    assert view.duration_seconds is not None
    assert view.worker_id == "w1"
    assert await queue_row(connection, job.id) is None
    await assert_invariant(connection)


async def test_a_completion_after_a_retry_clears_the_error_and_keeps_the_log(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await store.retry([(job, RETRY)])
    await come_due(connection, job.id)
    (again,) = await claim(store)
    await store.complete([(again, Completed("1"))])
    view = await store.get(job.id, user_id=None)
    assert view is not None
    assert (view.error_message, view.error_code, view.error_details) == (None, None, None)
    assert (view.retry_count, len(view.retry_errors)) == (1, 1)


async def test_a_heartbeat_renews_the_lease_and_has_nothing_to_say(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE job_queue SET lease_expires_at = now() + interval '1 s'")
    assert await store.heartbeat([job], timedelta(seconds=30)) == []
    left = await connection.fetchval("SELECT lease_expires_at - now() FROM job_queue")
    assert left > timedelta(seconds=20)


async def test_a_heartbeat_tells_that_somebody_wants_the_job_cancelled(store: JobStore) -> None:
    job = await make_running(store)
    assert await store.cancel(job.id, user_id=None) == "requested"
    (beat,) = await store.heartbeat([job], timedelta(seconds=30))
    assert (beat.id, beat.held, beat.cancel_requested) == (job.id, True, True)


async def test_past_its_deadline_a_lease_is_renewed_no_more(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await connection.execute(
        "UPDATE job_queue SET deadline_at = now(), lease_expires_at = now() + interval '1 s'"
    )
    before = await queue_row(connection, job.id)
    assert await store.heartbeat([job], timedelta(seconds=30)) == []
    assert await queue_row(connection, job.id) == before


async def test_progress_keeps_what_it_is_not_told_and_estimates_the_end(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE analysis_jobs SET started_at = now() - interval '30 s'")
    assert await store.progress([(job, Progress(25, "reading", 1, 4))]) == {job.id}
    assert await store.progress([(job, Progress(75))]) == {job.id}
    row = await job_row(connection, job.id)
    assert (row["progress_percent"], row["current_step"]) == (75, "reading")
    assert (row["steps_completed"], row["total_steps"]) == (1, 4)
    left = row["estimated_completion"] - row["updated_at"]
    assert timedelta(seconds=9) < left < timedelta(seconds=20)


@pytest.mark.parametrize(("said", "stored"), [(-5, 0), (250, 100)])
async def test_progress_stays_between_0_and_100(
    store: JobStore, connection: Connection, said: int, stored: int
) -> None:
    job = await make_running(store)
    await store.progress([(job, Progress(said))])
    assert (await job_row(connection, job.id))["progress_percent"] == stored


async def test_a_failure_keeps_its_evidence(store: JobStore, connection: Connection) -> None:
    job = await make_running(store)
    assert await store.fail([(job, FAILED)]) == {job.id}
    view = await store.get(job.id, user_id=None)
    assert view is not None
    assert (view.status, view.error_code, view.error_message) == (
        "failed",
        "INVALID_INPUT",
        "no files",
    )
    assert view.error_details == {"field": "files"}
    assert view.retry_errors[0]["failure_kind"] == "permanent"
    assert view.retry_errors[0]["worker_id"] == "w1"
    row = await job_row(connection, job.id)
    assert row["failed_at"] == row["completed_at"] is not None
    await assert_invariant(connection)


@pytest.mark.parametrize("job_type", ["complete_analysis", "report_generation"])
async def test_only_a_failed_analysis_says_so_on_its_project(
    store: JobStore, connection: Connection, job_type: str
) -> None:
    project = await insert_project(connection, uuid4(), status="processing")
    job = await make_running(store, project_id=project, job_type=job_type)
    await store.fail([(job, FAILED)])
    said = await connection.fetchrow("SELECT status, error_message FROM projects")
    assert said is not None
    expected = ("failed", "no files") if job_type == "complete_analysis" else ("processing", None)
    assert tuple(said) == expected


async def test_a_released_job_is_due_at_once_and_charged_no_attempt(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await store.progress([(job, Progress(40, "reading", 1, 3))])
    assert await store.release([job]) == {job.id}
    row = await job_row(connection, job.id)
    assert (row["status"], row["retry_count"], row["crash_count"]) == ("pending", 0, 0)
    assert (row["worker_id"], row["started_at"], row["progress_percent"]) == (None, None, 0)
    await assert_invariant(connection)
    (again,) = await claim(store, worker_id="w2")
    assert (again.id, again.fence, again.attempt) == (job.id, 2, 1)


async def test_a_pending_job_is_cancelled_at_once(store: JobStore, connection: Connection) -> None:
    project = await insert_project(connection, uuid4(), status="processing")
    job_id = await enqueue_one(store, project_id=project)
    assert await store.cancel(job_id, user_id=None) == "cancelled"
    assert await store.cancel(job_id, user_id=None) == "finished"
    assert await claim(store) == []
    row = await job_row(connection, job_id)
    assert (row["status"], row["completed_at"] is not None) == ("cancelled", True)
    assert await connection.fetchval("SELECT status FROM projects") == "cancelled"
    await assert_invariant(connection)


@pytest.mark.parametrize("outcome", ["retry", "fail", "release", "cancel"])
async def test_a_run_that_ends_without_a_result_after_a_request_to_cancel_is_cancelled(
    store: JobStore, connection: Connection, outcome: str
) -> None:
    job = await make_running(store)
    assert await store.cancel(job.id, user_id=None) == "requested"
    match outcome:
        case "retry":
            assert (await store.retry([(job, RETRY)]))[job.id].settled == "cancelled"
        case "fail":
            assert await store.fail([(job, FAILED)]) == {job.id}
        case "release":
            assert await store.release([job]) == {job.id}
        case _:
            assert await store.cancel_running([job]) == {job.id}
    row = await job_row(connection, job.id)
    assert (row["status"], row["retry_error_log"]) == ("cancelled", [])
    assert await store.cancel(job.id, user_id=None) == "finished"
    await assert_invariant(connection)


async def test_nobody_records_a_cancellation_that_nobody_asked_for(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    assert await store.cancel_running([job]) == set()
    assert (await job_row(connection, job.id))["status"] == "processing"
    assert await store.complete([(job, Completed("1"))]) == {job.id}


async def test_a_run_that_completes_after_a_request_to_cancel_is_completed(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await store.cancel(job.id, user_id=None)
    assert await store.complete([(job, Completed("1"))]) == {job.id}
    assert (await job_row(connection, job.id))["status"] == "completed"


async def test_a_failed_job_goes_round_again_with_all_its_retries_and_its_log(
    store: JobStore, connection: Connection
) -> None:
    job = await make_running(store)
    await connection.execute("UPDATE analysis_jobs SET retry_count = 3, crash_count = 2")
    await store.fail([(job, FAILED)])
    assert await store.requeue(job.id, user_id=None) == "requeued"
    assert await store.requeue(job.id, user_id=None) == "not_failed"
    row = await job_row(connection, job.id)
    assert (row["status"], row["retry_count"], row["crash_count"]) == ("pending", 0, 0)
    assert (row["completed_at"], row["failed_at"], row["error_code"]) == (None, None, None)
    assert len(row["retry_error_log"]) == 1
    await assert_invariant(connection)
    (again,) = await claim(store)
    assert again.fence == job.fence + 1


async def test_nobody_learns_of_a_job_of_somebody_else(store: JobStore) -> None:
    job_id = await enqueue_one(store, user_id=uuid4())
    stranger = uuid4()
    assert await store.get(job_id, user_id=stranger) is None
    assert await store.cancel(job_id, user_id=stranger) is None
    assert await store.requeue(job_id, user_id=stranger) is None
    assert await store.cancel(uuid4(), user_id=None) is None
    assert await store.requeue(uuid4(), user_id=None) is None


async def test_a_batch_settles_whom_it_may_and_names_them(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(6)))
    held, retried, deleted, finished, cancelled, running = await claim(store, 6)
    await connection.execute(
        "UPDATE analysis_jobs SET status = 'pending' WHERE id = $1", retried.id
    )
    await connection.execute("DELETE FROM analysis_jobs WHERE id = $1", deleted.id)
    await store.complete([(finished, Completed("1"))])
    await cancel_run(store, cancelled)
    everyone = [held, retried, deleted, finished, cancelled]
    assert await store.complete([(job, Completed('"won"')) for job in everyone]) == {held.id}
    results = await connection.fetch(
        "SELECT id FROM analysis_jobs WHERE result_data = '\"won\"'::jsonb"
    )
    assert [row["id"] for row in results] == [held.id]
    assert (await job_row(connection, running.id))["status"] == "processing"
    await assert_invariant(connection)


async def test_a_batch_of_retries_answers_for_each_job(
    store: JobStore, connection: Connection
) -> None:
    await enqueue(store, *(make_job() for _ in range(4)))
    jobs = await claim(store, 4)
    retried, exhausted, cancelled, lost = jobs
    await connection.execute(
        "UPDATE analysis_jobs SET retry_count = max_retries WHERE id = $1", exhausted.id
    )
    await store.cancel(cancelled.id, user_id=None)
    await store.release([lost])
    answers = await store.retry([(job, RETRY) for job in jobs])
    assert {job_id: answer.settled for job_id, answer in answers.items()} == {
        retried.id: "retried",
        exhausted.id: "exhausted",
        cancelled.id: "cancelled",
    }
    assert (await job_row(connection, exhausted.id))["status"] == "processing"
    await assert_invariant(connection)


async def test_a_handlers_transaction_holds_its_job_and_completes_it_with_its_own_rows(
    store: JobStore, pool: Pool, connection: Connection
) -> None:
    job = await make_running(store)
    async with pool.acquire() as own, own.transaction():
        await store.hold(job, idle_limit=LEASE, connection=own)
        await AnalysisStore(own).save_rows(job.id, ['{"row": 1}'])
        assert await store.complete([(job, Completed("1"))], executor=own) == {job.id}
        assert (await job_row(connection, job.id))["status"] == "processing"
        # Nobody takes the job while it is held.
        with pytest.raises(asyncpg.LockNotAvailableError):
            await store.fail([(job, FAILED)])
    assert (await job_row(connection, job.id))["status"] == Status.COMPLETED
    assert await AnalysisStore(pool).rows(job.id, after=0, limit=9) == [(1, {"row": 1})]
    async with pool.acquire() as own, own.transaction():
        with pytest.raises(LeaseLostError):
            await store.hold(job, idle_limit=LEASE, connection=own)
