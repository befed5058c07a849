"""What a job is and every way it changes.

                ┌───────────── retry (later) · release (now) · rescue ─────────────┐
                ▼                                                                  │
    enqueue ▶ pending ── claim ──▶ processing ── complete ──▶ completed            │
                │                      │  ├────── fail ──────▶ failed ── requeue ──┤
                └── cancel ─▶ cancelled ◀── cancel            (dead letter)        │
                                       └───────────────────────────────────────────┘

A transition has one verb, in SQL, in the store and in the log:

    enqueue   job_enqueued           claim    job_claimed      complete  job_completed
    retry     job_retry_scheduled    fail     job_failed       release   job_released
    cancel    job_cancelled          rescue   job_rescued      requeue   job_requeued

The transitions are SQL functions (`migrations/post-apply.*.sql`); `store` is the only module that
calls them. Every write about a processing job carries its lease, `(id, fence)`: zero rows mean that
the lease is lost, and nothing was changed.

Two tables hold a job. `analysis_jobs` is the wide, lasting row. A row of `job_queue` exists exactly
while the job is unfinished and holds what a claim needs; claims read nothing else, so the cost of
one does not grow with finished jobs. Functions keep the two in step, triggers do it for everybody
else's writes, and what no trigger saw the periodic round repairs. Locks are taken in the order
analysis_jobs, job_queue, projects.

Others write these rows too. Whatever one holds, it harms only its own owner: a claim fails a row
that no worker can work with (UNREADABLE_ROW) and takes the others, readers show what they cannot
hold as null.

What is promised: at-least-once execution; exactly one accepted outcome per job; exactly-once
database effects when a handler completes its job inside its own transaction.
"""
