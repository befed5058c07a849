"""`wastewise-jobs status`, for whoever is at a terminal."""

import json
from pathlib import Path

import asyncpg

from tests.acceptance.commands import run


async def test_status_shows_queue_workers_and_alerts(db: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(db)
    env = {"DATABASE_URL": db}
    empty = await run("status", env=env, cwd=tmp_path)
    assert empty.returncode == 1
    assert empty.stdout.startswith("unhealthy  0 pending")
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
