-- Alerts are raised once for each cause and told until they are dealt with. A cause has a
-- fingerprint; while its alert is open, whatever else is seen of it only counts.
-- Alert rows are locked last, after jobs and projects, and in the order of their fingerprints.

CREATE OR REPLACE FUNCTION alert_severity_rank(_severity text)
RETURNS integer
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT array_position(ARRAY['warning', 'error', 'critical'], _severity)
$$;

-- raise_alert: nothing or open -> open. Returns the alert's id.
-- `_occurrences` is how many more were seen: a condition that merely still holds is seen 0 more.
-- An acknowledged alert stays quiet until its severity rises or it has been seen ten times as
-- often as whoever acknowledged it knew: then it is open again and is told.
CREATE OR REPLACE FUNCTION raise_alert(
    _fingerprint text,
    _alert_type text,
    _severity text,
    _message text,
    _details jsonb DEFAULT '{}',
    _job_id uuid DEFAULT NULL,
    _occurrences bigint DEFAULT 1
)
RETURNS uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    _id uuid;
    _old job_alerts;
    _worse boolean;
    _reopened boolean;
BEGIN
    LOOP
        SELECT a.* INTO _old
        FROM job_alerts a
        WHERE a.fingerprint = _fingerprint
          AND a.resolved_at IS NULL
        FOR NO KEY UPDATE;
        EXIT WHEN FOUND;

        INSERT INTO job_alerts (
            fingerprint, job_id, alert_type, severity, message, details, occurrences, tell_after
        )
        VALUES (
            _fingerprint, _job_id, _alert_type, _severity, left(_message, 1000),
            coalesce(_details, '{}'), greatest(_occurrences, 1), now()
        )
        ON CONFLICT DO NOTHING
        RETURNING id INTO _id;
        IF FOUND THEN
            INSERT INTO job_alert_history (alert_id, event) VALUES (_id, 'raised');
            RETURN _id;
        END IF;
        -- Somebody else raised it a moment ago: it is there at the next look, or resolved again.
    END LOOP;

    _worse := alert_severity_rank(_severity) > alert_severity_rank(_old.severity);
    _reopened := _old.acknowledged_at IS NOT NULL AND (
        _worse OR _old.occurrences + _occurrences >= 10 * _old.acknowledged_occurrences
    );
    UPDATE job_alerts
    SET occurrences = occurrences + _occurrences,
        last_seen_at = now(),
        severity = CASE WHEN _worse THEN _severity ELSE severity END,
        message = left(_message, 1000),
        details = coalesce(details, '{}') || coalesce(_details, '{}')
    WHERE id = _old.id;
    IF _reopened OR (_worse AND coalesce(_old.snoozed_until <= now(), true)) THEN
        UPDATE job_alerts
        SET acknowledged_at = NULL,
            acknowledged_by = NULL,
            acknowledged_note = NULL,
            acknowledged_occurrences = NULL,
            tell_after = now()
        WHERE id = _old.id;
        INSERT INTO job_alert_history (alert_id, event)
        VALUES (_old.id, CASE WHEN _reopened THEN 'reopened' ELSE 'worsened' END);
    END IF;
    RETURN _old.id;
END
$$;

-- failure_fingerprint: what two failures have in common that are one cause: job type, error code
-- and message, whatever ids, numbers and quoted names stand in it.
CREATE OR REPLACE FUNCTION failure_fingerprint(_job_type text, _code text, _message text)
RETURNS text
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT 'job_failed:' || _job_type || ':' || md5(coalesce(_code, '') || ' ' || regexp_replace(
        regexp_replace(
            left(coalesce(_message, ''), 300),
            '''[^'']*''|"[^"]*"|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\m[0-9a-fA-F]{12,}\M', '#', 'g'),
        '[0-9]+', '#', 'g'))
$$;

-- raise_failed_jobs: counts these failed jobs, one alert for each cause. The caller holds them.
-- With fifty causes open for one job type, those beyond share an alert. Whoever fails jobs of the
-- same cause meets here and waits its turn, still for less than anybody's deadlock_timeout.
CREATE OR REPLACE FUNCTION raise_failed_jobs(_ids uuid[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
SET lock_timeout = '500ms'
AS $$
DECLARE
    _cause record;
    _fingerprint text;
    _alert uuid;
BEGIN
    FOR _cause IN
        SELECT
            f.fingerprint,
            count(*) AS failures,
            array_agg(f.id) AS ids,
            -- One of them speaks for all.
            max(f.id::text)::uuid AS id
        FROM (
            SELECT
                a.id,
                failure_fingerprint(a.job_type, a.error_code, a.error_message) AS fingerprint
            FROM analysis_jobs a
            WHERE a.id = ANY (_ids)
              AND a.status = 'failed'
        ) AS f
        GROUP BY f.fingerprint
        ORDER BY f.fingerprint
    LOOP
        _fingerprint := _cause.fingerprint;
        IF NOT EXISTS (
            SELECT 1 FROM job_alerts a WHERE a.fingerprint = _fingerprint AND a.resolved_at IS NULL
        ) AND (
            SELECT count(*) >= 50
            FROM job_alerts a
            WHERE a.resolved_at IS NULL
              AND a.alert_type = 'job_failed'
              AND starts_with(a.fingerprint, left(_fingerprint, -32))
        ) THEN
            _fingerprint := left(_fingerprint, -32) || 'others';
        END IF;
        SELECT raise_alert(
            _fingerprint,
            'job_failed',
            'error',
            format('%s failed: %s', j.job_type,
                   coalesce(nullif(left(j.error_message, 500), ''), j.error_code, 'no message')),
            jsonb_strip_nulls(jsonb_build_object(
                'job_type', j.job_type,
                'queue', j.queue,
                'last_job_id', j.id,
                'user_id', j.user_id,
                'project_id', j.project_id,
                'error_code', j.error_code,
                'error_message', left(j.error_message, 2000),
                'attempts', j.retry_count + 1,
                'max_retries', j.max_retries,
                'crashes', nullif(j.crash_count, 0),
                'worker_id', j.worker_id
            )),
            j.id,
            _cause.failures
        )
        INTO _alert
        FROM analysis_jobs j
        WHERE j.id = _cause.id;
        INSERT INTO job_alert_jobs AS c (job_id, alert_id)
        SELECT i.id, _alert
        FROM unnest(_cause.ids) AS i (id)
        ORDER BY i.id
        ON CONFLICT (job_id, alert_id) DO UPDATE
        SET requeued = false,
            settled = false
        WHERE c.requeued OR c.settled;
    END LOOP;
END
$$;

-- raise_updated_jobs: what plain UPDATEs failed, when their statement ends: in one go, so that
-- alerts are locked in order and ten thousand rows are one change of their alert.
CREATE OR REPLACE FUNCTION raise_updated_jobs()
RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    _ids uuid[];
BEGIN
    -- Set by follow_job: nobody looks for nothing. Rows that others are writing are not seen.
    IF current_setting('wastewise.failures', true) = 'on' THEN
        PERFORM set_config('wastewise.failures', 'off', true);
        WITH gone AS (
            DELETE FROM job_alert_failures RETURNING job_id
        )
        SELECT array_agg(g.job_id) INTO _ids FROM gone g;
        PERFORM raise_failed_jobs(_ids);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER wastewise_raise_updated
AFTER UPDATE ON analysis_jobs
FOR EACH STATEMENT
WHEN (current_setting('wastewise.transition', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION raise_updated_jobs();

-- note_requeued_jobs: these failed jobs go round again: their alerts look what becomes of them.
CREATE OR REPLACE FUNCTION note_requeued_jobs(_ids uuid[])
RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
    UPDATE job_alert_jobs c
    SET requeued = true
    WHERE c.job_id = ANY (_ids)
      AND NOT c.requeued
      AND NOT c.settled
$$;

-- close_alerts: open -> resolved, whatever it waits for. Channels that were told are told of it.
-- Returns the ids that it resolved.
CREATE OR REPLACE FUNCTION close_alerts(_ids uuid[], _actor text, _note text)
RETURNS SETOF uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    _closed uuid[];
BEGIN
    WITH locked AS MATERIALIZED (
        SELECT a.id
        FROM job_alerts a
        WHERE a.id = ANY (_ids)
          AND a.resolved_at IS NULL
        ORDER BY a.fingerprint
        FOR UPDATE
    ),
    won AS (
        UPDATE job_alerts a
        SET resolved_at = now(),
            snoozed_until = NULL,
            tell_after = NULL
        WHERE a.id IN (SELECT l.id FROM locked l)
        RETURNING a.id
    )
    SELECT coalesce(array_agg(w.id), '{}') INTO _closed FROM won w;
    INSERT INTO job_alert_history (alert_id, event, actor, note)
    SELECT c.id, 'resolved', _actor, _note
    FROM unnest(_closed) AS c (id);
    -- Whoever is sending may have told it: its record finds a newer notice owed.
    UPDATE job_alert_deliveries d
    SET notice = 'resolved',
        round = d.round + 1,
        attempts = CASE WHEN d.status = 'sending' THEN d.attempts ELSE 0 END,
        due_after = CASE WHEN d.status = 'sending' THEN d.due_after ELSE now() END,
        status = CASE
            WHEN d.status = 'sending' THEN 'sending'
            WHEN d.told_at IS NULL THEN 'skipped'
            ELSE 'pending'
        END
    WHERE d.alert_id = ANY (_closed);
    RETURN QUERY SELECT unnest(_closed);
END
$$;

-- resolve_alerts: the causes with these fingerprints are gone; how many alerts that resolved.
CREATE OR REPLACE FUNCTION resolve_alerts(_fingerprints text[], _actor text DEFAULT 'check')
RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
    SELECT count(*)::integer
    FROM close_alerts(
        ARRAY (
            SELECT a.id
            FROM job_alerts a
            WHERE a.fingerprint = ANY (_fingerprints)
              AND a.resolved_at IS NULL
        ),
        _actor,
        NULL
    )
$$;

-- resolve_failed_alerts: resolves each job_failed whose jobs are all settled; how many that were.
-- Jobs are looked at, never locked: a transition that fails one of them again counts it again.
CREATE OR REPLACE FUNCTION resolve_failed_alerts()
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    _open uuid[];
BEGIN
    UPDATE job_alert_jobs c
    SET requeued = false,
        settled = true
    FROM analysis_jobs j
    WHERE c.requeued
      AND j.id = c.job_id
      AND j.status IN ('completed', 'cancelled');
    -- Locked before it is asked whether a job is left: a failure that waits for the lock finds the
    -- alert resolved and raises another.
    _open := ARRAY (
        SELECT a.id
        FROM job_alerts a
        WHERE a.resolved_at IS NULL
          AND a.alert_type = 'job_failed'
          AND NOT EXISTS (
              SELECT 1 FROM job_alert_jobs c WHERE c.alert_id = a.id AND NOT c.settled
          )
        ORDER BY a.fingerprint
        FOR UPDATE SKIP LOCKED
    );
    RETURN count(*)
    FROM close_alerts(
        ARRAY (
            SELECT o.id
            FROM unnest(_open) AS o (id)
            WHERE NOT EXISTS (
                SELECT 1 FROM job_alert_jobs c WHERE c.alert_id = o.id AND NOT c.settled
            )
        ),
        'jobs settled',
        NULL
    );
END
$$;

-- resolve_alert: open -> resolved, by a person. Returns resolved, also where it was, or null when
-- there is no such alert.
CREATE OR REPLACE FUNCTION resolve_alert(_id uuid, _actor text, _note text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
BEGIN
    PERFORM close_alerts(ARRAY[_id], _actor, _note);
    RETURN (SELECT 'resolved' FROM job_alerts a WHERE a.id = _id);
END
$$;

-- acknowledge_alert: open -> acknowledged: somebody knows, and it stays quiet. Returns acknowledged
-- | resolved (too late, nothing changed), or null when there is no such alert.
CREATE OR REPLACE FUNCTION acknowledge_alert(
    _id uuid,
    _by uuid,
    _actor text,
    _note text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
BEGIN
    UPDATE job_alerts
    SET acknowledged_at = now(),
        acknowledged_by = _by,
        acknowledged_note = _note,
        acknowledged_occurrences = occurrences,
        snoozed_until = NULL,
        tell_after = NULL
    WHERE id = _id
      AND resolved_at IS NULL;
    IF NOT FOUND THEN
        RETURN (SELECT 'resolved' FROM job_alerts a WHERE a.id = _id);
    END IF;
    INSERT INTO job_alert_history (alert_id, event, actor, note)
    VALUES (_id, 'acknowledged', _actor, _note);
    -- Who is reminded no more needs no reminder that is still on its way; and the channel that
    -- pages people is told that one of them is awake.
    UPDATE job_alert_deliveries
    SET status = 'skipped'
    WHERE alert_id = _id
      AND notice = 'reminder'
      AND status IN ('pending', 'undelivered');
    UPDATE job_alert_deliveries
    SET notice = 'acknowledged',
        round = round + 1,
        attempts = CASE WHEN status = 'sending' THEN attempts ELSE 0 END,
        due_after = CASE WHEN status = 'sending' THEN due_after ELSE now() END,
        status = CASE WHEN status = 'sending' THEN status ELSE 'pending' END
    WHERE alert_id = _id
      AND channel = 'pagerduty'
      AND (told_at IS NOT NULL OR status = 'sending');
    RETURN 'acknowledged';
END
$$;

-- snooze_alert: open or acknowledged -> quiet until then, and told again if it is still open.
-- Returns snoozed | resolved (too late, nothing changed), or null when there is no such alert.
CREATE OR REPLACE FUNCTION snooze_alert(
    _id uuid,
    _until timestamptz,
    _actor text,
    _note text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
BEGIN
    UPDATE job_alerts
    SET snoozed_until = _until,
        tell_after = _until,
        acknowledged_at = NULL,
        acknowledged_by = NULL,
        acknowledged_note = NULL,
        acknowledged_occurrences = NULL
    WHERE id = _id
      AND resolved_at IS NULL;
    IF NOT FOUND THEN
        RETURN (SELECT 'resolved' FROM job_alerts a WHERE a.id = _id);
    END IF;
    INSERT INTO job_alert_history (alert_id, event, actor, note)
    VALUES (_id, 'snoozed', _actor, _note);
    UPDATE job_alert_deliveries
    SET status = 'skipped'
    WHERE alert_id = _id
      AND notice = 'reminder'
      AND status IN ('pending', 'undelivered');
    RETURN 'snoozed';
END
$$;

-- plan_alert_deliveries: puts every alert that is to be told into the outbox of the channels that
-- these (type, channel) pairs name, and says when it is told again; how many alerts.
-- A notice that is still on its way is not doubled.
CREATE OR REPLACE FUNCTION plan_alert_deliveries(
    _types text[],
    _channels text[],
    _repeat_after interval
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    _due uuid[] := ARRAY (
        SELECT a.id
        FROM job_alerts a
        WHERE a.tell_after <= now()
        ORDER BY a.tell_after
        LIMIT 1000
        FOR NO KEY UPDATE SKIP LOCKED
    );
BEGIN
    IF cardinality(_due) = 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO job_alert_deliveries AS d (alert_id, channel, notice)
    SELECT a.id, r.channel, 'raised'
    FROM job_alerts a
    JOIN unnest(_types, _channels) AS r (alert_type, channel) ON r.alert_type = a.alert_type
    WHERE a.id = ANY (_due)
      -- Nobody is paged for less.
      AND (r.channel <> 'pagerduty' OR a.severity = 'critical')
    ON CONFLICT (alert_id, channel) DO UPDATE
    SET notice = CASE WHEN d.told_at IS NULL THEN 'raised' ELSE 'reminder' END,
        round = d.round + 1,
        status = 'pending',
        attempts = 0,
        due_after = now()
    WHERE d.status NOT IN ('pending', 'sending');
    UPDATE job_alerts a
    SET tell_after = CASE WHEN _repeat_after > interval '0' THEN now() + _repeat_after END
    WHERE a.id = ANY (_due);
    RETURN cardinality(_due);
END
$$;

-- claim_alert_deliveries: pending -> sending, for one message of one channel; nobody else sends
-- these before _lease is over. Several rows are one digest: what waits is more than the hour's
-- ceiling has room for. With the ceiling reached, a digest goes out every _digest_gap.
CREATE OR REPLACE FUNCTION claim_alert_deliveries(
    _channel text,
    _ceiling integer,
    _digest_gap interval,
    _lease interval
)
RETURNS TABLE (alert_id uuid, fence bigint, round integer, notice text, digest boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _state job_alert_channels;
    _due uuid[];
    _left integer;
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM job_alert_deliveries d
        WHERE d.channel = _channel
          AND d.status IN ('pending', 'sending')
          AND d.due_after <= now()
    ) THEN
        RETURN;
    END IF;
    INSERT INTO job_alert_channels (channel) VALUES (_channel) ON CONFLICT DO NOTHING;
    SELECT c.* INTO _state
    FROM job_alert_channels c
    WHERE c.channel = _channel
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR _state.paused_until > now() THEN
        RETURN;
    END IF;
    IF _state.hour_started_at <= now() - interval '1 hour' THEN
        _state.hour_started_at := now();
        _state.sent := 0;
    END IF;
    _left := _ceiling - _state.sent;
    _due := ARRAY (
        SELECT d.alert_id
        FROM job_alert_deliveries d
        JOIN job_alerts a ON a.id = d.alert_id
        WHERE d.channel = _channel
          AND d.status IN ('pending', 'sending')
          AND d.due_after <= now()
        ORDER BY alert_severity_rank(a.severity) DESC, d.due_after, d.alert_id
        LIMIT 1000
        FOR UPDATE OF d SKIP LOCKED
    );
    IF cardinality(_due) = 0 THEN
        RETURN;
    ELSIF cardinality(_due) <= _left THEN
        _due := _due[1:1];
    ELSIF _left > 0 OR coalesce(_state.digest_at <= now() - _digest_gap, true) THEN
        _state.digest_at := now();
    ELSE
        RETURN;
    END IF;
    UPDATE job_alert_channels c
    SET hour_started_at = _state.hour_started_at,
        sent = _state.sent + 1,
        digest_at = _state.digest_at
    WHERE c.channel = _channel;
    RETURN QUERY
    UPDATE job_alert_deliveries d
    SET status = 'sending',
        fence = d.fence + 1,
        sent_round = d.round,
        attempts = d.attempts + 1,
        due_after = now() + _lease
    WHERE d.channel = _channel
      AND d.alert_id = ANY (_due)
    RETURNING d.alert_id, d.fence, d.round, d.notice, cardinality(_due) > 1;
END
$$;

-- record_alert_deliveries: sending -> delivered, or with an error -> pending after a while, or
-- undelivered after ten attempts or where another one is pointless. After an error the channel is
-- left alone for _pause_seconds. Returns what each came to; a row claimed by somebody else since,
-- none.
CREATE OR REPLACE FUNCTION record_alert_deliveries(
    _channel text,
    _ids uuid[],
    _fences bigint[],
    _error text DEFAULT NULL,
    _final boolean DEFAULT false,
    _pause_seconds double precision DEFAULT 0
)
RETURNS TABLE (alert_id uuid, status text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _recorded record;
BEGIN
    -- Before the rows of the outbox, as whoever resolves takes them.
    PERFORM 1
    FROM job_alerts a
    WHERE a.id = ANY (_ids)
    ORDER BY a.fingerprint
    FOR NO KEY UPDATE;
    FOR _recorded IN
        UPDATE job_alert_deliveries d
        SET status = CASE
                WHEN d.round <> d.sent_round THEN
                    CASE
                        WHEN _error IS NOT NULL AND d.told_at IS NULL AND d.notice <> 'raised'
                        THEN 'skipped'
                        ELSE 'pending'
                    END
                WHEN _error IS NULL THEN 'delivered'
                WHEN _final OR d.attempts >= 10 THEN 'undelivered'
                ELSE 'pending'
            END,
            attempts = CASE WHEN d.round <> d.sent_round THEN 0 ELSE d.attempts END,
            due_after = CASE
                WHEN d.round <> d.sent_round OR _error IS NULL THEN now()
                ELSE now() + make_interval(secs => (
                    (ARRAY[10, 30, 60, 120, 300, 600, 1200, 1800])[least(d.attempts, 8)]
                ) * (1 + random() * 0.1))
            END,
            told_at = CASE WHEN _error IS NULL THEN now() ELSE d.told_at END,
            last_error = left(_error, 500)
        FROM unnest(_ids, _fences) AS g (alert_id, fence)
        WHERE d.channel = _channel
          AND d.alert_id = g.alert_id
          AND d.fence = g.fence
          AND d.status = 'sending'
        RETURNING d.alert_id, d.status
    LOOP
        INSERT INTO job_alert_history (alert_id, event, channel, note)
        VALUES (
            _recorded.alert_id,
            CASE
                WHEN _error IS NULL THEN 'delivered'
                WHEN _recorded.status = 'undelivered' THEN 'undelivered'
                ELSE 'delivery_failed'
            END,
            _channel,
            left(_error, 500)
        );
        alert_id := _recorded.alert_id;
        status := _recorded.status;
        RETURN NEXT;
    END LOOP;
    IF _error IS NULL THEN
        UPDATE job_alerts a
        SET notified_at = now(),
            notification_channels = CASE
                WHEN a.notification_channels ? _channel THEN a.notification_channels
                ELSE coalesce(a.notification_channels, '[]') || to_jsonb(_channel)
            END
        WHERE a.id = ANY (_ids);
    END IF;
    UPDATE job_alert_channels c
    SET sent = CASE WHEN _error IS NULL THEN c.sent ELSE greatest(c.sent - 1, 0) END,
        paused_until = CASE
            WHEN _error IS NOT NULL THEN now() + make_interval(secs => _pause_seconds)
        END
    WHERE c.channel = _channel;
END
$$;

-- prune_alerts: deletes up to _limit alerts that were resolved longer ago than _older_than, with
-- their history; how many.
CREATE OR REPLACE FUNCTION prune_alerts(_older_than interval, _limit integer)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = public, pg_temp
SET jit = off
AS $$
DECLARE
    _pruned integer;
BEGIN
    DELETE FROM job_alerts a
    WHERE a.id = ANY (ARRAY (
        SELECT o.id
        FROM job_alerts o
        WHERE o.created_at < now() - _older_than
          AND o.resolved_at < now() - _older_than
        ORDER BY o.created_at, o.id
        LIMIT _limit
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS _pruned = ROW_COUNT;
    RETURN _pruned;
END
$$;
