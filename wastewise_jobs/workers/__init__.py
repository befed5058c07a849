"""The worker process: claim → run → settle, batched at both ends, each job run alone.

    claim loop (one per lane) ── jobs ──▶ supervisor: a task per run ── outcomes ──▶ settler
          ▲                                   │    ▲                                 │   │
          │ Wake                     progress │    │ cancel, lease lost              │   │ events
    notifier, poll loop                       ▼    │                                 ▼   ▼
                                       progress board   heartbeat thread  [analysis_jobs]  journal

- A lane is a set of job types that share slots: handlers of the loop, of threads, of processes,
  each once more per queue that has a limit of its own. A claim never takes more jobs than its lane
  has free slots, and a slot stays taken until its job's outcome is durable. Of the jobs that have
  crashed twice a process holds one at a time, in whichever lane (`LastChance`).
- A claim whose answer was lost may have been carried out: before the next one, the lane gives back
  what it holds in the database and does not know of.
- A process handler's child does everything of its job, the database's part too, and is killed whole
  when its run is stopped: so the slots of that lane bound how many projects are in memory.
- A job that is sent round again may be claimed by the worker that still runs it. The claim ends the
  earlier run; whatever names jobs (a beat, a statement of outcomes) names each once.
- The heartbeat thread has its own loop and connection, so that a handler that blocks the loop does
  not lose its jobs. What it learns (lease lost, cancellation requested) it posts to the loop.
- A run ends in one outcome (`execute`). It is stopped early for one of five reasons (`StopReason`);
  a handler that does not end when stopped is stuck: its outcome is recorded without it, its slot
  stays taken.
- A handler whose lease cannot be confirmed is stopped before anybody else could claim its job. An
  outcome is never given up while PostgreSQL is away: it is offered until it is written or lost.
  What PostgreSQL refuses is settled job by job, so that one job harms only itself.
- A notification is only a hint: a run is cancelled because the heartbeat read the request.
- The poll loop rescues, and wakes whoever has something to claim. An expired lease is taken at the
  second sight, two seconds after the first: a worker that lives has renewed it.
- Stopping: no more claims; heartbeats go on; runs may end within the grace period; the rest is
  stopped and released, no attempt charged; outcomes are flushed; heartbeats end last.
- A handler that blocks the loop keeps all of that from happening. Past its deadline it is recorded
  as timed out, when it ends at last. If it does not, the heartbeat thread calls the loop hung
  (`loop_watch`): what runs is settled from another thread (`last_settling`), the blocking job as
  timed out, and the process ends with an error, to be started again. The same thread that does this
  ends a process that was asked to stop and does not (`service.shutdown`). Only a C function that
  holds the GIL stops all threads: then the lease runs out, and another worker rescues.
"""
