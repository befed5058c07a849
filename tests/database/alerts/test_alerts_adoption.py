"""A job_alerts that an existing WasteWise database holds is taken over with its rows."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from tests.conftest import connected, database
from tests.support.foreign import ADOPTED
from wastewise_jobs.db.schema.migrate import migrate, rollback

THEIRS = """
CREATE TABLE job_alerts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id uuid NOT NULL REFERENCES analysis_jobs (id),
    alert_type text NOT NULL CHECK (alert_type IN ('job_failed', 'job_stuck')),
    severity text NOT NULL CHECK (severity IN ('warning', 'error', 'critical')),
    message text NOT NULL,
    title text NOT NULL,
    details jsonb,
    notified_at timestamptz,
    notification_channels jsonb DEFAULT '[]',
    acknowledged_at timestamptz,
    acknowledged_by uuid REFERENCES auth.users (id),
    created_at timestamptz DEFAULT now()
);
ALTER TABLE job_alerts ENABLE ROW LEVEL SECURITY;
CREATE POLICY admins ON job_alerts FOR SELECT TO authenticated USING (false);
INSERT INTO job_alerts (id, job_id, alert_type, severity, message, title, created_at)
VALUES ('cccccccc-0000-0000-0000-000000000001', 'bbbbbbbb-0000-0000-0000-000000000005',
        'job_failed', 'error', 'it failed', 'Failed', NULL)
"""
OLD = UUID("cccccccc-0000-0000-0000-000000000001")


@pytest.fixture
async def existing(postgres: str, supabase_roles: None) -> AsyncIterator[str]:
    del supabase_roles
    async with database(postgres) as dsn:
        async with connected(dsn) as connection:
            await connection.execute(ADOPTED.read_text())
            await connection.execute(THEIRS)
        yield dsn


async def test_old_alerts_are_history_and_new_ones_are_raised_beside_them(existing: str) -> None:
    await migrate(existing)
    async with connected(existing) as connection:
        old = await connection.fetchrow("SELECT * FROM job_alerts WHERE id = $1", OLD)
        assert old is not None
        assert (old["message"], old["title"], old["fingerprint"]) == ("it failed", "Failed", None)
        assert old["resolved_at"] is not None
        assert old["tell_after"] is None
        await connection.execute(
            "UPDATE analysis_jobs SET status = 'failed' WHERE status = 'pending'"
        )
        await connection.execute(
            "SELECT raise_alert('worker_down:w1', 'worker_down', 'critical', 'silent')"
        )
        raised = await connection.fetch(
            "SELECT alert_type, acknowledge_alert(id, $1, 'a test') AS answer "
            "FROM job_alerts WHERE resolved_at IS NULL ORDER BY alert_type DESC LIMIT 1",
            UUID(int=7),
        )
        assert [tuple(row) for row in raised] == [("worker_down", "acknowledged")]
        policies = await connection.fetch(
            "SELECT policyname FROM pg_policies WHERE tablename = 'job_alerts'"
        )
        assert [row[0] for row in policies] == ["admins"]
        # Jobs are pruned whatever their alerts say.
        await connection.execute("DELETE FROM analysis_jobs")


async def test_going_back_leaves_the_old_table_with_its_rows(existing: str) -> None:
    await migrate(existing)
    await rollback(existing, count=99)
    async with connected(existing) as connection:
        columns = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'job_alerts'::regclass "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        assert [row[0] for row in columns] == [
            "id",
            "job_id",
            "alert_type",
            "severity",
            "message",
            "title",
            "details",
            "notified_at",
            "notification_channels",
            "acknowledged_at",
            "acknowledged_by",
            "created_at",
        ]
        assert await connection.fetchval("SELECT count(*) FROM job_alerts") == 1
    await migrate(existing)


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
async def test_an_alert_outlives_the_job_that_it_names(existing: str, action: str) -> None:
    async with connected(existing) as connection:
        await connection.execute(
            "ALTER TABLE job_alerts DROP CONSTRAINT job_alerts_job_id_fkey, "
            "ALTER job_id DROP NOT NULL, ADD CONSTRAINT theirs "
            f"FOREIGN KEY (job_id) REFERENCES analysis_jobs (id) ON DELETE {action}"
        )
        await migrate(existing)
        await connection.execute(
            "UPDATE analysis_jobs SET status = 'failed', error_code = 'SAME' "
            "WHERE status = 'pending' AND job_type = 'complete_analysis'"
        )
        named = await connection.fetchval("SELECT job_id FROM job_alerts WHERE resolved_at IS NULL")
        await connection.execute("DELETE FROM analysis_jobs WHERE id = $1", named)
        assert named == await connection.fetchval(
            "SELECT job_id FROM job_alerts WHERE resolved_at IS NULL"
        )


async def test_what_an_alert_says_is_not_for_users_to_say(existing: str) -> None:
    async with connected(existing) as connection:
        await connection.execute(
            "GRANT ALL ON job_alerts TO authenticated; "
            "CREATE POLICY own ON job_alerts TO authenticated USING (true)"
        )
        await migrate(existing)
        await connection.execute("SET ROLE authenticated")
        await connection.execute("UPDATE job_alerts SET acknowledged_at = now()")
        for statement in (
            "UPDATE job_alerts SET message = 'all is well'",
            "UPDATE job_alerts SET resolved_at = now()",
            "DELETE FROM job_alerts",
            "INSERT INTO job_alerts (fingerprint) VALUES ('worker_down:w1')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
