-- An existing WasteWise database, as its own front end made it: what an adoption finds.
CREATE SCHEMA auth;

CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);

CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid
$$;

CREATE TABLE projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    property_name text NOT NULL,
    units integer NOT NULL CHECK (units >= 10 AND units <= 2000),
    city text NOT NULL,
    state text NOT NULL,
    property_type text,
    status text NOT NULL DEFAULT 'draft'
        CHECK (status IN ('draft', 'processing', 'completed', 'failed', 'cancelled')),
    progress integer DEFAULT 0,
    total_savings numeric,
    equipment_type text,
    analysis_period_months integer,
    error_message text,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE project_files (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    file_name text NOT NULL,
    file_type text NOT NULL CHECK (file_type IN ('invoice', 'contract', 'csv', 'other')),
    file_size integer,
    mime_type text,
    storage_path text,
    processing_status text DEFAULT 'pending',
    processing_error text,
    uploaded_at timestamptz DEFAULT now()
);

CREATE TABLE analysis_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    job_type text NOT NULL CHECK (job_type IN (
        'complete_analysis', 'invoice_extraction', 'regulatory_research', 'report_generation')),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    progress_percent integer DEFAULT 0 CHECK (progress_percent BETWEEN 0 AND 100),
    current_step text,
    total_steps integer,
    steps_completed integer DEFAULT 0,
    started_at timestamptz,
    completed_at timestamptz,
    estimated_completion timestamptz,
    duration_seconds integer,
    input_data jsonb DEFAULT '{}',
    result_data jsonb,
    error_message text,
    error_code text,
    error_details jsonb,
    failed_at timestamptz,
    retry_count integer DEFAULT 0,
    max_retries integer DEFAULT 3,
    ai_requests integer DEFAULT 0,
    ai_tokens_input integer DEFAULT 0,
    ai_tokens_output integer DEFAULT 0,
    ai_cost_usd numeric(10, 4) DEFAULT 0,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE INDEX idx_jobs_status ON analysis_jobs (status);
CREATE INDEX idx_jobs_pending ON analysis_jobs (created_at) WHERE status = 'pending';
CREATE INDEX idx_jobs_user ON analysis_jobs (user_id);

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE TRIGGER set_updated_at BEFORE UPDATE ON analysis_jobs
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE analysis_jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_projects ON projects TO authenticated USING (user_id = auth.uid());
CREATE POLICY own_jobs ON analysis_jobs TO authenticated
    USING (user_id = auth.uid()) WITH CHECK (user_id = auth.uid());
GRANT USAGE ON SCHEMA public, auth TO authenticated;
GRANT SELECT ON projects TO authenticated;
GRANT SELECT, INSERT, UPDATE ON analysis_jobs TO authenticated;

-- Older functions: no parameters, other names, other return types.
CREATE FUNCTION get_next_job() RETURNS SETOF analysis_jobs LANGUAGE sql AS $$
    SELECT * FROM analysis_jobs WHERE status = 'pending' ORDER BY created_at LIMIT 1
$$;
CREATE FUNCTION get_next_job(worker_id_param text)
RETURNS TABLE (job_id uuid, kind text) LANGUAGE sql AS $$
    SELECT id, job_type FROM analysis_jobs WHERE status = 'pending' LIMIT 1
$$;
CREATE FUNCTION schedule_job_retry(p_job_id uuid, p_error text) RETURNS void LANGUAGE sql AS $$
    UPDATE analysis_jobs SET status = 'pending', retry_count = retry_count + 1 WHERE id = p_job_id
$$;
CREATE FUNCTION cleanup_old_analysis_jobs(retention_days integer) RETURNS void LANGUAGE sql AS $$
    DELETE FROM analysis_jobs WHERE created_at < now() - make_interval(days => retention_days)
$$;

INSERT INTO auth.users (id, email) VALUES
    ('11111111-1111-1111-1111-111111111111', 'one@example.org'),
    ('22222222-2222-2222-2222-222222222222', 'two@example.org');

INSERT INTO projects (id, user_id, property_name, units, city, state, status) VALUES
    ('aaaaaaaa-0000-0000-0000-000000000001', '11111111-1111-1111-1111-111111111111',
     'Oak Court', 200, 'Austin', 'TX', 'processing'),
    ('aaaaaaaa-0000-0000-0000-000000000002', '22222222-2222-2222-2222-222222222222',
     'Elm Park', 90, 'Tulsa', 'OK', 'completed');

INSERT INTO project_files (project_id, file_name, file_type) VALUES
    ('aaaaaaaa-0000-0000-0000-000000000001', 'invoices.pdf', 'invoice');

INSERT INTO analysis_jobs (
    id, user_id, project_id, job_type, status, input_data, result_data, error_message, retry_count,
    max_retries, started_at, completed_at, created_at, updated_at
)
SELECT
    ('bbbbbbbb-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid,
    '11111111-1111-1111-1111-111111111111', 'aaaaaaaa-0000-0000-0000-000000000001', t, s, i::jsonb,
    r::jsonb, e, c, m, started, ended, created, created
FROM (VALUES
    (1, 'complete_analysis', 'pending', '{"n": 1}', NULL, NULL, 0, 3, NULL, NULL,
     now() - interval '2 hours'),
    (2, 'report_generation', 'pending', '{}', NULL, 'before', 1, 3, NULL, NULL,
     now() - interval '3 hours'),
    (3, 'complete_analysis', 'processing', '{"n": 3}', NULL, NULL, 0, 3,
     now() - interval '5 minutes', NULL, now() - interval '1 hour'),
    (4, 'invoice_extraction', 'completed', '{}', '{"rows": 12}', NULL, 0, 3,
     now() - interval '2 days', now() - interval '2 days', now() - interval '2 days'),
    (5, 'regulatory_research', 'failed', '{}', NULL, 'no luck', 3, 3, now() - interval '3 days',
     NULL, now() - interval '3 days'),
    -- Odd ones, that nothing has forbidden.
    (6, 'complete_analysis', 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (7, 'complete_analysis', 'pending', '{}', NULL, NULL, -1, 1000, NULL, NULL,
     now() - interval '30 minutes'),
    (8, 'complete_analysis', 'completed', '{}', '"no object"', NULL, NULL, NULL, NULL, NULL, NULL)
) AS v (n, t, s, i, r, e, c, m, started, ended, created);
