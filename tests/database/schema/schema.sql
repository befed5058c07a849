-- The migrated schema, for people: `python -m tests.database.schema.schema_dump` writes it, a test
-- compares it. Nothing reads it to make a database.

CREATE TABLE analysis_jobs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid,
    project_id uuid,
    job_type text NOT NULL,
    status text NOT NULL DEFAULT 'pending'::text,
    progress_percent integer NOT NULL DEFAULT 0,
    current_step text,
    total_steps integer,
    steps_completed integer NOT NULL DEFAULT 0,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    estimated_completion timestamp with time zone,
    duration_seconds double precision,
    input_data jsonb NOT NULL DEFAULT '{}'::jsonb,
    result_data jsonb,
    error_message text,
    error_code text,
    error_details jsonb,
    failed_at timestamp with time zone,
    retry_count integer NOT NULL DEFAULT 0,
    max_retries integer NOT NULL,
    ai_requests integer NOT NULL DEFAULT 0,
    ai_tokens_input bigint NOT NULL DEFAULT 0,
    ai_tokens_output bigint NOT NULL DEFAULT 0,
    ai_cost_usd numeric NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    retry_after timestamp with time zone,
    retry_error_log jsonb NOT NULL DEFAULT '[]'::jsonb,
    priority integer NOT NULL,
    priority_reason text,
    worker_id text,
    claimed_at timestamp with time zone,
    queue text NOT NULL,
    fence bigint NOT NULL DEFAULT 0,
    crash_count integer NOT NULL DEFAULT 0,
    timeout_seconds double precision,
    cancel_requested_at timestamp with time zone,
    idempotency_key text,
    idempotency_hash bytea,
    foreign_writer boolean NOT NULL DEFAULT false,
    CONSTRAINT analysis_jobs_pkey PRIMARY KEY (id),
    CONSTRAINT analysis_jobs_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT analysis_jobs_counts_check CHECK (((retry_count >= 0) AND ((max_retries >= 0) AND (max_retries <= 100)) AND (crash_count >= 0) AND (fence >= 0))) NOT VALID,
    CONSTRAINT analysis_jobs_idempotency_check CHECK ((((idempotency_key IS NULL) = (idempotency_hash IS NULL)) AND ((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255)))) NOT VALID,
    CONSTRAINT analysis_jobs_priority_check CHECK (((priority >= 1) AND (priority <= 10))) NOT VALID,
    CONSTRAINT analysis_jobs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))) NOT VALID,
    CONSTRAINT analysis_jobs_timeout_check CHECK (((timeout_seconds > (0)::double precision) AND (timeout_seconds <= (604800)::double precision))) NOT VALID
) WITH (fillfactor=60);

ALTER TABLE analysis_jobs ENABLE ROW LEVEL SECURITY;

CREATE INDEX analysis_jobs_by_completion ON public.analysis_jobs USING btree (completed_at) WHERE (completed_at IS NOT NULL);
CREATE INDEX analysis_jobs_by_creation ON public.analysis_jobs USING btree (created_at, id);
CREATE INDEX analysis_jobs_by_failure ON public.analysis_jobs USING btree (failed_at) WHERE (failed_at IS NOT NULL);
CREATE INDEX analysis_jobs_by_project ON public.analysis_jobs USING btree (project_id, created_at, id) WHERE (project_id IS NOT NULL);
CREATE INDEX analysis_jobs_by_user ON public.analysis_jobs USING btree (user_id, created_at, id) WHERE (user_id IS NOT NULL);
CREATE UNIQUE INDEX analysis_jobs_idempotency ON public.analysis_jobs USING btree (COALESCE(user_id, '00000000-0000-0000-0000-000000000000'::uuid), idempotency_key) WHERE (idempotency_key IS NOT NULL);

CREATE TRIGGER wastewise_admit_inserted BEFORE INSERT ON public.analysis_jobs FOR EACH ROW WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION admit_inserted_job();
CREATE TRIGGER wastewise_admit_truncate BEFORE TRUNCATE ON public.analysis_jobs FOR EACH STATEMENT WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION refuse_foreign_write();
CREATE TRIGGER wastewise_admit_updated BEFORE UPDATE ON public.analysis_jobs FOR EACH ROW WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION admit_updated_job();
CREATE TRIGGER wastewise_check_updated BEFORE UPDATE OF job_type, queue, input_data, result_data, error_details, retry_error_log ON public.analysis_jobs FOR EACH ROW WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text))) EXECUTE FUNCTION check_updated_job();
CREATE TRIGGER wastewise_fence_updated BEFORE UPDATE ON public.analysis_jobs FOR EACH ROW WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text))) EXECUTE FUNCTION keep_written_job();
CREATE TRIGGER wastewise_fill_inserted BEFORE INSERT ON public.analysis_jobs FOR EACH ROW WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text))) EXECUTE FUNCTION keep_written_job();
CREATE TRIGGER wastewise_follow_deleted AFTER DELETE ON public.analysis_jobs FOR EACH ROW WHEN ((old.status = ANY (ARRAY['pending'::text, 'processing'::text]))) EXECUTE FUNCTION follow_job();
CREATE TRIGGER wastewise_follow_inserted AFTER INSERT ON public.analysis_jobs FOR EACH ROW WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text))) EXECUTE FUNCTION follow_job();
CREATE TRIGGER wastewise_follow_truncate AFTER TRUNCATE ON public.analysis_jobs FOR EACH STATEMENT EXECUTE FUNCTION empty_job_queue();
CREATE TRIGGER wastewise_follow_updated AFTER UPDATE ON public.analysis_jobs FOR EACH ROW WHEN (((row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text)) AND ((((((((((old.status IS DISTINCT FROM new.status) OR (old.priority IS DISTINCT FROM new.priority)) OR (old.created_at IS DISTINCT FROM new.created_at)) OR (old.retry_after IS DISTINCT FROM new.retry_after)) OR (old.queue IS DISTINCT FROM new.queue)) OR (old.job_type IS DISTINCT FROM new.job_type)) OR (old.fence IS DISTINCT FROM new.fence)) OR (old.id IS DISTINCT FROM new.id)) OR (old.cancel_requested_at IS DISTINCT FROM new.cancel_requested_at)) OR (old.crash_count IS DISTINCT FROM new.crash_count)))) EXECUTE FUNCTION follow_job();
CREATE TRIGGER wastewise_mark_inserted AFTER INSERT ON public.analysis_jobs FOR EACH ROW WHEN (((new.completed_at IS NOT NULL) AND (row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text)))) EXECUTE FUNCTION mark_finished_job();
CREATE TRIGGER wastewise_mark_updated AFTER UPDATE ON public.analysis_jobs FOR EACH ROW WHEN ((((((old.completed_at IS DISTINCT FROM new.completed_at) OR (old.status IS DISTINCT FROM new.status)) OR (old.job_type IS DISTINCT FROM new.job_type)) OR (old.duration_seconds IS DISTINCT FROM new.duration_seconds)) AND ((old.completed_at IS NOT NULL) OR ((new.completed_at IS NOT NULL) AND (row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text)))))) EXECUTE FUNCTION mark_finished_job();
CREATE TRIGGER wastewise_prove BEFORE INSERT OR UPDATE ON public.analysis_jobs FOR EACH STATEMENT WHEN (((current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true) <> ''::text) AND (sha256(convert_to(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), 'UTF8'::name)) <> '\x<hash>'::bytea))) EXECUTE FUNCTION drop_forged_transition();
CREATE TRIGGER wastewise_quota BEFORE INSERT ON public.analysis_jobs FOR EACH ROW WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION quota_guard();
CREATE TRIGGER wastewise_quota_updated BEFORE UPDATE ON public.analysis_jobs FOR EACH ROW WHEN (((new.status = ANY (ARRAY['pending'::text, 'processing'::text])) AND (old.status <> ALL (ARRAY['pending'::text, 'processing'::text])) AND row_security_active(('analysis_jobs'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION quota_guard();
CREATE TRIGGER wastewise_raise_updated AFTER UPDATE ON public.analysis_jobs FOR EACH STATEMENT WHEN ((row_security_active(('analysis_jobs'::regclass)::oid) OR (COALESCE(current_setting(('wastewise.transition_'::text || (pg_trigger_depth())::text), true), ''::text) = ''::text))) EXECUTE FUNCTION raise_updated_jobs();

CREATE TABLE api_keys (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    public_id text NOT NULL,
    secret_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL DEFAULT ''::text,
    scopes text[] NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_public_id_key UNIQUE (public_id)
);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;

CREATE INDEX api_keys_by_user ON public.api_keys USING btree (user_id);

CREATE TABLE job_alert_channels (
    channel text NOT NULL,
    hour_started_at timestamp with time zone NOT NULL DEFAULT now(),
    sent integer NOT NULL DEFAULT 0,
    digest_at timestamp with time zone,
    paused_until timestamp with time zone,
    CONSTRAINT job_alert_channels_pkey PRIMARY KEY (channel)
) WITH (fillfactor=50);

ALTER TABLE job_alert_channels ENABLE ROW LEVEL SECURITY;

CREATE TABLE job_alert_deliveries (
    alert_id uuid NOT NULL,
    channel text NOT NULL,
    notice text NOT NULL,
    status text NOT NULL DEFAULT 'pending'::text,
    round integer NOT NULL DEFAULT 1,
    sent_round integer NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    due_after timestamp with time zone NOT NULL DEFAULT now(),
    told_at timestamp with time zone,
    last_error text,
    CONSTRAINT job_alert_deliveries_pkey PRIMARY KEY (alert_id, channel),
    CONSTRAINT job_alert_deliveries_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES job_alerts(id) ON DELETE CASCADE,
    CONSTRAINT job_alert_deliveries_notice_check CHECK ((notice = ANY (ARRAY['raised'::text, 'reminder'::text, 'acknowledged'::text, 'resolved'::text]))),
    CONSTRAINT job_alert_deliveries_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'sending'::text, 'delivered'::text, 'undelivered'::text, 'skipped'::text])))
) WITH (fillfactor=70);

ALTER TABLE job_alert_deliveries ENABLE ROW LEVEL SECURITY;

CREATE INDEX job_alert_deliveries_due ON public.job_alert_deliveries USING btree (channel, due_after) WHERE (status = ANY (ARRAY['pending'::text, 'sending'::text]));
CREATE INDEX job_alert_deliveries_undelivered ON public.job_alert_deliveries USING btree (alert_id) WHERE (status = 'undelivered'::text);

CREATE TABLE job_alert_failures (
    job_id uuid NOT NULL
);

ALTER TABLE job_alert_failures ENABLE ROW LEVEL SECURITY;

CREATE TABLE job_alert_history (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    alert_id uuid NOT NULL,
    event text NOT NULL,
    channel text,
    actor text,
    note text,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT job_alert_history_pkey PRIMARY KEY (id),
    CONSTRAINT job_alert_history_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES job_alerts(id) ON DELETE CASCADE,
    CONSTRAINT job_alert_history_event_check CHECK ((event = ANY (ARRAY['raised'::text, 'reopened'::text, 'worsened'::text, 'acknowledged'::text, 'snoozed'::text, 'resolved'::text, 'delivered'::text, 'delivery_failed'::text, 'undelivered'::text])))
);

ALTER TABLE job_alert_history ENABLE ROW LEVEL SECURITY;

CREATE INDEX job_alert_history_by_alert ON public.job_alert_history USING btree (alert_id, created_at);

CREATE TABLE job_alert_jobs (
    job_id uuid NOT NULL,
    alert_id uuid NOT NULL,
    requeued boolean NOT NULL DEFAULT false,
    settled boolean NOT NULL DEFAULT false,
    CONSTRAINT job_alert_jobs_pkey PRIMARY KEY (job_id, alert_id),
    CONSTRAINT job_alert_jobs_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES job_alerts(id) ON DELETE CASCADE,
    CONSTRAINT job_alert_jobs_job_id_fkey FOREIGN KEY (job_id) REFERENCES analysis_jobs(id) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT job_alert_jobs_settled CHECK ((NOT (requeued AND settled)))
);

ALTER TABLE job_alert_jobs ENABLE ROW LEVEL SECURITY;

CREATE INDEX job_alert_jobs_by_alert ON public.job_alert_jobs USING btree (alert_id, settled);
CREATE INDEX job_alert_jobs_requeued ON public.job_alert_jobs USING btree (job_id) WHERE requeued;

CREATE TABLE job_alerts (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    job_id uuid,
    alert_type text NOT NULL,
    severity text NOT NULL,
    message text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'::jsonb,
    notified_at timestamp with time zone,
    notification_channels jsonb NOT NULL DEFAULT '[]'::jsonb,
    acknowledged_at timestamp with time zone,
    acknowledged_by uuid,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    fingerprint text,
    occurrences bigint NOT NULL DEFAULT 1,
    last_seen_at timestamp with time zone NOT NULL DEFAULT now(),
    acknowledged_note text,
    acknowledged_occurrences bigint,
    snoozed_until timestamp with time zone,
    resolved_at timestamp with time zone,
    tell_after timestamp with time zone,
    CONSTRAINT job_alerts_pkey PRIMARY KEY (id),
    CONSTRAINT job_alerts_alert_type_check CHECK ((alert_type = ANY (ARRAY['job_failed'::text, 'job_stuck'::text, 'high_error_rate'::text, 'worker_down'::text]))) NOT VALID,
    CONSTRAINT job_alerts_life_check CHECK (((occurrences > 0) AND ((fingerprint IS NOT NULL) OR (resolved_at IS NOT NULL)) AND ((resolved_at IS NULL) OR (tell_after IS NULL)))) NOT VALID,
    CONSTRAINT job_alerts_severity_check CHECK ((severity = ANY (ARRAY['warning'::text, 'error'::text, 'critical'::text]))) NOT VALID
) WITH (fillfactor=50);

ALTER TABLE job_alerts ENABLE ROW LEVEL SECURITY;

CREATE INDEX job_alerts_by_creation ON public.job_alerts USING btree (created_at, id);
CREATE INDEX job_alerts_by_job ON public.job_alerts USING btree (job_id) WHERE (job_id IS NOT NULL);
CREATE UNIQUE INDEX job_alerts_open ON public.job_alerts USING btree (fingerprint) WHERE (resolved_at IS NULL);
CREATE INDEX job_alerts_to_tell ON public.job_alerts USING btree (tell_after) WHERE (tell_after IS NOT NULL);

CREATE TABLE job_prune_holds (
    table_name text NOT NULL,
    row_name text NOT NULL,
    reason text NOT NULL,
    held_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT job_prune_holds_pkey PRIMARY KEY (table_name, row_name)
);

ALTER TABLE job_prune_holds ENABLE ROW LEVEL SECURITY;

CREATE TABLE job_queue (
    id uuid NOT NULL,
    queue text NOT NULL,
    job_type text NOT NULL,
    priority integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    retry_after timestamp with time zone,
    due boolean NOT NULL,
    leased boolean NOT NULL DEFAULT false,
    fence bigint NOT NULL,
    lease_expires_at timestamp with time zone,
    deadline_at timestamp with time zone,
    expired boolean NOT NULL DEFAULT false,
    last_chance boolean NOT NULL DEFAULT false,
    CONSTRAINT job_queue_pkey PRIMARY KEY (id),
    CONSTRAINT job_queue_due_or_leased CHECK ((NOT (due AND leased))),
    CONSTRAINT job_queue_expired CHECK ((leased OR (NOT expired))),
    CONSTRAINT job_queue_lease CHECK ((leased = (lease_expires_at IS NOT NULL))),
    CONSTRAINT job_queue_priority_check CHECK (((priority >= 1) AND (priority <= 10))),
    CONSTRAINT job_queue_waits_for CHECK ((due OR leased OR (retry_after IS NOT NULL)))
) WITH (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_threshold=5000, fillfactor=70);

ALTER TABLE job_queue ENABLE ROW LEVEL SECURITY;

CREATE INDEX job_queue_due ON public.job_queue USING btree (queue, job_type, priority, created_at, id) WHERE due;
CREATE INDEX job_queue_leased ON public.job_queue USING btree (id) WHERE leased;
CREATE INDEX job_queue_waiting ON public.job_queue USING btree (priority, retry_after) WHERE ((NOT due) AND (NOT leased));

CREATE TABLE job_reports (
    job_id uuid NOT NULL,
    format text NOT NULL,
    content bytea NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT job_reports_pkey PRIMARY KEY (job_id, format),
    CONSTRAINT job_reports_job_id_fkey FOREIGN KEY (job_id) REFERENCES analysis_jobs(id) ON DELETE CASCADE,
    CONSTRAINT job_reports_format_check CHECK ((format = ANY (ARRAY['html'::text, 'xlsx'::text])))
);

ALTER TABLE job_reports ENABLE ROW LEVEL SECURITY;

CREATE TABLE job_rollup_marks (
    minute timestamp with time zone NOT NULL
);

ALTER TABLE job_rollup_marks ENABLE ROW LEVEL SECURITY;

CREATE TABLE job_rollups (
    bucket_minutes integer NOT NULL,
    bucket_at timestamp with time zone NOT NULL,
    job_type text NOT NULL,
    completed bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    retried bigint NOT NULL,
    timed bigint NOT NULL,
    run_seconds double precision NOT NULL,
    waits jsonb NOT NULL,
    runs jsonb NOT NULL,
    CONSTRAINT job_rollups_pkey PRIMARY KEY (bucket_minutes, bucket_at, job_type),
    CONSTRAINT job_rollups_bucket_minutes_check CHECK ((bucket_minutes = ANY (ARRAY[1, 15])))
);

ALTER TABLE job_rollups ENABLE ROW LEVEL SECURITY;

CREATE TABLE job_rows (
    job_id uuid NOT NULL,
    position integer NOT NULL,
    data jsonb NOT NULL,
    CONSTRAINT job_rows_pkey PRIMARY KEY (job_id, "position"),
    CONSTRAINT job_rows_job_id_fkey FOREIGN KEY (job_id) REFERENCES analysis_jobs(id) ON DELETE CASCADE
);

ALTER TABLE job_rows ENABLE ROW LEVEL SECURITY;

CREATE TABLE job_types (
    job_type text NOT NULL,
    queue text NOT NULL DEFAULT 'default'::text,
    priority integer NOT NULL DEFAULT 5,
    timeout_seconds double precision NOT NULL DEFAULT 600,
    max_retries integer NOT NULL DEFAULT 3,
    run_in text NOT NULL DEFAULT 'loop'::text,
    description text NOT NULL DEFAULT ''::text,
    input_schema jsonb NOT NULL DEFAULT '{}'::jsonb,
    needs_project boolean NOT NULL DEFAULT false,
    admin_only boolean NOT NULL DEFAULT false,
    refusal text,
    registered_at timestamp with time zone NOT NULL DEFAULT now(),
    retired_at timestamp with time zone,
    CONSTRAINT job_types_pkey PRIMARY KEY (job_type),
    CONSTRAINT job_types_job_type_check CHECK ((job_type ~ '^[a-z][a-z0-9_.-]{0,62}$'::text)),
    CONSTRAINT job_types_max_retries_check CHECK (((max_retries >= 0) AND (max_retries <= 100))),
    CONSTRAINT job_types_priority_check CHECK (((priority >= 1) AND (priority <= 10))),
    CONSTRAINT job_types_queue_check CHECK ((queue ~ '^[a-z][a-z0-9_.-]{0,62}$'::text)),
    CONSTRAINT job_types_run_in_check CHECK ((run_in = ANY (ARRAY['loop'::text, 'thread'::text, 'process'::text]))),
    CONSTRAINT job_types_timeout_seconds_check CHECK (((timeout_seconds > (0)::double precision) AND (timeout_seconds <= (604800)::double precision)))
);

ALTER TABLE job_types ENABLE ROW LEVEL SECURITY;

CREATE TRIGGER wastewise_refuse_inserted AFTER INSERT ON public.job_types FOR EACH ROW WHEN (new.admin_only) EXECUTE FUNCTION refuse_foreign_jobs();
CREATE TRIGGER wastewise_refuse_updated AFTER UPDATE ON public.job_types FOR EACH ROW WHEN ((new.admin_only AND (NOT old.admin_only))) EXECUTE FUNCTION refuse_foreign_jobs();

CREATE TABLE job_workers (
    worker_id text NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    job_types text[] NOT NULL DEFAULT '{*}'::text[],
    concurrency integer NOT NULL,
    running integer NOT NULL DEFAULT 0,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    last_heartbeat_at timestamp with time zone NOT NULL DEFAULT now(),
    cpu_percent real,
    memory_bytes bigint,
    loop_lag_seconds real,
    draining boolean NOT NULL DEFAULT false,
    kind text NOT NULL DEFAULT 'worker'::text,
    CONSTRAINT job_workers_pkey PRIMARY KEY (worker_id),
    CONSTRAINT job_workers_kind_check CHECK ((kind = ANY (ARRAY['worker'::text, 'external'::text])))
) WITH (fillfactor=50);

ALTER TABLE job_workers ENABLE ROW LEVEL SECURITY;

CREATE TABLE project_file_contents (
    file_id uuid NOT NULL,
    project_id uuid NOT NULL,
    file_name text NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT project_file_contents_pkey PRIMARY KEY (file_id),
    CONSTRAINT project_file_contents_project_id_file_name_key UNIQUE (project_id, file_name),
    CONSTRAINT project_file_contents_file_id_fkey FOREIGN KEY (file_id) REFERENCES project_files(id) ON DELETE CASCADE,
    CONSTRAINT project_file_contents_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT project_file_contents_content_check CHECK ((length(content) <= 10485760))
);

ALTER TABLE project_file_contents ENABLE ROW LEVEL SECURITY;

CREATE TABLE project_files (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL,
    file_name text NOT NULL,
    file_type text NOT NULL DEFAULT 'other'::text,
    file_size bigint,
    mime_type text,
    storage_path text,
    processing_status text,
    processing_error text,
    uploaded_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT project_files_pkey PRIMARY KEY (id),
    CONSTRAINT project_files_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects(id) ON DELETE CASCADE,
    CONSTRAINT project_files_file_type_check CHECK ((file_type = ANY (ARRAY['invoice'::text, 'haul_log'::text, 'contract'::text, 'csv'::text, 'other'::text]))) NOT VALID
);

ALTER TABLE project_files ENABLE ROW LEVEL SECURITY;

CREATE INDEX project_files_by_project ON public.project_files USING btree (project_id, file_name);

CREATE TRIGGER wastewise_admit_inserted BEFORE INSERT ON public.project_files FOR EACH ROW WHEN ((row_security_active(('project_files'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION admit_project_file();
CREATE TRIGGER wastewise_admit_truncate BEFORE TRUNCATE ON public.project_files FOR EACH STATEMENT WHEN ((row_security_active(('project_files'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION refuse_foreign_write();
CREATE TRIGGER wastewise_admit_updated BEFORE UPDATE ON public.project_files FOR EACH ROW WHEN ((((old.id IS DISTINCT FROM new.id) OR (old.project_id IS DISTINCT FROM new.project_id)) AND row_security_active(('project_files'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION refuse_foreign_write();
CREATE TRIGGER wastewise_bound BEFORE INSERT OR UPDATE ON public.project_files FOR EACH ROW EXECUTE FUNCTION bound_project_file();

CREATE TABLE projects (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    property_name text NOT NULL,
    units integer NOT NULL,
    city text NOT NULL,
    state text NOT NULL,
    property_type text,
    status text NOT NULL DEFAULT 'draft'::text,
    progress integer NOT NULL DEFAULT 0,
    total_savings numeric,
    equipment_type text,
    analysis_period_months numeric,
    error_message text,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    containers integer,
    container_yards numeric,
    pickups_per_week numeric,
    CONSTRAINT projects_pkey PRIMARY KEY (id),
    CONSTRAINT projects_container_yards_check CHECK (((container_yards > (0)::numeric) AND (container_yards <= (100)::numeric))),
    CONSTRAINT projects_containers_check CHECK (((containers >= 1) AND (containers <= 1000))),
    CONSTRAINT projects_pickups_per_week_check CHECK (((pickups_per_week > (0)::numeric) AND (pickups_per_week <= (50)::numeric))),
    CONSTRAINT projects_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT projects_units_check CHECK (((units >= 10) AND (units <= 2000)))
);

ALTER TABLE projects ENABLE ROW LEVEL SECURITY;

CREATE INDEX projects_by_user ON public.projects USING btree (user_id, created_at, id);

CREATE TRIGGER wastewise_admit_inserted BEFORE INSERT ON public.projects FOR EACH ROW WHEN ((row_security_active(('projects'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION admit_project();
CREATE TRIGGER wastewise_admit_truncate BEFORE TRUNCATE ON public.projects FOR EACH STATEMENT WHEN ((row_security_active(('projects'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION refuse_foreign_write();
CREATE TRIGGER wastewise_admit_updated BEFORE UPDATE ON public.projects FOR EACH ROW WHEN ((((old.id IS DISTINCT FROM new.id) OR (old.user_id IS DISTINCT FROM new.user_id)) AND row_security_active(('projects'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION refuse_foreign_write();
CREATE TRIGGER wastewise_bound BEFORE INSERT OR UPDATE ON public.projects FOR EACH ROW EXECUTE FUNCTION bound_project();
CREATE TRIGGER wastewise_quota BEFORE INSERT ON public.projects FOR EACH ROW WHEN ((row_security_active(('projects'::regclass)::oid) AND (CURRENT_USER <> 'service_role'::name))) EXECUTE FUNCTION quota_guard();

CREATE TABLE quota_uses (
    user_id uuid NOT NULL,
    asked bigint NOT NULL DEFAULT 1,
    jobs bigint,
    counted_at timestamp with time zone,
    CONSTRAINT quota_uses_pkey PRIMARY KEY (user_id)
) WITH (fillfactor=50);

ALTER TABLE quota_uses ENABLE ROW LEVEL SECURITY;

CREATE TABLE schema_info (
    only_row boolean NOT NULL DEFAULT true,
    schema_version integer NOT NULL DEFAULT 0,
    min_compatible integer NOT NULL DEFAULT 0,
    post_apply_hash text,
    adopted boolean NOT NULL,
    stuck_threshold interval NOT NULL DEFAULT '00:30:00'::interval,
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    adopted_alerts boolean NOT NULL,
    link_key bytea NOT NULL,
    rolled_up_until timestamp with time zone,
    round_due_at timestamp with time zone NOT NULL DEFAULT now(),
    round_until timestamp with time zone,
    transition_key text NOT NULL,
    quota_projects bigint NOT NULL DEFAULT 0,
    quota_stored_bytes bigint NOT NULL DEFAULT 0,
    quota_pending_jobs bigint NOT NULL DEFAULT 0,
    queue_walked_to uuid,
    jobs_walked_to uuid,
    jobs_repaired bigint NOT NULL DEFAULT 0,
    jobs_astray bigint NOT NULL DEFAULT 0,
    CONSTRAINT schema_info_pkey PRIMARY KEY (only_row),
    CONSTRAINT schema_info_only_row_check CHECK (only_row),
    CONSTRAINT schema_info_quota_pending_jobs_check CHECK ((quota_pending_jobs >= 0)),
    CONSTRAINT schema_info_quota_projects_check CHECK ((quota_projects >= 0)),
    CONSTRAINT schema_info_quota_stored_bytes_check CHECK ((quota_stored_bytes >= 0))
);

ALTER TABLE schema_info ENABLE ROW LEVEL SECURITY;

FUNCTION acknowledge_alert(_id uuid, _by uuid, _actor text, _note text DEFAULT NULL::text)
    RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION admit_inserted_job()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION admit_project()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION admit_project_file()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION admit_updated_job()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION alert_severity_rank(_severity text)
    RETURNS integer
    LANGUAGE sql;

FUNCTION asking_user(OUT known boolean, OUT user_id uuid)
    RETURNS record
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION assign_job_priority(user_id uuid, job_type text)
    RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION astray_jobs(_ids uuid[])
    RETURNS SETOF uuid
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off;

FUNCTION bin_seconds(_bin integer)
    RETURNS double precision
    LANGUAGE sql;

FUNCTION bound_project()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION bound_project_file()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION bounded_number(_number numeric, _most numeric)
    RETURNS numeric
    LANGUAGE sql;

FUNCTION bounded_time(_time timestamp with time zone)
    RETURNS timestamp with time zone
    LANGUAGE sql;

FUNCTION bring_within_limits(_ids uuid[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION calculate_error_rate(time_window interval DEFAULT '01:00:00'::interval)
    RETURNS double precision
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION cancel_job(_id uuid)
    RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION cancel_running_jobs(_ids uuid[], _fences bigint[])
    RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET lock_timeout=200ms;

FUNCTION check_foreign_job(_job_type text, _user_id uuid, _project_id uuid)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION check_job_json(_job analysis_jobs)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION check_job_names(_job_type text, _queue text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION check_updated_job()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION claim_alert_deliveries(_channel text, _ceiling integer, _digest_gap interval, _lease interval)
    RETURNS TABLE(alert_id uuid, fence bigint, round integer, notice text, digest boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION claim_jobs(_worker_id text, _queues text[], _job_types text[], _limit integer, _lease interval, _last_chance boolean DEFAULT true)
    RETURNS TABLE(id uuid, fence bigint, job_type text, queue text, user_id uuid, project_id uuid, input_data text, retry_count integer, max_retries integer, crash_count integer, timeout_seconds double precision, priority integer, created_at timestamp with time zone, waited_seconds double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET plan_cache_mode=force_generic_plan;

FUNCTION cleanup_old_analysis_jobs(days_to_keep integer DEFAULT 30)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION close_alerts(_ids uuid[], _actor text, _note text)
    RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION complete_jobs(_ids uuid[], _fences bigint[], _results text[], _ai_requests integer[] DEFAULT NULL::integer[], _ai_tokens_input bigint[] DEFAULT NULL::bigint[], _ai_tokens_output bigint[] DEFAULT NULL::bigint[], _ai_costs numeric[] DEFAULT NULL::numeric[])
    RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET plan_cache_mode=force_generic_plan
    SET lock_timeout=200ms;

FUNCTION default_job_priority(_job_type text)
    RETURNS integer
    LANGUAGE sql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION delete_or_hold(_table_name text, _rows tid[], _row_names text[])
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET lock_timeout=200ms;

FUNCTION detect_stuck_jobs(threshold_minutes integer DEFAULT 30)
    RETURNS TABLE(job_id uuid, started_at timestamp with time zone, duration_minutes double precision, job_type text, user_id uuid)
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION drop_forged_transition()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION due_kinds()
    RETURNS TABLE(queue text, job_type text, due_since timestamp with time zone, job_id uuid)
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION duration_bin(_seconds double precision)
    RETURNS integer
    LANGUAGE sql;

FUNCTION empty_job_queue()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION enqueue_jobs(_ids uuid[], _job_types text[], _inputs text[], _user_ids uuid[], _project_ids uuid[], _priorities integer[], _priority_reasons text[], _queues text[], _max_retries integer[], _timeouts double precision[], _run_at timestamp with time zone[], _idempotency_keys text[], _idempotency_hashes bytea[], _delays double precision[] DEFAULT NULL::double precision[])
    RETURNS TABLE("position" integer, id uuid, status text, priority integer, priority_reason text, created_at timestamp with time zone, disposition text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET lock_timeout=2s
    SET enable_seqscan=off;

FUNCTION error_rate(_failed bigint, _completed bigint)
    RETURNS double precision
    LANGUAGE sql
    SET search_path=pg_catalog, pg_temp;

FUNCTION fail_jobs(_ids uuid[], _fences bigint[], _messages text[], _codes text[], _details text[], _kinds text[])
    RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET lock_timeout=200ms;

FUNCTION fail_or_set_aside(_id uuid, _sqlstate text, _message text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION fail_these_unreadable(_ids uuid[], _why text)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET lock_timeout=200ms;

FUNCTION fail_unreadable_jobs(_ids uuid[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION failure_fingerprint(_job_type text, _code text, _message text)
    RETURNS text
    LANGUAGE sql;

FUNCTION finished_jobs(_from timestamp with time zone)
    RETURNS TABLE(completed bigint, failed bigint, cancelled bigint, timed bigint, run_seconds double precision)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION follow_job()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION get_next_job(worker_identifier text)
    RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION get_queue_metrics(time_zone text DEFAULT 'UTC'::text)
    RETURNS jsonb
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION has_long_numbers(_value jsonb, _bytes integer)
    RETURNS boolean
    LANGUAGE sql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION has_long_text(_value jsonb, _bytes integer)
    RETURNS boolean
    LANGUAGE sql;

FUNCTION heartbeat_jobs(_ids uuid[], _fences bigint[], _lease interval)
    RETURNS TABLE(id uuid, held boolean, cancel_requested boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET plan_cache_mode=force_generic_plan;

FUNCTION is_analysis(_job_type text)
    RETURNS boolean
    LANGUAGE sql;

FUNCTION is_first_analysis(_user_id uuid)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION is_trouble(_sqlstate text)
    RETURNS boolean
    LANGUAGE sql;

FUNCTION job_priority_reason(_job_type text, _priority integer, _first boolean)
    RETURNS text
    LANGUAGE sql;

FUNCTION job_trends(_window interval, _bucket interval)
    RETURNS TABLE(bucket_at timestamp with time zone, job_type text, completed bigint, failed bigint, cancelled bigint, retried bigint, wait_p50 double precision, wait_p95 double precision, run_p50 double precision, run_p95 double precision)
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION json_text(_value jsonb, _bytes integer)
    RETURNS text
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION keep_written_job()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION mark_finished_job()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION measured_seconds(_seconds anyelement)
    RETURNS double precision
    LANGUAGE sql;

FUNCTION merged_bins(_histograms jsonb[])
    RETURNS jsonb
    LANGUAGE sql;

FUNCTION mirror_jobs_to_projects(_ids uuid[])
    RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET lock_timeout=200ms;

FUNCTION note_external_worker(_worker_id text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION note_requeued_jobs(_ids uuid[])
    RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION plan_alert_deliveries(_types text[], _channels text[], _repeat_after interval)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION progress_jobs(_ids uuid[], _fences bigint[], _percents integer[], _steps text[], _steps_completed integer[], _total_steps integer[])
    RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET lock_timeout=200ms;

FUNCTION promote_due_jobs(_limit integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_hashjoin=off
    SET enable_mergejoin=off
    SET plan_cache_mode=force_generic_plan;

FUNCTION prune_alerts(_older_than interval, _limit integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION prune_jobs(_older_than interval, _limit integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION prune_rollups(_limit integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION queue_depths()
    RETURNS TABLE(queue text, job_type text, priority integer, state text, jobs bigint, oldest_due_at timestamp with time zone)
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION queue_jobs(_ids uuid[])
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION queue_rows(_ids uuid[])
    RETURNS TABLE(id uuid, queue text, job_type text, priority integer, created_at timestamp with time zone, retry_after timestamp with time zone, leased boolean, fence bigint, last_chance boolean)
    LANGUAGE sql;

FUNCTION queued_kinds()
    RETURNS TABLE(queue text, job_type text, priority integer, after timestamp with time zone)
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION quota_guard()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION quota_job_refusals(_users uuid[], _keys text[])
    RETURNS TABLE("position" integer, allowed bigint, used bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET lock_timeout=2s
    SET enable_seqscan=off;

FUNCTION quota_jobs_of(_user uuid, _wanted bigint, _allowed bigint)
    RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION quota_refusal(_user uuid, _projects bigint DEFAULT 0, _stored_bytes bigint DEFAULT 0, _jobs bigint DEFAULT 0)
    RETURNS TABLE(quota text, allowed bigint, used bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION raise_alert(_fingerprint text, _alert_type text, _severity text, _message text, _details jsonb DEFAULT '{}'::jsonb, _job_id uuid DEFAULT NULL::uuid, _occurrences bigint DEFAULT 1)
    RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION raise_failed_jobs(_ids uuid[])
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET lock_timeout=500ms;

FUNCTION raise_updated_jobs()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION readable_time(_moment timestamp with time zone)
    RETURNS timestamp with time zone
    LANGUAGE sql;

FUNCTION record_alert_deliveries(_channel text, _ids uuid[], _fences bigint[], _error text DEFAULT NULL::text, _final boolean DEFAULT false, _pause_seconds double precision DEFAULT 0, _refused text DEFAULT NULL::text)
    RETURNS TABLE(alert_id uuid, status text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION refuse_foreign_jobs()
    RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION refuse_foreign_write()
    RETURNS trigger
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION refused_changes(_old analysis_jobs, _sent analysis_jobs, _admitted analysis_jobs)
    RETURNS text
    LANGUAGE sql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION release_jobs(_ids uuid[], _fences bigint[])
    RETURNS SETOF uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET lock_timeout=200ms;

FUNCTION repair_a_step(_of_queue integer DEFAULT 20000, _of_jobs integer DEFAULT 5000)
    RETURNS TABLE(more integer, repaired integer, astray integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off;

FUNCTION repair_job_queue()
    RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION repair_jobs(_ids uuid[])
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET lock_timeout=200ms;

FUNCTION requeue_job(_id uuid)
    RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION requeued_job(_job analysis_jobs)
    RETURNS analysis_jobs
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION rescue_jobs(_limit integer)
    RETURNS TABLE(id uuid, job_type text, worker_id text, crash_count integer, settled text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off;

FUNCTION rescue_these_jobs(_ids uuid[])
    RETURNS TABLE(id uuid, job_type text, worker_id text, crash_count integer, settled text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off;

FUNCTION resolve_alert(_id uuid, _actor text, _note text DEFAULT NULL::text)
    RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION resolve_alerts(_fingerprints text[], _actor text DEFAULT 'check'::text)
    RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION resolve_failed_alerts()
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION retry_delay(_retry_count integer)
    RETURNS interval
    LANGUAGE sql;

FUNCTION retry_jobs(_ids uuid[], _fences bigint[], _messages text[], _codes text[], _details text[], _kinds text[], _least_delays double precision[])
    RETURNS TABLE(id uuid, settled text, retry_after timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off
    SET enable_bitmapscan=off
    SET enable_nestloop=off
    SET enable_mergejoin=off
    SET lock_timeout=200ms;

FUNCTION roll_up_jobs(_limit integer DEFAULT 20000)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION schedule_job_retry(job_id uuid, error_msg text, error_cd text DEFAULT NULL::text)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION seconds_since(_moment timestamp with time zone)
    RETURNS numeric
    LANGUAGE sql;

FUNCTION seconds_until_due()
    RETURNS double precision
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION seconds_until_rescue()
    RETURNS double precision
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off
    SET enable_seqscan=off;

FUNCTION set_aside(_id uuid, _why text)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION set_quotas(_projects bigint, _stored_bytes bigint, _pending_jobs bigint)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION snooze_alert(_id uuid, _until timestamp with time zone, _actor text, _note text DEFAULT NULL::text)
    RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION stuck_threshold()
    RETURNS interval
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION sum_within(_before bigint, _more bigint, _most bigint)
    RETURNS bigint
    LANGUAGE sql;

FUNCTION undelivered_alerts()
    RETURNS bigint
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION unfinished_jobs()
    RETURNS uuid[]
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION unreadable_column(_job analysis_jobs)
    RETURNS text
    LANGUAGE sql;

FUNCTION unserved_kinds(_silent_after interval DEFAULT '00:05:00'::interval, _due_for interval DEFAULT NULL::interval)
    RETURNS TABLE(queue text, job_type text, due_since timestamp with time zone, job_id uuid, says text)
    LANGUAGE sql SECURITY DEFINER
    SET search_path=pg_catalog, pg_temp
    SET jit=off;

FUNCTION with_error(_log jsonb, _entry jsonb)
    RETURNS jsonb
    LANGUAGE sql;
