import asyncio
import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest
from pydantic import BaseModel
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tests.support.waiting import eventually
from tests.support.workers import bench, everything_agrees, statuses
from wastewise_jobs import JobContext, JobRefusedError, Jobs, PermanentError, RetryableError
from wastewise_jobs.jobs.model import AiUsage, JobId
from wastewise_jobs.jobs.store import JobStore
from wastewise_jobs.logs import merge_facts
from wastewise_jobs.workers import event_log, settle


class Pair(BaseModel):
    a: int
    b: int = 1


async def test_a_job_is_claimed_run_and_completed(db: str) -> None:
    jobs = Jobs()
    user = uuid4()

    @jobs.handler("add", timeout=5)
    async def add(job: JobContext, input: Pair) -> dict[str, Any]:
        job.record_ai_usage(tokens_input=3, cost_usd=0.5)
        job.record_ai_usage(tokens_output=4)
        return {"sum": input.a + input.b, "attempt": job.attempt, "user": job.user_id}

    async with bench(db, jobs) as b, b.worker() as worker:
        await eventually(lambda: worker.listening)
        enqueued = await add.enqueue(Pair(a=2, b=3), user_id=user)
        job = await b.until(enqueued.id, "completed")
        assert job.result == {"sum": 5, "attempt": 1, "user": str(user)}
        assert (job.ai_requests, job.ai_tokens_input, job.ai_tokens_output) == (2, 3, 4)
        assert job.worker_id == worker.worker_id
        assert job.progress_percent == 100
        await eventually(lambda: worker.running == 0)
        assert worker.stats.completed == 1
        await everything_agrees(b.pool)


async def test_many_jobs_are_run_once_each_by_several_workers(db: str) -> None:
    jobs = Jobs()
    ran: list[int] = []

    @jobs.handler("count")
    async def count(job: JobContext, input: Pair) -> None:
        ran.append(input.a)

    async with bench(db, jobs) as b:
        await count.enqueue_many(Pair(a=n) for n in range(2500))
        async with b.worker(concurrency=40) as first, b.worker(concurrency=3) as second:
            await eventually(lambda: first.stats.completed + second.stats.completed == 2500)
        assert sorted(ran) == list(range(2500))
        assert second.stats.completed > 0
        await everything_agrees(b.pool)


async def test_functions_run_in_threads_and_report_progress(db: str) -> None:
    jobs = Jobs()
    go_on = threading.Event()

    @jobs.handler("blocking")
    def blocking(job: JobContext) -> str:
        job.progress(30, "reading", steps_completed=1, total_steps=4)
        job.progress(40)
        assert go_on.wait(10)
        return threading.current_thread().name

    async with bench(db, jobs) as b, b.worker():
        job_id = (await blocking.enqueue()).id

        async def shown() -> bool:
            job = await b.job(job_id)
            return (job.progress_percent, job.current_step, job.steps_completed) == (
                40,
                "reading",
                1,
            )

        await eventually(shown)
        go_on.set()
        job = await b.until(job_id, "completed")
        assert job.result.startswith("wastewise handler")
        assert (job.progress_percent, job.total_steps) == (100, 4)


@pytest.mark.parametrize(
    ("error", "status", "code", "kind"),
    [
        (PermanentError("NO_BILLS", "none", details={"n": 1}), "failed", "NO_BILLS", "permanent"),
        (RetryableError("busy", code="BUSY"), "pending", "BUSY", "retryable"),
        (ZeroDivisionError("x"), "pending", "ZERO_DIVISION_ERROR", "unknown"),
        (RuntimeError("HTTP 404"), "failed", "HTTP_404", "permanent"),
        (SystemExit(3), "pending", "SYSTEM_EXIT", "unknown"),
        (asyncio.CancelledError(), "pending", "CANCELLED_ERROR", "unknown"),
        (StopAsyncIteration(), "pending", "STOP_ASYNC_ITERATION", "unknown"),
    ],
)
async def test_what_a_handler_raises_decides_about_another_attempt(
    db: str, error: BaseException, status: str, code: str, kind: str
) -> None:
    jobs = Jobs()

    @jobs.handler("fails")
    async def fails(job: JobContext) -> None:
        raise error

    async with bench(db, jobs) as b, b.worker() as worker:
        job_id = (await fails.enqueue()).id
        await eventually(lambda: worker.stats.failed + worker.stats.retried == 1)
        job = await b.job(job_id)
        assert (job.status, job.error_code) == (status, code)
        assert job.error_details is not None
        assert job.error_details["reason"]
        assert job.retry_errors[-1]["failure_kind"] == kind
        assert job.retry_count == (1 if status == "pending" else 0)
        await everything_agrees(b.pool)


async def test_retry_after_is_honoured_and_retries_run_out(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("busy", max_retries=1)
    async def busy(job: JobContext) -> None:
        raise RetryableError("busy", retry_after=timedelta(hours=3))

    async with bench(db, jobs) as b, b.worker() as worker:
        job_id = (await busy.enqueue()).id
        await eventually(lambda: worker.stats.retried == 1)
        waits = await b.pool.fetchval(
            "SELECT retry_after - now() FROM analysis_jobs WHERE id = $1", job_id
        )
        assert timedelta(hours=2, minutes=59) < waits <= timedelta(hours=3)
        await b.pool.execute("UPDATE analysis_jobs SET retry_after = now() WHERE id = $1", job_id)
        job = await b.until(job_id, "failed")
        assert (job.retry_count, job.error_code) == (1, "RETRYABLE_ERROR")
        assert [entry["attempt"] for entry in job.retry_errors] == [1, 2]


async def test_the_timeout_counts_from_the_start_of_the_handler(db: str) -> None:
    jobs = Jobs()
    cancelled = asyncio.Event()

    @jobs.handler("slow", timeout=0.3, max_retries=0)
    async def slow(job: JobContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            assert job.cancelled
            cancelled.set()

    async with bench(db, jobs) as b, b.worker() as worker:
        job = await b.until((await slow.enqueue()).id, "failed")
        assert cancelled.is_set()
        assert (job.error_code, job.error_message) == (
            "TIMEOUT",
            "the handler did not end within 0.3 s",
        )
        assert worker.stats.timeouts == 1


async def test_a_wrong_input_fails_without_running(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("add")
    async def add(job: JobContext, input: Pair) -> None:
        raise AssertionError

    async with bench(db, jobs) as b, b.worker():
        bombs = ['{"a": "x"}', '{"a": 1e100000}', "[" * 3000 + "]" * 3000, "[1]"]
        ids = [
            await b.pool.fetchval(
                "INSERT INTO analysis_jobs (job_type, input_data) VALUES ('add', $1::text::jsonb)"
                " RETURNING id",
                text,
            )
            for text in bombs
        ]
        for job_id in ids:
            job = await b.until(job_id, "failed")
            assert job.error_code == "INVALID_INPUT"


@pytest.mark.parametrize(
    "result",
    [
        {"a": "\0"},
        {"a": float("nan")},
        {"a": "\ud800"},
        b"bytes",
        {"a": "x" * 2 * 1024 * 1024},
        object(),
        [[[]]] * 3 + [2**80],
    ],
    ids=["nul", "nan", "surrogate", "bytes", "2 MB", "object", "big int"],
)
async def test_a_result_that_cannot_be_stored_ends_the_job(db: str, result: object) -> None:
    jobs = Jobs()

    @jobs.handler("odd")
    async def odd(job: JobContext) -> object:
        return result

    async with bench(db, jobs) as b, b.worker():
        job = await b.until((await odd.enqueue()).id, "failed")
        assert job.error_code == "RESULT_NOT_STORABLE"


async def test_a_result_in_a_circle_ends_the_job(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("odd")
    async def odd(job: JobContext) -> object:
        circle: dict[str, object] = {}
        circle["again"] = circle
        return circle

    async with bench(db, jobs) as b, b.worker():
        assert (await b.until((await odd.enqueue()).id, "failed")).error_code == (
            "RESULT_NOT_STORABLE"
        )


async def test_an_error_that_cannot_be_stored_is_stored_clean(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("odd")
    async def odd(job: JobContext) -> None:
        raise PermanentError("C\0\ud800", "m\0\ud800" + "x" * 50_000, details={"a": b"\0"})

    async with bench(db, jobs) as b, b.worker():
        job = await b.until((await odd.enqueue()).id, "failed")
        assert (job.error_message or "").startswith("m\N{REPLACEMENT CHARACTER}?x")


async def test_what_postgresql_refuses_harms_only_its_own_job(db: str) -> None:
    """What our own guards let through (here by force) is found out job by job."""
    jobs = Jobs()
    together = asyncio.Barrier(3)

    @jobs.handler("odd")
    async def odd(job: JobContext, input: Pair) -> object:
        await together.wait()
        if input.a == 1:
            job._usage = AiUsage(tokens_input=2**70)
        return input.a

    async with bench(db, jobs) as b, b.worker() as worker:
        ids = [(await odd.enqueue(Pair(a=n))).id for n in range(3)]
        views = [await b.until(job_id, "completed", "failed") for job_id in ids]
        assert [view.status.value for view in views] == ["completed", "failed", "completed"]
        assert views[1].error_code == "RESULT_NOT_STORABLE"
        assert worker.stats.not_storable == 1
        await everything_agrees(b.pool)


GUARD = """
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'not this one' USING ERRCODE = '{code}';
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON analysis_jobs
FOR EACH ROW WHEN (NEW.input_data ->> 'a' = '1' AND NEW.status IN ({statuses}))
EXECUTE FUNCTION guard();
"""


@pytest.mark.parametrize("code", ["P0001", "42501", "0A000", "XX000", "57014", "40001"])
@pytest.mark.parametrize("statuses", ["'completed'", "'completed', 'failed'"])
async def test_a_trigger_that_guards_one_job_stops_no_other(
    db: str, monkeypatch: pytest.MonkeyPatch, code: str, statuses: str
) -> None:
    monkeypatch.setattr(settle, "_DOUBT_SECONDS", 0.1)
    jobs = Jobs()
    together = asyncio.Barrier(3)

    @jobs.handler("odd")
    async def odd(job: JobContext, input: Pair) -> None:
        if input.b:
            await together.wait()

    async with bench(db, jobs) as b, b.worker() as worker:
        await b.pool.execute(GUARD.format(code=code, statuses=statuses))
        ids = [(await odd.enqueue(Pair(a=n))).id for n in range(3)]
        for job_id in (ids[0], ids[2], (await odd.enqueue(Pair(a=4, b=0))).id):
            await b.until(job_id, "completed")
        if code in {"57014", "40001"}:
            # Whoever says "try again" is tried again.
            assert await b.status(ids[1]) == "processing"
            await b.pool.execute("DROP TRIGGER guard ON analysis_jobs")
            await b.until(ids[1], "completed")
        elif statuses == "'completed'":
            assert (await b.until(ids[1], "failed")).error_code == "RESULT_NOT_STORABLE"
        else:
            await eventually(lambda: worker.running == 0)
            assert worker.stats.not_storable == 2


async def test_a_deploy_that_passes_costs_nothing(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # However long it takes.
    monkeypatch.setattr(settle, "_DOUBT_SECONDS", 0.0)
    jobs = Jobs()
    started, go_on = asyncio.Event(), asyncio.Event()
    complete, offered = JobStore.complete, 0

    async def counted(store: JobStore, *args: Any, **more: Any) -> set[JobId]:
        nonlocal offered
        offered += 1
        return await complete(store, *args, **more)

    monkeypatch.setattr(JobStore, "complete", counted)

    @jobs.handler("plain")
    async def plain(job: JobContext) -> str:
        started.set()
        await go_on.wait()
        return "kept"

    async with bench(db, jobs) as b, b.worker() as worker:
        job_id = (await plain.enqueue()).id
        await started.wait()
        await b.pool.execute("ALTER FUNCTION complete_jobs RENAME TO hidden")
        with capture_logs() as logs:
            go_on.set()
            await eventually(lambda: any(line["event"] == "job_outcome_refused" for line in logs))
            await eventually(lambda: offered > 4)
        await b.pool.execute("ALTER FUNCTION hidden RENAME TO complete_jobs")
        assert (await b.until(job_id, "completed", "failed")).result == "kept"
        assert worker.stats.not_storable == 0


async def test_an_answer_that_was_lost_is_remembered_through_a_refusal(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs()
    errors: list[Exception] = [asyncpg.RaiseError("not now"), ConnectionResetError()]
    complete = JobStore.complete

    async def odd(store: JobStore, *args: Any, **more: Any) -> set[JobId]:
        won = await complete(store, *args, **more)
        if errors:
            raise errors.pop()
        return won

    monkeypatch.setattr(JobStore, "complete", odd)

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    async with bench(db, jobs) as b, b.worker() as worker:
        await b.until((await plain.enqueue()).id, "completed")
        await eventually(lambda: worker.running == 0)
        assert errors == []
        assert (worker.stats.completed, worker.stats.lease_lost) == (1, 0)


async def test_a_locked_row_does_not_hold_up_the_others(db: str) -> None:
    jobs = Jobs()
    together, go_on = asyncio.Barrier(4), asyncio.Event()

    @jobs.handler("plain")
    async def plain(job: JobContext, input: dict[str, bool]) -> None:
        if input:
            await together.wait()
            await go_on.wait()

    async with bench(db, jobs) as b, b.worker() as worker:
        ids = [(await plain.enqueue({"together": True})).id for _ in range(3)]
        await together.wait()
        async with b.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT FROM analysis_jobs WHERE id = $1 FOR UPDATE", ids[1])
            go_on.set()
            await b.until(ids[0], "completed")
            await b.until(ids[2], "completed")
            # Settled after the locked one has been tried alone.
            await b.until((await plain.enqueue()).id, "completed")
            assert await b.status(ids[1]) == "processing"
            assert worker.running == 1
        await b.until(ids[1], "completed")
        assert worker.stats.not_storable == 0


async def test_jobs_on_their_last_chance_run_one_after_the_other(db: str) -> None:
    """In whichever lanes, beside any number of other jobs, and without waiting for the poll."""
    jobs = Jobs()
    running: set[int] = set()
    together: list[set[int]] = []
    go_on = asyncio.Semaphore(0)

    async def note(n: int) -> None:
        running.add(n)
        together.append(set(running))
        await go_on.acquire()
        running.remove(n)

    @jobs.handler("in_loop")
    async def in_loop(job: JobContext, input: Pair) -> None:
        await note(input.a)

    loop = asyncio.get_running_loop()

    @jobs.handler("in_thread")
    def in_thread(job: JobContext, input: Pair) -> None:
        asyncio.run_coroutine_threadsafe(note(input.a), loop).result(20)

    async with bench(db, jobs) as b:
        ids = [(await (in_thread if n % 2 else in_loop).enqueue(Pair(a=n))).id for n in range(6)]
        suspects = {0, 1, 2, 3}
        await b.pool.execute(
            "UPDATE analysis_jobs SET crash_count = 2 WHERE id = ANY ($1)", ids[:4]
        )
        async with b.worker(poll_interval=timedelta(seconds=60)):
            await eventually(lambda: len(running) == 3)
            for n in range(len(ids)):
                await eventually(lambda n=n: len(together) > n)  # type: ignore[misc]
                go_on.release()
            for job_id in ids:
                await b.until(job_id, "completed")
    assert all(len(beside & suspects) <= 1 for beside in together)
    assert any(len(beside) == 3 for beside in together)


async def test_only_own_job_types_and_queues_are_claimed(db: str) -> None:
    ours, theirs = Jobs(), Jobs()

    @ours.handler("ours")
    async def run_ours(job: JobContext) -> None: ...

    @theirs.handler("theirs", priority=1)
    async def run_theirs(job: JobContext) -> None: ...

    everything = Jobs()
    everything.include(ours)
    everything.include(theirs)
    async with bench(db, everything) as b, b.worker(ours, queues={"default": None}) as worker:
        foreign = (await run_theirs.enqueue()).id
        elsewhere = (await run_ours.enqueue(queue="elsewhere")).id
        own = (await run_ours.enqueue()).id
        await b.until(own, "completed")
        # The next polls find nothing for this worker either.
        stamp = worker.beats["look"].last
        await eventually(lambda: worker.beats["look"].last > stamp)
        assert await statuses(b.pool, [foreign, elsewhere]) == ["pending", "pending"]


async def test_a_queue_with_a_limit_never_runs_more(db: str) -> None:
    jobs = Jobs()
    running: dict[str, int] = {"narrow": 0, "default": 0}
    most = dict(running)
    gate = asyncio.Event()

    @jobs.handler("loop_job")
    async def loop_job(job: JobContext, input: dict[str, str]) -> None:
        name = input["queue"]
        running[name] += 1
        most[name] = max(most[name], running[name])
        await gate.wait()
        running[name] -= 1

    async with (
        bench(db, jobs) as b,
        b.worker(concurrency=10, queues={"narrow": 2, "default": None}),
    ):
        narrow = [
            (await loop_job.enqueue({"queue": "narrow"}, queue="narrow")).id for _ in range(6)
        ]
        wide = [(await loop_job.enqueue({"queue": "default"})).id for _ in range(12)]
        await eventually(lambda: running == {"narrow": 2, "default": 8})
        gate.set()
        for job_id in narrow + wide:
            await b.until(job_id, "completed")
        assert most["narrow"] == 2
        assert most["default"] <= 10


async def test_without_notifications_polling_finds_the_jobs(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    async with bench(db, jobs, notify=False) as b, b.worker(notify=False) as worker:
        await eventually(lambda: worker.beats["look"].last > 0)
        assert not worker.listening
        first = (await plain.enqueue()).id
        await b.until(first, "completed")
        later = (await plain.enqueue(delay=0.5)).id
        await b.until(later, "completed")


async def test_a_delayed_job_starts_when_it_is_due_not_when_the_poll_comes(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    async with bench(db, jobs) as b, b.worker(poll_interval=timedelta(seconds=60)) as worker:
        await eventually(lambda: worker.listening)
        job_id = (await plain.enqueue(delay=1)).id
        await b.until(job_id, "completed", within=10)


async def test_a_plain_insert_of_the_front_end_is_run(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("add")
    async def add(job: JobContext, input: Pair) -> int:
        return input.a + input.b

    async with bench(db, jobs) as b, b.worker(poll_interval=timedelta(seconds=60)) as worker:
        await eventually(lambda: worker.listening)
        job_id = await b.pool.fetchval(
            "INSERT INTO analysis_jobs (job_type, status, input_data)"
            " VALUES ('add', 'pending', $1) RETURNING id",
            {"a": 1},
        )
        assert (await b.until(job_id, "completed")).result == 2


async def test_enqueue_joins_the_callers_transaction(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    async with bench(db, jobs) as b, b.worker(poll_interval=timedelta(seconds=60)) as worker:
        await eventually(lambda: worker.listening)
        async with b.pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            gone = (await plain.enqueue(connection=connection)).id
            await transaction.rollback()
            async with connection.transaction():
                kept = (await plain.enqueue(connection=connection)).id
                assert worker.stats.claimed == 0
        # The NOTIFY of the transaction wakes the worker: its poll is a minute away.
        await b.until(kept, "completed", within=10)
        assert await b.store.get(gone, user_id=None) is None


async def test_an_idempotency_key_names_one_job(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("add")
    async def add(job: JobContext, input: Pair) -> None: ...

    async with bench(db, jobs):
        first = await add.enqueue(Pair(a=1), idempotency_key="k", delay=60)
        again = await add.enqueue(Pair(a=1), idempotency_key="k", delay=60)
        assert (again.id, again.disposition) == (first.id, "existing")
        with pytest.raises(JobRefusedError) as refused:
            await add.enqueue(Pair(a=2), idempotency_key="k", delay=60)
        assert refused.value.code == "idempotency_key_conflict"


async def test_a_job_completes_together_with_the_handlers_own_writes(db: str) -> None:
    jobs = Jobs()

    @jobs.handler("bill")
    async def bill(job: JobContext, input: Pair) -> str:
        async with job.transaction() as connection:
            await connection.execute("INSERT INTO bills VALUES ($1)", input.a)
            if input.a == 2:
                raise PermanentError("NO", "rolled back")
            job.set_result({"bill": input.a})
        return "ignored"

    async with bench(db, jobs) as b, b.worker() as worker:
        await b.pool.execute("CREATE TABLE bills (n int)")
        done = await b.until((await bill.enqueue(Pair(a=1))).id, "completed")
        assert done.result == {"bill": 1}
        await b.until((await bill.enqueue(Pair(a=2))).id, "failed")
        assert [row["n"] for row in await b.pool.fetch("SELECT n FROM bills")] == [1]
        assert worker.stats.completed == 1
        await everything_agrees(b.pool)


async def test_quick_successes_share_a_log_line_and_failures_have_their_own(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is just now.
    monkeypatch.setattr(event_log, "_QUICK_SECONDS", 60.0)
    jobs = Jobs()

    @jobs.handler("plain")
    async def plain(job: JobContext, input: dict[str, int]) -> None:
        if input["n"] == 7:
            raise PermanentError("SEVEN", "no")

    with capture_logs() as logs:
        async with bench(db, jobs) as b:
            await plain.enqueue_many({"n": n} for n in range(50))
            async with b.worker() as worker:
                await eventually(lambda: worker.stats.completed + worker.stats.failed == 50)
    lines = [line for line in logs if line["event"] in {"jobs_completed", "job_completed"}]
    assert sum(line["count"] for line in lines) == 49
    assert len(lines) <= 3
    (failed,) = [line for line in logs if line["event"] == "job_failed"]
    assert (failed["error_code"], failed["attempt"]) == ("SEVEN", 1)
    assert orjson.dumps(logs, default=str)


async def test_the_worker_says_hello_how_it_is_and_goodbye(db: str, pool: asyncpg.Pool) -> None:
    jobs = Jobs()

    @jobs.handler("plain")
    async def plain(job: JobContext) -> None: ...

    row = "SELECT * FROM job_workers"
    async with bench(db, jobs) as b, b.worker(name="box", concurrency=7) as worker:
        found = await eventually(lambda: pool.fetchrow(row))
        assert found is not None
        assert found["worker_id"] == worker.worker_id
        assert (found["name"], found["concurrency"], found["job_types"]) == ("box", 7, ["plain"])
        assert found["memory_bytes"] > 1_000_000
        first = found["last_heartbeat_at"]
        await eventually(
            lambda: pool.fetchval(
                "SELECT true FROM job_workers WHERE last_heartbeat_at > $1", first
            )
        )
        assert not any(beat.late for beat in worker.beats.values())
    assert await pool.fetchrow(row) is None


async def test_a_burst_on_a_busy_worker_is_claimed_in_order_of_priority(db: str) -> None:
    jobs = Jobs()
    order: list[int] = []

    @jobs.handler("plain")
    async def plain(job: JobContext, input: dict[str, int]) -> None:
        order.append(input["p"])

    async with bench(db, jobs) as b:
        for priority in (9, 5, 1, 7):
            await plain.enqueue({"p": priority}, priority=priority)
        async with b.worker(concurrency=1):
            await eventually(lambda: len(order) == 4)
        assert order == [1, 5, 7, 9]


async def test_the_summary_of_quick_jobs_is_in_nobodys_name_but_the_workers(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Quick on a busy machine too.
    monkeypatch.setattr(event_log, "_QUICK_SECONDS", 60.0)
    jobs = Jobs()

    @jobs.handler("quick")
    async def quick(job: JobContext) -> None:
        async with job.transaction():
            job.set_result({"n": 1})

    async with bench(db, jobs) as b:
        with capture_logs(processors=[merge_contextvars, merge_facts]) as logs:
            async with b.worker() as worker:
                await b.until((await quick.enqueue()).id, "completed")
                await eventually(lambda: any(log["event"] == "jobs_completed" for log in logs))
        (summary,) = [log for log in logs if log["event"] == "jobs_completed"]
        assert summary["worker_id"] == worker.worker_id
        assert not {"job_id", "job_type", "attempt"} & set(summary)
