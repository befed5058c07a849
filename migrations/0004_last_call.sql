-- A lease that has expired is taken at the second sight, not at the first.

ALTER TABLE job_queue
    -- A rescue has found the lease expired: what kept its worker from renewing it may have kept
    -- everybody, so it has until lease_expires_at, a moment from then.
    ADD COLUMN expired boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT job_queue_expired CHECK (leased OR NOT expired);

-- Had a third parameter that would have recorded what nobody asked for.
DROP FUNCTION IF EXISTS cancel_running_jobs(uuid[], bigint[], boolean);
