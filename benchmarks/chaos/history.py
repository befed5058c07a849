"""What everybody saw, written down as it happened and never changed afterwards.

Three witnesses: triggers in the harness's own database record every change of a job together with
the process that wrote it (`chaos.events`), each worker's handlers write into a file when a run
begins and ends (`chaos.runs`), and the clients keep every answer that promised them a job
(`chaos.acks`). The last two are loaded when the run is over.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

INSTALL = """
CREATE SCHEMA chaos;

CREATE TABLE chaos.events (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    job_id uuid NOT NULL,
    -- Whose session wrote it: every process of the harness names itself in its address.
    process text,
    from_status text,
    to_status text,
    from_fence bigint,
    to_fence bigint,
    worker_id text,
    charged integer NOT NULL,
    crashed integer NOT NULL
);
CREATE INDEX ON chaos.events (job_id, seq);

-- Inside the transaction that changes the job, under the lock of its row: the order of one job's
-- events is the order of its changes.
CREATE FUNCTION chaos.record_event() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO chaos.events (
        job_id, process, from_status, to_status, from_fence, to_fence, worker_id, charged, crashed
    )
    VALUES (
        coalesce(NEW.id, OLD.id), nullif(current_setting('chaos.process', true), ''),
        OLD.status, NEW.status, OLD.fence, NEW.fence, coalesce(NEW.worker_id, OLD.worker_id),
        coalesce(NEW.retry_count - OLD.retry_count, 0),
        coalesce(NEW.crash_count - OLD.crash_count, 0)
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER chaos_changed
AFTER UPDATE ON analysis_jobs
FOR EACH ROW
WHEN (
    (OLD.status, OLD.fence, OLD.worker_id, OLD.retry_count, OLD.crash_count)
    IS DISTINCT FROM (NEW.status, NEW.fence, NEW.worker_id, NEW.retry_count, NEW.crash_count)
)
EXECUTE FUNCTION chaos.record_event();

CREATE TRIGGER chaos_came_or_went
AFTER INSERT OR DELETE ON analysis_jobs
FOR EACH ROW
EXECUTE FUNCTION chaos.record_event();

-- Answers that promised a job to a client.
CREATE TABLE chaos.acks (job_id uuid NOT NULL, key text);
-- Runs of handlers as the handlers saw them; the times are of the machine's monotonic clock.
CREATE TABLE chaos.runs (
    job_id uuid NOT NULL,
    fence bigint NOT NULL,
    process text NOT NULL,
    began double precision NOT NULL,
    ended double precision
);
-- What the harness did to a process, and until when.
CREATE TABLE chaos.faults (
    process text NOT NULL,
    act text NOT NULL,
    at timestamptz NOT NULL,
    until timestamptz
);
-- What handlers wrote in the transaction that completed their job.
CREATE TABLE chaos.effects (job_id uuid NOT NULL, fence bigint NOT NULL);

-- The events with what followed each; every requeue of a failed job begins another round.
CREATE VIEW chaos.steps AS
SELECT
    e.*,
    lead(e.at) OVER job AS left_at,
    lead(e.to_status) OVER job AS next_status,
    lead(e.process) OVER job AS next_process,
    lead(e.charged) OVER job AS charged_after,
    lead(e.crashed) OVER job AS crashed_after,
    count(*) FILTER (WHERE e.from_status = 'failed' AND e.to_status = 'pending') OVER job AS round
FROM chaos.events e
WINDOW job AS (PARTITION BY e.job_id ORDER BY e.seq);

-- One row per claim, with how it ended and who ended it.
CREATE VIEW chaos.attempts AS
SELECT
    s.seq, s.job_id, s.to_fence AS fence, s.process, s.worker_id, s.from_status, s.round,
    s.at AS began, s.left_at AS ended, s.next_status AS outcome, s.next_process AS ended_by,
    s.charged_after, s.crashed_after
FROM chaos.steps s
WHERE s.to_status = 'processing'
  AND s.to_fence IS DISTINCT FROM s.from_fence;
"""


class Runs:
    """What handlers appended; one file for each worker process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Of each file: how far it was read, and how many runs were open there.
        self._seen: dict[str, tuple[int, int]] = {}

    def open(self, process: str) -> int:
        """How many handlers of the process are at work."""
        path = self._folder / process
        if not path.exists():
            return 0
        offset, running = self._seen.get(process, (0, 0))
        with path.open("rb") as file:
            file.seek(offset)
            text = file.read()
        running += text.count(b"began ") - text.count(b"ended ")
        self._seen[process] = (offset + len(text), running)
        return running

    def rows(self) -> list[tuple[UUID, int, str, float, float | None]]:
        """Every run: job, fence, process, begin and end; no end where the handler was cut off."""
        return [row for path in sorted(self._folder.iterdir()) for row in _runs_of(path)]


def _runs_of(path: Path) -> list[tuple[UUID, int, str, float, float | None]]:
    # By job and fence; a second run of the same is a violation, so it must not hide the first.
    found: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    for line in path.read_text("ascii").splitlines():
        mark, job_id, fence, at = line.split()
        runs = found.setdefault((job_id, fence), [])
        if mark == "began":
            runs.append((float(at), None))
        else:
            runs[-1] = (runs[-1][0], float(at))
    return [
        (UUID(job_id), int(fence), path.name, began, ended)
        for (job_id, fence), runs in found.items()
        for began, ended in runs
    ]


@dataclass(slots=True)
class Fault:
    """Something that the harness did to a process; machine and server share one clock."""

    process: str
    act: str
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    until: datetime | None = None

    def over(self) -> None:
        """It ends now."""
        self.until = datetime.now(UTC)


async def load(
    connection: Connection,
    *,
    acks: Iterable[tuple[UUID, str | None]],
    runs: Runs,
    faults: Iterable[Fault] = (),
) -> None:
    """Bring the clients', the handlers' and the harness's history beside the database's own."""
    for table, columns, records in (
        ("acks", ["job_id", "key"], list(acks)),
        ("runs", ["job_id", "fence", "process", "began", "ended"], runs.rows()),
        ("faults", ["process", "act", "at", "until"], [astuple(fault) for fault in faults]),
    ):
        await connection.copy_records_to_table(
            table, schema_name="chaos", columns=columns, records=records
        )
    await connection.execute("ANALYZE")
