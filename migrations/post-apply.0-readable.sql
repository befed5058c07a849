-- What of a row others can read, whatever it holds. Row by row these cost next to nothing: those
-- that are plain SQL without settings become part of the statement that calls them.

-- readable_time: the moment, or NULL where it is infinite or beyond the calendar of a reader.
CREATE OR REPLACE FUNCTION public.readable_time(_moment timestamptz)
RETURNS timestamptz
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE
        WHEN _moment >= '0001-01-02 00:00:00+00' AND _moment < '9999-12-31 00:00:00+00' THEN _moment
    END
$$;

-- seconds_since: how long ago that was. NULL where it is sixty years away or more: nobody measured
-- that, and an integer column of an existing database could not hold it.
CREATE OR REPLACE FUNCTION public.seconds_since(_moment timestamptz)
RETURNS numeric
LANGUAGE sql
VOLATILE
AS $$
    SELECT CASE
        WHEN _moment > now() - interval '60 years' AND _moment < now() + interval '60 years'
        THEN extract(epoch FROM clock_timestamp() - _moment)
    END
$$;

-- measured_seconds: a duration that can be added up, or NULL. Of whatever type an existing database
-- has given the column.
CREATE OR REPLACE FUNCTION public.measured_seconds(_seconds anyelement)
RETURNS double precision
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT CASE WHEN _seconds BETWEEN 0 AND 2000000000 THEN _seconds::double precision END
$$;

-- has_long_numbers: whether the numbers in JSON are longer as text than so many bytes, or one of them
-- is nothing that a reader can hold. Each is looked at alone, and only as text where that is short.
CREATE OR REPLACE FUNCTION public.has_long_numbers(_value jsonb, _bytes integer)
RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT coalesce(sum(
        CASE WHEN abs(n.n) > 1e308 OR scale(n.n) > 400 THEN 2147483647 ELSE length(n.n::text) END
    ), 0) > _bytes
    FROM (
        -- Not by jsonb_path_query, whose time grows with the square of what it finds.
        SELECT e.e::numeric AS n
        FROM jsonb_array_elements(
            jsonb_path_query_array(_value, 'strict $.** ? (@.type() == "number")')
        ) AS e (e)
        OFFSET 0
    ) AS n
$$;

-- json_text: JSON as text, or NULL where that would be longer than so many bytes or holds numbers
-- that no reader can hold.
CREATE OR REPLACE FUNCTION public.json_text(_value jsonb, _bytes integer)
RETURNS text
LANGUAGE plpgsql
STABLE
STRICT
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    -- "1," is twelve bytes as it is stored.
    _stored_bytes constant integer := greatest(_bytes, least(_bytes, 1048576) * 8);
    _text text;
BEGIN
    IF pg_column_size(_value) > _stored_bytes THEN
        RETURN NULL;
    END IF;
    -- Of what may be enormous as text the numbers are looked at first.
    IF (pg_column_size(_value) > 400 OR pg_column_compression(_value) IS NOT NULL) AND (
        -- What it is without compression.
        pg_column_size(jsonb_build_array(_value)) > _stored_bytes + 100
        OR public.has_long_numbers(_value, _bytes)
    ) THEN
        RETURN NULL;
    END IF;
    BEGIN
        _text := _value::text;
    EXCEPTION WHEN program_limit_exceeded OR out_of_memory OR internal_error THEN
        RETURN NULL;
    END;
    RETURN CASE WHEN octet_length(_text) <= _bytes THEN _text END;
END
$$;

-- has_long_text: whether JSON is longer as text than so many bytes. A number of ten bytes may have
-- 131,072 digits: what is small as it is stored is not looked at, because the worst of 400 bytes
-- are 4 MiB; what is large is not made text before its numbers are known to be short.
CREATE OR REPLACE FUNCTION public.has_long_text(_value jsonb, _bytes integer)
RETURNS boolean
LANGUAGE sql
STABLE
AS $$
    SELECT CASE
        WHEN pg_column_compression(_value) IS NOT NULL OR pg_column_size(_value) > 16000
        THEN public.json_text(_value, _bytes) IS NULL
        WHEN pg_column_size(_value) > 400
        THEN public.has_long_numbers(_value, _bytes) OR octet_length(_value::text) > _bytes
        ELSE false
    END
$$;

-- unreadable_column: which value keeps a job from being claimed, or from being written on after
-- that; NULL where none does. Room is left above a fence for those who raise it.
CREATE OR REPLACE FUNCTION public.unreadable_column(_job public.analysis_jobs)
RETURNS text
LANGUAGE sql
STABLE
AS $$
    SELECT CASE
        WHEN _job.fence NOT BETWEEN 0 AND 9223372036854770000 THEN 'fence'
        WHEN public.readable_time(_job.created_at) IS NULL THEN 'created_at'
        WHEN _job.priority NOT BETWEEN 1 AND 10 THEN 'priority'
        WHEN _job.retry_count < 0 THEN 'retry_count'
        WHEN _job.max_retries NOT BETWEEN 0 AND 100 THEN 'max_retries'
        WHEN _job.crash_count < 0 THEN 'crash_count'
        WHEN _job.timeout_seconds <= 0 OR _job.timeout_seconds > 604800 THEN 'timeout_seconds'
        WHEN (_job.idempotency_key IS NULL) <> (_job.idempotency_hash IS NULL)
            OR length(_job.idempotency_key) NOT BETWEEN 1 AND 255 THEN 'idempotency_key'
        WHEN octet_length(_job.job_type) > 255 THEN 'job_type'
        WHEN octet_length(_job.queue) > 255 THEN 'queue'
        WHEN _job.input_data IS NOT NULL AND public.has_long_text(_job.input_data, 1048576)
            THEN 'input_data'
    END
$$;
