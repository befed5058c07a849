"""The composition root: what runs in a process, in which order it starts and stops.

    start   database ▶ schema ▶ pool ▶ job types ▶ doorbell, checks ▶ API ▶ worker
    stop    API and claiming ▶ running jobs (grace) ▶ leases, listener, doorbell ▶ pool ▶ database

Whatever fails on the way up closes what was opened before it; an embedded server is always the
last to go. The end has one limit, counted from the signal (`shutdown`): the grace period and two
seconds.

`process` opens and runs; `database`, `api`, `worker`, `alerts` make its parts from the settings,
and nothing below them reads any. `connected` is for a process of somebody else that only enqueues.
"""
