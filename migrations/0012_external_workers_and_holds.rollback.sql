DROP FUNCTION IF EXISTS public.record_alert_deliveries(
    text, uuid[], bigint[], text, boolean, double precision, text
);
DROP FUNCTION IF EXISTS public.unserved_kinds(interval, interval);
DROP FUNCTION IF EXISTS public.due_kinds();
DROP FUNCTION IF EXISTS public.note_external_worker(text);
DROP FUNCTION IF EXISTS public.delete_or_hold(text, tid[], text[]);
DROP FUNCTION IF EXISTS public.prune_rollups(integer);
DROP FUNCTION IF EXISTS public.undelivered_alerts();
DROP FUNCTION IF EXISTS public.error_rate(bigint, bigint);

DROP TABLE IF EXISTS public.job_prune_holds;
ALTER TABLE public.job_workers
    DROP COLUMN IF EXISTS kind,
    ALTER COLUMN job_types DROP DEFAULT;
