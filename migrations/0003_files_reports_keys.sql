-- What a project's analysis reads and writes, and the API keys.

DO $$
BEGIN
    PERFORM set_config(
        'wastewise.made',
        CASE WHEN to_regclass('public.project_files') IS NULL THEN 'project_files' ELSE '' END,
        true
    );
END
$$;

CREATE TABLE IF NOT EXISTS project_files (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    file_name text NOT NULL,
    file_type text NOT NULL DEFAULT 'other',
    file_size bigint,
    mime_type text,
    storage_path text,
    processing_status text,
    processing_error text,
    uploaded_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE project_files
    ADD COLUMN IF NOT EXISTS file_size bigint,
    ADD COLUMN IF NOT EXISTS mime_type text,
    ADD COLUMN IF NOT EXISTS storage_path text,
    ADD COLUMN IF NOT EXISTS processing_status text,
    ADD COLUMN IF NOT EXISTS processing_error text,
    ADD COLUMN IF NOT EXISTS uploaded_at timestamptz NOT NULL DEFAULT now();

-- A haul log is a file type of ours that an existing check may not know.
DO $$
DECLARE
    _name text;
BEGIN
    FOR _name IN
        SELECT c.conname
        FROM pg_constraint c
        WHERE c.conrelid = 'public.project_files'::regclass
          AND c.contype = 'c'
          AND pg_get_constraintdef(c.oid) ~ '\mfile_type\M'
    LOOP
        EXECUTE format('ALTER TABLE public.project_files DROP CONSTRAINT %I', _name);
    END LOOP;
END
$$;

ALTER TABLE project_files ADD CONSTRAINT project_files_file_type_check
    CHECK (file_type IN ('invoice', 'haul_log', 'contract', 'csv', 'other')) NOT VALID;

CREATE INDEX IF NOT EXISTS project_files_by_project ON project_files (project_id, file_name);

-- Contents of files that came through our API. One row per name: a second upload replaces.
CREATE TABLE project_file_contents (
    file_id uuid PRIMARY KEY REFERENCES project_files (id) ON DELETE CASCADE,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    file_name text NOT NULL,
    content bytea NOT NULL CHECK (length(content) <= 10485760),
    UNIQUE (project_id, file_name)
);
-- Files are compressed or short: trying again only costs time.
ALTER TABLE project_file_contents ALTER COLUMN content SET STORAGE EXTERNAL;

-- The rows that an extraction read, in order.
CREATE TABLE job_rows (
    job_id uuid NOT NULL REFERENCES analysis_jobs (id) ON DELETE CASCADE,
    position integer NOT NULL,
    data jsonb NOT NULL,
    PRIMARY KEY (job_id, position)
);

CREATE TABLE job_reports (
    job_id uuid NOT NULL REFERENCES analysis_jobs (id) ON DELETE CASCADE,
    format text NOT NULL CHECK (format IN ('html', 'xlsx')),
    content bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, format)
);

-- Only the hash of the secret is kept; the key is shown once, when it is made.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    public_id text NOT NULL UNIQUE,
    secret_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL DEFAULT '',
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_by_user ON api_keys (user_id);

ALTER TABLE project_files ENABLE ROW LEVEL SECURITY;
ALTER TABLE project_file_contents ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_rows ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_reports ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;

-- As for the tables of the first migration: what we made is granted to nobody.
DO $$
DECLARE
    _table text;
    _role text;
BEGIN
    FOREACH _table IN ARRAY string_to_array(current_setting('wastewise.made'), ',') LOOP
        EXECUTE format('REVOKE ALL ON TABLE public.%I FROM PUBLIC', _table);
        FOR _role IN SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated') LOOP
            EXECUTE format('REVOKE ALL ON TABLE public.%I FROM %I', _table, _role);
        END LOOP;
    END LOOP;
END
$$;
