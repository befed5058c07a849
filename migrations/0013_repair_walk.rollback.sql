DROP FUNCTION IF EXISTS repair_a_step(integer, integer);
DROP FUNCTION IF EXISTS repair_jobs(uuid[]);
DROP FUNCTION IF EXISTS astray_jobs(uuid[]);
DROP FUNCTION IF EXISTS unfinished_jobs();
DROP FUNCTION IF EXISTS queue_rows(uuid[]);
DROP FUNCTION IF EXISTS set_aside(uuid, text);
DROP FUNCTION IF EXISTS fail_or_set_aside(uuid, text, text);
DROP FUNCTION IF EXISTS fail_unreadable_jobs(uuid[]);
DROP FUNCTION IF EXISTS fail_these_unreadable(uuid[], text);
DROP FUNCTION IF EXISTS bring_within_limits(uuid[]);
DROP FUNCTION IF EXISTS is_trouble(text);
DROP FUNCTION IF EXISTS sum_within(bigint, bigint, bigint);
DROP FUNCTION IF EXISTS unreadable_column(analysis_jobs);
DROP FUNCTION IF EXISTS has_long_text(jsonb, integer);
DROP FUNCTION IF EXISTS json_text(jsonb, integer);
DROP FUNCTION IF EXISTS has_long_numbers(jsonb, integer);
DROP FUNCTION IF EXISTS measured_seconds(anyelement);
DROP FUNCTION IF EXISTS seconds_since(timestamptz);
DROP FUNCTION IF EXISTS readable_time(timestamptz);
ALTER TABLE schema_info
    DROP COLUMN IF EXISTS queue_walked_to,
    DROP COLUMN IF EXISTS jobs_walked_to,
    DROP COLUMN IF EXISTS jobs_repaired,
    DROP COLUMN IF EXISTS jobs_astray;
