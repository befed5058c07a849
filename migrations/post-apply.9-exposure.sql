-- Who may do what, the version that this release is, and the rows that were here before it.

DO $$
DECLARE
    _ours text[] := ARRAY[
        'is_first_analysis', 'assign_job_priority', 'enqueue_jobs', 'promote_due_jobs',
        'quota_refusal', 'quota_job_refusals', 'quota_jobs_of', 'quota_guard', 'set_quotas',
        'claim_jobs', 'get_next_job', 'heartbeat_jobs', 'progress_jobs',
        'mirror_jobs_to_projects', 'complete_jobs', 'retry_jobs', 'fail_jobs', 'release_jobs',
        'cancel_running_jobs', 'cancel_job', 'requeue_job', 'schedule_job_retry', 'queue_jobs',
        'rescue_jobs', 'rescue_these_jobs', 'repair_job_queue', 'prune_jobs', 'cleanup_old_analysis_jobs',
        'queued_kinds', 'seconds_until_due', 'seconds_until_rescue', 'stuck_threshold', 'default_job_priority',
        'is_analysis', 'job_priority_reason', 'retry_delay', 'with_error',
        'drop_forged_transition', 'keep_written_job',
        'check_job_names', 'check_job_json', 'check_updated_job', 'follow_job', 'empty_job_queue',
        'bounded_time', 'bounded_number', 'bound_project', 'bound_project_file', 'asking_user',
        'check_foreign_job', 'admit_inserted_job', 'refused_changes', 'requeued_job',
        'admit_updated_job', 'refuse_foreign_write', 'refuse_foreign_jobs', 'admit_project',
        'admit_project_file',
        'alert_severity_rank', 'raise_alert', 'failure_fingerprint', 'raise_failed_jobs',
        'raise_updated_jobs', 'note_requeued_jobs', 'close_alerts', 'resolve_alerts',
        'resolve_alert', 'resolve_failed_alerts', 'acknowledge_alert', 'snooze_alert',
        'plan_alert_deliveries', 'claim_alert_deliveries', 'record_alert_deliveries', 'prune_alerts',
        'mark_finished_job', 'duration_bin', 'bin_seconds', 'merged_bins',
        'roll_up_jobs', 'finished_jobs', 'job_trends', 'queue_depths', 'get_queue_metrics',
        'calculate_error_rate', 'detect_stuck_jobs', 'error_rate', 'undelivered_alerts',
        'note_external_worker', 'due_kinds', 'unserved_kinds', 'delete_or_hold',
        'prune_rollups',
        'readable_time', 'seconds_since', 'measured_seconds', 'has_long_numbers', 'json_text', 'has_long_text',
        'unreadable_column', 'is_trouble', 'bring_within_limits', 'fail_these_unreadable',
        'fail_unreadable_jobs', 'fail_or_set_aside', 'set_aside', 'sum_within', 'queue_rows',
        'unfinished_jobs', 'astray_jobs', 'repair_jobs', 'repair_a_step'
    ];
    _tables text[] := ARRAY[
        'schema_info', 'quota_uses', 'job_queue', 'job_types', 'job_workers', 'project_file_contents',
        'job_rows', 'job_reports', 'api_keys', 'job_alert_jobs', 'job_alert_failures',
        'job_alert_deliveries', 'job_alert_channels', 'job_alert_history', 'job_rollups',
        'job_rollup_marks', 'job_prune_holds'
    ];
    _role text;
    _object text;
    _acknowledges boolean;
BEGIN
    FOR _object IN
        SELECT p.oid::regprocedure::text
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname = ANY (_ours)
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', _object);
        FOR _role IN SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated') LOOP
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %I', _object, _role);
        END LOOP;
        IF EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolname = 'service_role') THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', _object);
        END IF;
    END LOOP;
    -- The books of the migrations too: whoever may write them decides what is applied again.
    FOREACH _object IN ARRAY _tables || ARRAY (
        SELECT c.relname::text
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relkind = 'r'
          AND c.relname IN ('_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock')
    ) LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', _object);
        EXECUTE format('REVOKE ALL ON TABLE public.%I FROM PUBLIC', _object);
        FOR _role IN SELECT r.rolname FROM pg_roles r WHERE r.rolname IN ('anon', 'authenticated') LOOP
            EXECUTE format('REVOKE ALL ON TABLE public.%I FROM %I', _object, _role);
        END LOOP;
    END LOOP;
    -- GRANT ALL lets its grantees hang triggers on a table, with a function of their pg_temp, and our
    -- functions would run it as the owner. TRUNCATE knows no policies.
    FOR _object, _role IN
        SELECT DISTINCT c.relname::text, coalesce(quote_ident(r.rolname), 'PUBLIC')
        FROM pg_class c
        CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        LEFT JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.relnamespace = 'public'::regnamespace
          AND c.relname IN ('projects', 'project_files', 'analysis_jobs', 'job_alerts')
          AND a.privilege_type IN ('TRIGGER', 'REFERENCES', 'TRUNCATE')
          AND a.grantee <> c.relowner
          AND coalesce(NOT r.rolsuper AND NOT r.rolbypassrls AND r.rolname <> 'service_role', true)
    LOOP
        EXECUTE format('REVOKE TRIGGER, REFERENCES, TRUNCATE ON TABLE public.%I FROM %s', _object, _role);
    END LOOP;
    -- What an alert says is not for users to say; that they know of it is, where a policy lets them.
    FOR _role, _acknowledges IN
        SELECT r.rolname, has_column_privilege(r.oid, 'public.job_alerts', 'acknowledged_at', 'UPDATE')
        FROM pg_roles r
        WHERE r.rolname IN ('anon', 'authenticated')
    LOOP
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON TABLE public.job_alerts FROM %I', _role);
        IF _acknowledges THEN
            EXECUTE format(
                'GRANT UPDATE (acknowledged_at, acknowledged_by) ON TABLE public.job_alerts TO %I', _role
            );
        END IF;
    END LOOP;
END
$$;

UPDATE public.schema_info
SET schema_version = 1,
    min_compatible = 1,
    updated_at = now();

-- Jobs of an adopted database enter the queue here: pending ones as they are, processing ones
-- under a lease of the stuck threshold.
SELECT public.repair_job_queue();
