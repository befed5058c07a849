-- Where the periodic repair of job_queue is, and what came of it.
ALTER TABLE schema_info
    -- The next step goes on from these ids; NULL: from the first.
    ADD COLUMN queue_walked_to uuid,
    ADD COLUMN jobs_walked_to uuid,
    ADD COLUMN jobs_repaired bigint NOT NULL DEFAULT 0,
    -- What the last round found and could not repair.
    ADD COLUMN jobs_astray bigint NOT NULL DEFAULT 0;
