-- Alerts: rows raised in the transaction that made them true, and the outbox that delivers them.
-- A job_alerts of an existing WasteWise database is adopted: columns are added, rows are kept.

ALTER TABLE schema_info
    ADD COLUMN adopted_alerts boolean NOT NULL DEFAULT (to_regclass('public.job_alerts') IS NOT NULL),
    -- Signs the links that acknowledge an alert: one process sends them, another one is asked.
    ADD COLUMN link_key bytea NOT NULL
        DEFAULT sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8'));

ALTER TABLE schema_info
    ALTER COLUMN adopted_alerts DROP DEFAULT,
    ALTER COLUMN link_key DROP DEFAULT;

DO $$
BEGIN
    PERFORM set_config(
        'wastewise.made',
        CASE WHEN to_regclass('public.job_alerts') IS NULL THEN 'job_alerts' ELSE '' END,
        true
    );
END
$$;

CREATE TABLE IF NOT EXISTS job_alerts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id uuid,
    alert_type text NOT NULL,
    severity text NOT NULL,
    message text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'::jsonb,
    notified_at timestamptz,
    notification_channels jsonb NOT NULL DEFAULT '[]'::jsonb,
    acknowledged_at timestamptz,
    acknowledged_by uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE job_alerts
    ADD COLUMN IF NOT EXISTS details jsonb DEFAULT '{}'::jsonb,
    ADD COLUMN IF NOT EXISTS notified_at timestamptz,
    ADD COLUMN IF NOT EXISTS notification_channels jsonb DEFAULT '[]'::jsonb,
    ADD COLUMN IF NOT EXISTS acknowledged_at timestamptz,
    ADD COLUMN IF NOT EXISTS acknowledged_by uuid,
    -- What has one alert at a time: the cause. Rows from before us have none.
    ADD COLUMN IF NOT EXISTS fingerprint text,
    ADD COLUMN IF NOT EXISTS occurrences bigint NOT NULL DEFAULT 1,
    ADD COLUMN IF NOT EXISTS last_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS acknowledged_note text,
    -- How many occurrences whoever acknowledged knew of: ten times as many are news.
    ADD COLUMN IF NOT EXISTS acknowledged_occurrences bigint,
    ADD COLUMN IF NOT EXISTS snoozed_until timestamptz,
    ADD COLUMN IF NOT EXISTS resolved_at timestamptz,
    -- The channels are told, or told again, after this moment; never where it is NULL.
    ADD COLUMN IF NOT EXISTS tell_after timestamptz;

-- What the existing table demands of its rows gives way to ours: an alert about a worker has no
-- job, whoever acknowledges with an API key may be no row of another table, and a job is pruned
-- whatever its alerts say.
DO $$
DECLARE
    _name text;
BEGIN
    FOR _name IN
        SELECT c.conname
        FROM pg_constraint c
        WHERE c.conrelid = 'public.job_alerts'::regclass
          AND ((c.contype = 'c' AND pg_get_constraintdef(c.oid) ~ '\m(alert_type|severity)\M')
               OR (c.contype = 'f' AND pg_get_constraintdef(c.oid) ~ '^FOREIGN KEY \(acknowledged_by\)')
               OR (c.contype = 'f' AND c.confdeltype IN ('a', 'r')))
    LOOP
        EXECUTE format('ALTER TABLE public.job_alerts DROP CONSTRAINT %I', _name);
    END LOOP;
    FOR _name IN
        SELECT a.attname
        FROM pg_attribute a
        WHERE a.attrelid = 'public.job_alerts'::regclass
          AND a.attnum > 0
          AND a.attnotnull
          AND NOT a.atthasdef
          AND NOT a.attisdropped
          AND a.attname NOT IN ('id', 'alert_type', 'severity', 'message')
          AND current_setting('wastewise.made') = ''
    LOOP
        EXECUTE format('ALTER TABLE public.job_alerts ALTER COLUMN %I DROP NOT NULL', _name);
    END LOOP;
END
$$;

-- Alerts from before us are history: nothing of ours would ever resolve them.
UPDATE job_alerts
SET resolved_at = coalesce(acknowledged_at, now()),
    created_at = coalesce(created_at, now()),
    last_seen_at = coalesce(created_at, now());

ALTER TABLE job_alerts
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL,
    ADD CONSTRAINT job_alerts_alert_type_check CHECK
        (alert_type IN ('job_failed', 'job_stuck', 'high_error_rate', 'worker_down')) NOT VALID,
    ADD CONSTRAINT job_alerts_severity_check CHECK
        (severity IN ('warning', 'error', 'critical')) NOT VALID,
    ADD CONSTRAINT job_alerts_life_check CHECK
        (occurrences > 0
         AND (fingerprint IS NOT NULL OR resolved_at IS NOT NULL)
         AND (resolved_at IS NULL OR tell_after IS NULL)) NOT VALID,
    SET (fillfactor = 50);

-- One alert per cause while it is open.
CREATE UNIQUE INDEX job_alerts_open ON job_alerts (fingerprint) WHERE resolved_at IS NULL;
CREATE INDEX job_alerts_to_tell ON job_alerts (tell_after) WHERE tell_after IS NOT NULL;
CREATE INDEX job_alerts_by_creation ON job_alerts (created_at, id);
CREATE INDEX job_alerts_by_job ON job_alerts (job_id) WHERE job_id IS NOT NULL;

-- The failed jobs that an alert counts. It resolves when each is settled: requeued and completed,
-- or discarded (cancelled, or deleted and gone from here with it).
CREATE TABLE job_alert_jobs (
    job_id uuid NOT NULL REFERENCES analysis_jobs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    alert_id uuid NOT NULL REFERENCES job_alerts (id) ON DELETE CASCADE,
    requeued boolean NOT NULL DEFAULT false,
    settled boolean NOT NULL DEFAULT false,
    PRIMARY KEY (job_id, alert_id),
    CONSTRAINT job_alert_jobs_settled CHECK (NOT (requeued AND settled))
);
CREATE INDEX job_alert_jobs_by_alert ON job_alert_jobs (alert_id, settled);
CREATE INDEX job_alert_jobs_requeued ON job_alert_jobs (job_id) WHERE requeued;

-- Jobs that a plain UPDATE is failing: filled row by row, emptied when its statement ends.
CREATE TABLE job_alert_failures (
    job_id uuid NOT NULL
);

-- The outbox: one row for each alert and channel, armed again for every notice, so that never two
-- deliveries of one alert to one channel are under way and their order is that of the notices.
CREATE TABLE job_alert_deliveries (
    alert_id uuid NOT NULL REFERENCES job_alerts (id) ON DELETE CASCADE,
    channel text NOT NULL,
    notice text NOT NULL CHECK (notice IN ('raised', 'reminder', 'acknowledged', 'resolved')),
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'sending', 'delivered', 'undelivered', 'skipped')),
    -- Counts the notices. What was claimed under an older one leaves the newer one owed.
    round integer NOT NULL DEFAULT 1,
    sent_round integer NOT NULL DEFAULT 0,
    -- Counts the claims: an outcome recorded under an older one changes nothing.
    fence bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    -- Pending: the next attempt. Sending: whoever sends is lost, and another may try.
    due_after timestamptz NOT NULL DEFAULT now(),
    -- The last delivery that the channel accepted.
    told_at timestamptz,
    last_error text,
    PRIMARY KEY (alert_id, channel)
) WITH (fillfactor = 70);
CREATE INDEX job_alert_deliveries_due ON job_alert_deliveries (channel, due_after)
    WHERE status IN ('pending', 'sending');
CREATE INDEX job_alert_deliveries_undelivered ON job_alert_deliveries (alert_id)
    WHERE status = 'undelivered';

-- What all processes know of a channel: how much of the hour's ceiling is used, and until when
-- it wants to be left alone.
CREATE TABLE job_alert_channels (
    channel text PRIMARY KEY,
    hour_started_at timestamptz NOT NULL DEFAULT now(),
    sent integer NOT NULL DEFAULT 0,
    digest_at timestamptz,
    paused_until timestamptz
) WITH (fillfactor = 50);

CREATE TABLE job_alert_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    alert_id uuid NOT NULL REFERENCES job_alerts (id) ON DELETE CASCADE,
    event text NOT NULL CHECK (event IN (
        'raised', 'reopened', 'worsened', 'acknowledged', 'snoozed', 'resolved', 'delivered',
        'delivery_failed', 'undelivered')),
    channel text,
    actor text,
    note text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX job_alert_history_by_alert ON job_alert_history (alert_id, created_at);

ALTER TABLE job_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_alert_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_alert_failures ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_alert_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_alert_channels ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_alert_history ENABLE ROW LEVEL SECURITY;

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
