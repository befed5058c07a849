"""`wastewise-jobs status`, for whoever is at a terminal."""

import json
from pathlib import Path

import asyncpg

from tests.support.commands import run


async def test_status_shows_queue_workers_and_alerts(db: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(db)
    env = {"DATABASE_URL": db}
    empty = await run("status", env=env, cwd=tmp_path)
    assert empty.returncode == 1
    assert empty.stdout.startswith("unhealthy  0 pending")
    assert "Queue" not in empty.stdout
    await connection.execute(
        """
        INSERT INTO analysis_jobs (job_type, status) VALUES ('cleanup', 'pending');
        INSERT INTO job_workers (
            worker_id, name, host, pid, version, queues, job_types, concurrency
        )
        VALUES ('w1', 'w', 'h', 7, '0', '{*}', '{echo}', 9);
        SELECT raise_alert('a', 'worker_down', 'critical', 'worker w2 is silent');
        """
    )
    await connection.close()
    shown = await run("status", env=env, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    first, *lines = shown.stdout.splitlines()
    assert first.startswith("healthy  1 pending, the oldest due for ")
    assert [line.split() for line in lines if line.startswith("default")] == [["default", "1", "0"]]
    assert [line.split()[:2] for line in lines if line.startswith("w1")] == [["w1", "0/9"]]
    assert any("worker_down (open)" in line and "w2 is silent" in line for line in lines)
    as_json = json.loads((await run("status", "--json", env=env, cwd=tmp_path)).stdout)
    assert (as_json["status"], as_json["queue"]["total_pending"]) == ("healthy", 1)
    assert [worker["worker_id"] for worker in as_json["fleet"]["workers"]] == ["w1"]


async def test_status_and_doctor_say_the_same_of_what_nobody_does(db: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(db)
    await connection.execute(
        """
        INSERT INTO analysis_jobs (job_type, created_at)
        VALUES ('complete_anlysis', now() - interval '41 minutes');
        SELECT public.get_next_job('script');
        UPDATE analysis_jobs SET status = 'pending';
        UPDATE job_workers SET last_heartbeat_at = now() - interval '1 hour';
        INSERT INTO job_workers (
            worker_id, name, host, pid, version, queues, job_types, concurrency
        )
        VALUES ('w1', 'w', 'h', 7, '0', '{*}', '{echo}', 9);
        INSERT INTO job_alert_deliveries (alert_id, channel, notice, status)
        SELECT public.raise_alert('a', 'worker_down', 'critical', 'w2'), 'email', 'raised',
            'undelivered';
        INSERT INTO job_prune_holds (table_name, row_name, reason)
        VALUES ('analysis_jobs', 'a', 'violates foreign key constraint on table "notes"');
        """
    )
    await connection.close()
    env = {"DATABASE_URL": db, "COLUMNS": "80"}
    shown = (await run("status", env=env, cwd=tmp_path)).stdout
    examined = await run("doctor", env=env, cwd=tmp_path)
    assert shown.startswith("degraded ")
    assert examined.returncode == 1
    first, today, *lines = shown.splitlines()
    told = [line for line in lines if line.startswith("!")]
    assert len(told) == 3
    assert all(len(line) <= 80 for line in (first, today, *told)), shown
    for said in (shown, examined.stdout):
        words = " ".join(said.split())
        assert "no live worker carries complete_anlysis (queue default), due for 41 min" in words
        assert "1 alert could not be delivered" in words
    words = " ".join(examined.stdout.split())
    assert '1 row cannot be deleted: violates foreign key constraint on table "notes"' in words
    assert "1 running" in words
