"""What must hold after every run, whatever was killed, frozen, cut or restarted meanwhile.

Each invariant is a query that must find nothing. Beside it stands a statement that plants a
violation: the self-test runs it over a history in good order and must see exactly that invariant
broken, so that no check can rot into one that always passes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from benchmarks.chaos.history import Connection

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Invariant:
    """`broken` selects the ids of the jobs that break it; `plant` breaks it for the job $1."""

    name: str
    says: str
    broken: str
    plant: str
    # Holds only while nobody freezes a worker or takes its database away.
    in_peace: bool = False


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant, with some of the jobs that break it."""

    name: str
    says: str
    jobs: Sequence[UUID]

    def __str__(self) -> str:
        shown = ", ".join(str(job) for job in self.jobs[:_SHOWN])
        return f"{self.name}: not so: {self.says} ({len(self.jobs)}: {shown})"


async def violations(
    connection: Connection, *, peaceful: bool, without: Collection[str] = ()
) -> list[Violation]:
    """Every invariant that does not hold; `peaceful` also asks for what only peace can promise."""
    found = []
    for invariant in INVARIANTS:
        if (invariant.in_peace and not peaceful) or invariant.name in without:
            continue
        jobs = [row[0] for row in await connection.fetch(invariant.broken)]
        if jobs:
            found.append(Violation(invariant.name, invariant.says, jobs))
    return found


async def idle_in_transaction(connection: Connection, *, seconds: float) -> int:
    """Sessions of this database that have left a transaction open for so long."""
    count: int = await connection.fetchval(
        """
        SELECT count(*)
        FROM pg_stat_activity
        WHERE datname = current_database()
          AND pid <> pg_backend_pid()
          AND state LIKE 'idle in transaction%'
          AND now() - state_change >= make_interval(secs => $1)
        """,
        seconds,
    )
    return count


INVARIANTS = (
    Invariant(
        "acknowledged_kept",
        "every job that a client was promised is there",
        """
        SELECT a.job_id
        FROM chaos.acks a
        LEFT JOIN analysis_jobs j ON j.id = a.job_id
        WHERE j.id IS NULL
        """,
        "INSERT INTO chaos.acks SELECT gen_random_uuid(), $1::uuid::text",
    ),
    Invariant(
        "one_job_per_key",
        "a client's key stands for one job",
        """
        SELECT min(a.job_id::text)::uuid
        FROM chaos.acks a
        WHERE a.key IS NOT NULL
        GROUP BY a.key
        HAVING count(DISTINCT a.job_id) > 1
        UNION ALL
        SELECT min(j.id::text)::uuid
        FROM analysis_jobs j
        WHERE j.input_data ? 'key'
        GROUP BY j.input_data ->> 'key'
        HAVING count(*) > 1
        """,
        """
        INSERT INTO chaos.acks
        SELECT unnest(ARRAY[$1, (SELECT id FROM analysis_jobs WHERE id <> $1 LIMIT 1)]), 'twice'
        """,
    ),
    Invariant(
        "finished",
        "every job has come to an end",
        "SELECT id FROM analysis_jobs WHERE status IN ('pending', 'processing')",
        "UPDATE analysis_jobs SET status = 'pending' WHERE id = $1",
    ),
    Invariant(
        "one_outcome",
        "a job has one accepted outcome, or one after each requeue",
        """
        SELECT job_id
        FROM chaos.steps
        WHERE to_status IN ('completed', 'failed', 'cancelled')
        GROUP BY job_id, round
        HAVING count(*) > 1
        """,
        """
        INSERT INTO chaos.events (
            job_id, process, from_status, to_status, from_fence, to_fence, charged, crashed
        )
        SELECT job_id, process, from_status, to_status, from_fence, to_fence, 0, 0
        FROM chaos.events
        WHERE job_id = $1 AND to_status = 'completed'
        """,
    ),
    Invariant(
        "finished_stays",
        "what is completed or cancelled changes no more, and only a requeue changes what failed",
        """
        SELECT job_id
        FROM chaos.events
        WHERE (from_status IN ('completed', 'cancelled') AND to_status <> from_status)
           OR (from_status = 'failed' AND to_status NOT IN ('failed', 'pending'))
        """,
        """
        INSERT INTO chaos.events (job_id, from_status, to_status, charged, crashed)
        VALUES ($1, 'cancelled', 'pending', 0, 0)
        """,
    ),
    Invariant(
        "leases_live",
        "no job is processing under a lease that expired a while ago",
        "SELECT id FROM job_queue WHERE leased AND lease_expires_at < now() - interval '5 seconds'",
        """
        INSERT INTO job_queue (
            id, queue, job_type, priority, created_at, due, leased, fence, lease_expires_at
        )
        VALUES ($1, 'default', 'work', 5, now(), false, true, 9, now() - interval '6 seconds')
        """,
    ),
    Invariant(
        "holder_known",
        "a job is processing exactly while a worker holds it under a lease",
        """
        SELECT j.id
        FROM analysis_jobs j
        LEFT JOIN job_queue q ON q.id = j.id
        WHERE (j.status = 'processing')
                <> (coalesce(q.leased, false) AND q.lease_expires_at IS NOT NULL
                    AND j.worker_id IS NOT NULL AND j.claimed_at IS NOT NULL)
           OR (j.status = 'pending' AND j.worker_id IS NOT NULL)
        """,
        "UPDATE analysis_jobs SET status = 'processing', worker_id = NULL WHERE id = $1",
    ),
    Invariant(
        "fences_count",
        "the fences of a job are 1 to n without a gap, and the last one stands on its row",
        """
        SELECT j.id
        FROM analysis_jobs j
        LEFT JOIN chaos.attempts a ON a.job_id = j.id
        GROUP BY j.id, j.fence
        HAVING count(a.fence) <> j.fence
            OR count(DISTINCT a.fence) <> j.fence
            OR coalesce(max(a.fence), 0) <> j.fence
        """,
        """
        INSERT INTO chaos.events (
            job_id, process, from_status, to_status, from_fence, to_fence, charged, crashed
        )
        VALUES ($1, 'w1.1', 'pending', 'processing', 6, 7, 0, 0)
        """,
    ),
    Invariant(
        "counters_agree",
        "retry_count and crash_count are the numbers of attempts that were charged and lost",
        """
        SELECT j.id
        FROM analysis_jobs j
        LEFT JOIN chaos.attempts a
            ON a.job_id = j.id
           AND a.round = (SELECT max(s.round) FROM chaos.steps s WHERE s.job_id = j.id)
        GROUP BY j.id, j.retry_count, j.crash_count
        HAVING count(*) FILTER (WHERE a.charged_after > 0) <> j.retry_count
            OR count(*) FILTER (WHERE a.crashed_after > 0) <> j.crash_count
        """,
        "UPDATE analysis_jobs SET retry_count = 2 WHERE id = $1",
    ),
    Invariant(
        "last_fence_wins",
        "a completed job holds what its last attempt returned",
        """
        SELECT j.id
        FROM analysis_jobs j
        WHERE j.status = 'completed'
          AND ((j.result_data ->> 'fence')::bigint IS DISTINCT FROM j.fence
               OR NOT EXISTS (
                   SELECT 1
                   FROM chaos.attempts a
                   WHERE a.job_id = j.id AND a.outcome = 'completed' AND a.fence = j.fence
               ))
        """,
        """UPDATE analysis_jobs SET result_data = '{"fence": 0}' WHERE id = $1""",
    ),
    Invariant(
        "holder_settles",
        "an attempt is ended by the process that claimed it, or by a rescue",
        """
        SELECT job_id
        FROM chaos.attempts
        WHERE outcome IS NOT NULL
          AND ended_by IS DISTINCT FROM process
          AND crashed_after = 0
        """,
        "UPDATE chaos.events SET process = 'w9.9' WHERE job_id = $1 AND to_status = 'completed'",
    ),
    Invariant(
        "claimed_when_pending",
        "only a pending job is claimed: no two workers own it at once",
        "SELECT job_id FROM chaos.attempts WHERE from_status IS DISTINCT FROM 'pending'",
        """
        UPDATE chaos.events SET from_status = 'processing'
        WHERE job_id = $1 AND to_status = 'processing'
        """,
    ),
    Invariant(
        "run_once_per_claim",
        "a claim starts its handler once, in the process that claimed",
        """
        SELECT r.job_id
        FROM chaos.runs r
        LEFT JOIN chaos.attempts a USING (job_id, fence)
        GROUP BY r.job_id, r.fence
        HAVING count(DISTINCT r.began) > 1
            OR count(*) FILTER (WHERE a.process = r.process) = 0
        """,
        "UPDATE chaos.runs SET process = 'w9.9' WHERE job_id = $1",
    ),
    Invariant(
        "completed_was_run",
        "a completed job's handler reached its end in the accepted attempt",
        """
        SELECT j.id
        FROM analysis_jobs j
        WHERE j.status = 'completed'
          AND NOT EXISTS (
              SELECT 1
              FROM chaos.runs r
              WHERE r.job_id = j.id AND r.fence = j.fence AND r.ended IS NOT NULL
          )
        """,
        "UPDATE chaos.runs SET ended = NULL WHERE job_id = $1",
    ),
    Invariant(
        "within_limits",
        "no job has more retries than it may, nor more than three crashes",
        "SELECT id FROM analysis_jobs WHERE retry_count > max_retries OR crash_count > 3",
        "UPDATE analysis_jobs SET crash_count = 4 WHERE id = $1",
    ),
    Invariant(
        "queue_mirrors",
        "job_queue has a row exactly for each unfinished job, and says the same",
        """
        SELECT coalesce(j.id, q.id)
        FROM analysis_jobs j
        FULL JOIN job_queue q ON q.id = j.id
        WHERE (j.status IN ('pending', 'processing')) IS DISTINCT FROM (q.id IS NOT NULL)
           OR (q.id IS NOT NULL
               AND (j.queue, j.job_type, j.priority, j.created_at, j.fence, j.status = 'processing')
                   IS DISTINCT FROM
                   (q.queue, q.job_type, q.priority, q.created_at, q.fence, q.leased))
        """,
        """
        INSERT INTO job_queue (id, queue, job_type, priority, created_at, due, fence)
        VALUES ($1, 'default', 'work', 5, now(), true, 1)
        """,
    ),
    Invariant(
        "effects_once",
        "what a handler wrote with its completion is there once, and of no other attempt",
        """
        SELECT j.id
        FROM analysis_jobs j
        LEFT JOIN chaos.effects e ON e.job_id = j.id
        WHERE j.job_type = 'effect'
        GROUP BY j.id, j.status, j.fence
        HAVING count(e.job_id) <> (CASE WHEN j.status = 'completed' THEN 1 ELSE 0 END)
            OR bool_or(e.fence <> j.fence)
        """,
        "INSERT INTO chaos.effects SELECT id, fence FROM analysis_jobs"
        " WHERE job_type = 'effect' AND $1::uuid IS NOT NULL",
    ),
    Invariant(
        "runs_apart",
        "two runs of one job never go on at the same time",
        """
        SELECT a.job_id
        FROM chaos.runs a
        JOIN chaos.runs b ON b.job_id = a.job_id AND b.fence > a.fence
        WHERE a.ended > b.began
        """,
        "INSERT INTO chaos.runs SELECT job_id, fence + 1, process, began, ended FROM chaos.runs"
        " WHERE job_id = $1",
        in_peace=True,
    ),
)
