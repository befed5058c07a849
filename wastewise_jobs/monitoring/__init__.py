"""Numbers about queue and workers, read-only. Nothing here changes a job, and nothing needs it.

    metrics     the queue now, and what finished today      get_queue_metrics()
    workers     who is alive, and does work move            [job_workers]
    unserved    due jobs that nobody alive can do           unserved_kinds()
    trends      the last days, bucket by bucket             [job_rollups]
    prometheus  all of it, and this process's own counters, as text

Every read is bounded: unfinished jobs are counted in job_queue, finished ones in the rollups that
maintenance makes, and a statement that takes longer than five seconds is given up.
"""
