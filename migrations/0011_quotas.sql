-- How much a user may have at once; 0 is without limit. Set from the settings when a service starts.
ALTER TABLE public.schema_info
    ADD COLUMN quota_projects bigint NOT NULL DEFAULT 0 CHECK (quota_projects >= 0),
    ADD COLUMN quota_stored_bytes bigint NOT NULL DEFAULT 0 CHECK (quota_stored_bytes >= 0),
    ADD COLUMN quota_pending_jobs bigint NOT NULL DEFAULT 0 CHECK (quota_pending_jobs >= 0);

-- A row per user who was ever measured. Whoever asks for more writes it and holds it until the end of
-- its transaction: so two at once come one after the other, at every isolation level. jobs is never
-- lower than the number of unfinished jobs, but for those that nobody asked about and that came since
-- counted_at.
CREATE TABLE public.quota_uses (
    user_id uuid PRIMARY KEY,
    asked bigint NOT NULL DEFAULT 1,
    jobs bigint,
    counted_at timestamptz
) WITH (fillfactor = 50);

ALTER TABLE public.quota_uses ENABLE ROW LEVEL SECURITY;
