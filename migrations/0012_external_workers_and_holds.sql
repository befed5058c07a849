-- Callers of get_next_job are known by name, and a row that cannot be deleted stops no pruning.

ALTER TABLE public.job_workers
    -- external: claims by get_next_job, beats by calling it, and is missed by nobody.
    ADD COLUMN kind text NOT NULL DEFAULT 'worker' CHECK (kind IN ('worker', 'external')),
    -- Of whoever says nothing of the kind: it takes all that is due.
    ALTER COLUMN job_types SET DEFAULT '{*}';

-- Rows past their time that somebody else's constraint or trigger keeps: they are left alone for a
-- day, so that each step of the pruning meets others.
CREATE TABLE public.job_prune_holds (
    table_name text NOT NULL,
    row_name text NOT NULL,
    reason text NOT NULL,
    held_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, row_name)
);
ALTER TABLE public.job_prune_holds ENABLE ROW LEVEL SECURITY;

-- It has one parameter more.
DROP FUNCTION IF EXISTS public.record_alert_deliveries(
    text, uuid[], bigint[], text, boolean, double precision
);
