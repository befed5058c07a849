DROP TRIGGER IF EXISTS wastewise_raise_updated ON analysis_jobs;

DO $$
DECLARE
    _function text;
BEGIN
    FOR _function IN
        SELECT p.oid::regprocedure::text
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname IN (
              'alert_severity_rank', 'raise_alert', 'failure_fingerprint', 'raise_failed_jobs',
              'raise_updated_jobs', 'note_requeued_jobs', 'close_alerts', 'resolve_alerts',
              'resolve_alert', 'resolve_failed_alerts', 'acknowledge_alert', 'snooze_alert',
              'plan_alert_deliveries', 'claim_alert_deliveries', 'record_alert_deliveries',
              'prune_alerts')
    LOOP
        EXECUTE 'DROP FUNCTION ' || _function;
    END LOOP;
END
$$;

DROP TABLE IF EXISTS job_alert_history;
DROP TABLE IF EXISTS job_alert_channels;
DROP TABLE IF EXISTS job_alert_deliveries;
DROP TABLE IF EXISTS job_alert_failures;
DROP TABLE IF EXISTS job_alert_jobs;

-- The alerts of an adopted database were there before us.
DO $$
BEGIN
    IF NOT (SELECT s.adopted_alerts FROM schema_info s) THEN
        DROP TABLE IF EXISTS job_alerts;
    ELSE
        DROP INDEX IF EXISTS job_alerts_by_job;
        DROP INDEX IF EXISTS job_alerts_by_creation;
        ALTER TABLE job_alerts
            DROP CONSTRAINT IF EXISTS job_alerts_alert_type_check,
            DROP CONSTRAINT IF EXISTS job_alerts_severity_check,
            DROP CONSTRAINT IF EXISTS job_alerts_life_check,
            DROP COLUMN IF EXISTS fingerprint,
            DROP COLUMN IF EXISTS occurrences,
            DROP COLUMN IF EXISTS last_seen_at,
            DROP COLUMN IF EXISTS acknowledged_note,
            DROP COLUMN IF EXISTS acknowledged_occurrences,
            DROP COLUMN IF EXISTS snoozed_until,
            DROP COLUMN IF EXISTS resolved_at,
            DROP COLUMN IF EXISTS tell_after;
    END IF;
END
$$;

ALTER TABLE schema_info
    DROP COLUMN IF EXISTS adopted_alerts,
    DROP COLUMN IF EXISTS link_key;
