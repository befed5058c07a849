DROP TRIGGER IF EXISTS wastewise_quota ON public.projects;
DROP TRIGGER IF EXISTS wastewise_quota ON public.analysis_jobs;
DROP TRIGGER IF EXISTS wastewise_quota_updated ON public.analysis_jobs;
DROP FUNCTION IF EXISTS public.quota_guard();
DROP FUNCTION IF EXISTS public.quota_refusal(uuid, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS public.quota_job_refusals(uuid[], text[]);
DROP FUNCTION IF EXISTS public.quota_jobs_of(uuid, bigint, bigint);
DROP FUNCTION IF EXISTS public.set_quotas(bigint, bigint, bigint);

DROP TABLE IF EXISTS public.quota_uses;

ALTER TABLE public.schema_info
    DROP COLUMN IF EXISTS quota_projects,
    DROP COLUMN IF EXISTS quota_stored_bytes,
    DROP COLUMN IF EXISTS quota_pending_jobs;
