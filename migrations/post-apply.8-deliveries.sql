-- The outbox of alerts: planned by whoever looks first, claimed by one, recorded under its fence.
-- The alert's row is locked before those of its deliveries, and nobody waits for a channel's.

-- plan_alert_deliveries: puts every alert that is to be told into the outbox of the channels that
-- these (type, channel) pairs name, and says when it is told again; how many alerts.
-- A notice that is still on its way is not doubled.
CREATE OR REPLACE FUNCTION public.plan_alert_deliveries(
    _types text[],
    _channels text[],
    _repeat_after interval
)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
    _due uuid[] := ARRAY (
        SELECT a.id
        FROM public.job_alerts a
        WHERE a.tell_after <= now()
        ORDER BY a.tell_after
        LIMIT 1000
        FOR NO KEY UPDATE SKIP LOCKED
    );
BEGIN
    IF cardinality(_due) = 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO public.job_alert_deliveries AS d (alert_id, channel, notice)
    SELECT a.id, r.channel, 'raised'
    FROM public.job_alerts a
    JOIN unnest(_types, _channels) AS r (alert_type, channel) ON r.alert_type = a.alert_type
    WHERE a.id = ANY (_due)
    ON CONFLICT (alert_id, channel) DO UPDATE
    SET notice = CASE WHEN d.told_at IS NULL THEN 'raised' ELSE 'reminder' END,
        round = d.round + 1,
        status = 'pending',
        attempts = 0,
        due_after = now()
    WHERE d.status NOT IN ('pending', 'sending');
    UPDATE public.job_alerts a
    SET tell_after = CASE WHEN _repeat_after > interval '0' THEN now() + _repeat_after END
    WHERE a.id = ANY (_due);
    RETURN cardinality(_due);
END
$$;

-- claim_alert_deliveries: pending -> sending, for one message of one channel; nobody else sends
-- these before _lease is over. Several rows are one digest: what waits is more than the hour's
-- ceiling has room for. With the ceiling reached, a digest goes out every _digest_gap.
CREATE OR REPLACE FUNCTION public.claim_alert_deliveries(
    _channel text,
    _ceiling integer,
    _digest_gap interval,
    _lease interval
)
RETURNS TABLE (alert_id uuid, fence bigint, round integer, notice text, digest boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _state public.job_alert_channels;
    _due uuid[];
    _left integer;
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM public.job_alert_deliveries d
        WHERE d.channel = _channel
          AND d.status IN ('pending', 'sending')
          AND d.due_after <= now()
    ) THEN
        RETURN;
    END IF;
    INSERT INTO public.job_alert_channels (channel) VALUES (_channel) ON CONFLICT DO NOTHING;
    SELECT c.* INTO _state
    FROM public.job_alert_channels c
    WHERE c.channel = _channel
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR _state.paused_until > now() THEN
        RETURN;
    END IF;
    -- Nobody could record what became of these: perhaps each time it killed whoever sent it.
    WITH lost AS (
        UPDATE public.job_alert_deliveries d
        SET status = 'undelivered',
            last_error = 'whoever sent it never said what became of it'
        WHERE d.channel = _channel
          AND d.status = 'sending'
          AND d.due_after <= now()
          AND d.attempts >= 10
        RETURNING d.alert_id, d.last_error
    )
    INSERT INTO public.job_alert_history (alert_id, event, channel, note)
    SELECT l.alert_id, 'undelivered', _channel, l.last_error
    FROM lost l;
    IF _state.hour_started_at <= now() - interval '1 hour' THEN
        _state.hour_started_at := now();
        _state.sent := 0;
    END IF;
    _left := _ceiling - _state.sent;
    _due := ARRAY (
        SELECT d.alert_id
        FROM public.job_alert_deliveries d
        JOIN public.job_alerts a ON a.id = d.alert_id
        WHERE d.channel = _channel
          AND d.status IN ('pending', 'sending')
          AND d.due_after <= now()
        ORDER BY public.alert_severity_rank(a.severity) DESC, d.due_after, d.alert_id
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
    UPDATE public.job_alert_channels c
    SET hour_started_at = _state.hour_started_at,
        sent = _state.sent + 1,
        digest_at = _state.digest_at
    WHERE c.channel = _channel;
    RETURN QUERY
    UPDATE public.job_alert_deliveries d
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
-- none. _refused says of whom a delivery was not taken: it counts, as one in part.
CREATE OR REPLACE FUNCTION public.record_alert_deliveries(
    _channel text,
    _ids uuid[],
    _fences bigint[],
    _error text DEFAULT NULL,
    _final boolean DEFAULT false,
    _pause_seconds double precision DEFAULT 0,
    _refused text DEFAULT NULL
)
RETURNS TABLE (alert_id uuid, status text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    _recorded record;
BEGIN
    -- Before the rows of the outbox, as whoever resolves takes them.
    PERFORM 1
    FROM public.job_alerts a
    WHERE a.id = ANY (_ids)
    ORDER BY a.fingerprint
    FOR NO KEY UPDATE;
    FOR _recorded IN
        UPDATE public.job_alert_deliveries d
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
            last_error = left(coalesce(_error, _refused), 500)
        FROM unnest(_ids, _fences) AS g (alert_id, fence)
        WHERE d.channel = _channel
          AND d.alert_id = g.alert_id
          AND d.fence = g.fence
          AND d.status = 'sending'
        RETURNING d.alert_id, d.status
    LOOP
        INSERT INTO public.job_alert_history (alert_id, event, channel, note)
        VALUES (
            _recorded.alert_id,
            CASE
                WHEN _error IS NULL THEN 'delivered'
                WHEN _recorded.status = 'undelivered' THEN 'undelivered'
                ELSE 'delivery_failed'
            END,
            _channel,
            left(coalesce(_error, _refused), 500)
        );
        alert_id := _recorded.alert_id;
        status := _recorded.status;
        RETURN NEXT;
    END LOOP;
    IF _error IS NULL THEN
        UPDATE public.job_alerts a
        SET notified_at = now(),
            notification_channels =
                CASE
                    -- A row that somebody else wrote may hold any JSON value here.
                    WHEN jsonb_typeof(a.notification_channels) = 'array'
                    THEN a.notification_channels - _channel - (_channel || ' (in part)')
                    ELSE '[]'
                END
                || to_jsonb(_channel || CASE WHEN _refused IS NULL THEN '' ELSE ' (in part)' END)
        WHERE a.id = ANY (_ids);
    END IF;
    UPDATE public.job_alert_channels c
    SET sent = CASE WHEN _error IS NULL THEN c.sent ELSE greatest(c.sent - 1, 0) END,
        paused_until = CASE
            WHEN _error IS NOT NULL THEN now() + make_interval(secs => _pause_seconds)
        END
    WHERE c.channel = _channel;
END
$$;
