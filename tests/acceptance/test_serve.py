"""The service as real processes: how they stop, crash, share the work and refuse to start."""

import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.support.commands import APP, SECRET, address_of, events, processes_of, run, start, token
from tests.support.waiting import Process, eventually
from wastewise_jobs.client import Client
from wastewise_jobs.wire.jobs import JobAnswer

SAMPLE = Path(__file__).parents[2] / "wastewise_jobs" / "analysis" / "sample"


@dataclass(frozen=True, slots=True)
class Site:
    """A database with a schema, a folder with an application, and the environment for both."""

    dsn: str
    folder: Path
    env: dict[str, str]

    def go_on(self) -> None:
        (self.folder / "go-on").touch()

    @property
    def runs(self) -> int:
        path = self.folder / "runs"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def site(db: str, tmp_path: Path) -> Site:
    (tmp_path / "app.py").write_text(APP)
    env = {
        "DATABASE_URL": db,
        "JWT_SECRET": SECRET,
        "PORT": "0",
        "LEASE_SECONDS": "2",
        "HEARTBEAT_SECONDS": "0.5",
        "POLL_INTERVAL_SECONDS": "0.5",
        "SHUTDOWN_GRACE_SECONDS": "30",
        "DATABASE_POOL_SIZE": "4",
    }
    return Site(db, tmp_path, env)


@pytest.fixture
async def served(site: Site) -> AsyncIterator[tuple[Process, Client]]:
    """API and worker with the application, and a client of it."""
    async with start("serve", "--app", "app:jobs", env=site.env, cwd=site.folder) as process:
        url = await address_of(process)
        bearer = await token(site.env, site.folder)
        async with Client(url, bearer) as client:
            yield process, client


async def waiting_job(client: Client, site: Site) -> UUID:
    """A job that runs until the site goes on."""
    answer = await client.submit("wait_for_file", input_data={"folder": str(site.folder)})
    await eventually((site.folder / "attempt-1").exists)
    return answer.job_id


async def stored(site: Site, job_id: UUID) -> asyncpg.Record:
    connection = await asyncpg.connect(site.dsn)
    try:
        row = await connection.fetchrow("SELECT * FROM analysis_jobs WHERE id = $1", job_id)
        assert row is not None
        return row
    finally:
        await connection.close(timeout=5)


async def test_the_first_signal_lets_running_jobs_end(
    site: Site, served: tuple[Process, Client]
) -> None:
    process, client = served
    job_id = await waiting_job(client, site)
    process.send(signal.SIGTERM)
    await eventually(lambda: events(process, "worker_draining"))
    site.go_on()
    assert await process.ended() == 0
    row = await stored(site, job_id)
    assert (row["status"], row["result_data"]) == ("completed", '{"attempt": 1}')
    assert "Traceback" not in process.said()


async def test_the_second_signal_hands_running_jobs_back_uncharged(
    site: Site, served: tuple[Process, Client]
) -> None:
    process, client = served
    job_id = await waiting_job(client, site)
    process.send(signal.SIGINT)
    await eventually(lambda: events(process, "worker_draining"))
    process.send(signal.SIGINT)
    assert await process.ended(within=10) == 0
    row = await stored(site, job_id)
    assert (row["status"], row["retry_count"], row["crash_count"]) == ("pending", 0, 0)
    assert row["retry_after"] is None
    assert events(process, "stop_forced")


async def test_a_killed_workers_job_is_rescued_by_another_one(
    site: Site, served: tuple[Process, Client]
) -> None:
    process, client = served
    job_id = await waiting_job(client, site)
    os.kill(process.pid, signal.SIGKILL)
    await process.ended()
    async with start("worker", "--app", "app:jobs", env=site.env, cwd=site.folder) as second:
        await eventually(lambda: site.runs == 2, within=30)
        site.go_on()
        await eventually(lambda: _is_completed(site, job_id), within=30)
        # Told within a second, in one line with others if there are many.
        await eventually(lambda: events(second, "job_rescued"), within=30)
        assert events(second, "job_rescued")[0]["job_id"] == str(job_id)
    row = await stored(site, job_id)
    assert (row["retry_count"], row["crash_count"]) == (0, 1)


async def _is_completed(site: Site, job_id: UUID) -> bool:
    return bool((await stored(site, job_id))["status"] == "completed")


async def test_the_halves_run_apart_and_the_command_line_does_a_whole_analysis(site: Site) -> None:
    async with (
        start("api", env=site.env, cwd=site.folder) as api,
        start("worker", env=site.env, cwd=site.folder) as worker,
    ):
        url = await address_of(api)
        await eventually(lambda: worker.has_said('"worker_started"'), within=30)
        env = {"WASTEWISE_URL": url, "WASTEWISE_TOKEN": await token(site.env, site.folder)}
        done = await run(
            *("submit", "COMPLETE_ANALYSIS", "--property", "Oak Terrace", "--units", "200"),
            *("--city", "Austin", "--state", "TX", "--property-type", "garden-style"),
            *(
                "--equipment",
                "Compactor",
                "--invoices",
                str(SAMPLE / "lone-star-invoices-2025.csv"),
            ),
            *(str(SAMPLE / "greencycle-charges-2025.xlsx"), "--haul-log"),
            *(str(SAMPLE / "compactor-hauls-2025.csv"), "--watch", "--json", "--report", "reports"),
            env=env,
            cwd=site.folder,
        )
        assert done.returncode == 0, done.stderr
        job = JobAnswer.model_validate_json(done.stdout)
        assert job.status == "completed"
        assert job.result["summary"]["annualSavings"] > 0
        assert len(list((site.folder / "reports").iterdir())) == 2
        shown = await run("jobs", "show", str(job.id), env=env, cwd=site.folder)
        assert "Oak Terrace" not in done.stderr
        assert "a year can be saved" in shown.stdout
        for process in (api, worker):
            process.send(signal.SIGTERM)
        assert [await api.ended(), await worker.ended()] == [0, 0], worker.said()


async def test_a_refused_submission_leaves_no_project_behind(
    site: Site, served: tuple[Process, Client]
) -> None:
    process, _ = served
    bearer = await token(site.env, site.folder)
    env = {"WASTEWISE_URL": await address_of(process), "WASTEWISE_TOKEN": bearer}
    options = ("--property", "Oak", "--units", "200", "--city", "Austin", "--state", "TX")
    for job_type, words in (
        ("regulatory_research", "has none"),
        ("complete_analyses", "complete_analysis"),
    ):
        done = await run(
            "submit", job_type, *options, "--equipment", "compactor", env=env, cwd=site.folder
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: JOB_TYPE: ")
        assert words in done.stderr
    connection = await asyncpg.connect(site.dsn)
    assert await connection.fetchval("SELECT count(*) FROM projects") == 0
    await connection.close(timeout=5)


async def test_a_signal_during_the_start_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    env = {"WASTEWISE_HOME": str(home), "PORT": "0", "LOG_LEVEL": "DEBUG"}
    async with start("serve", env=env, cwd=tmp_path) as process:
        await eventually((home / "start.lock").exists)
        process.send(signal.SIGTERM)
        assert await process.ended() == 0
        assert "api_started" not in process.said()
        assert "Traceback" not in process.said()


async def test_a_closed_terminal_stops_service_and_server(home: Path, tmp_path: Path) -> None:
    env = {"WASTEWISE_HOME": str(home), "PORT": "0"}
    async with start("serve", env=env, cwd=tmp_path) as process:
        await address_of(process)
        process.send(signal.SIGHUP)
        assert await process.ended() == 0


async def test_the_embedded_server_is_shared_and_stopped_by_the_last(
    home: Path, tmp_path: Path
) -> None:
    env = {"WASTEWISE_HOME": str(home), "PORT": "0"}
    async with start("api", env=env, cwd=tmp_path) as api:
        await address_of(api)
        async with start("worker", env=env, cwd=tmp_path) as worker:
            await eventually(lambda: worker.has_said('"worker_started"'), within=30)
            api.send(signal.SIGTERM)
            assert await api.ended() == 0
            assert any("postgres" in command for command in processes_of(home))
            worker.send(signal.SIGTERM)
            assert await worker.ended() == 0


async def test_a_taken_port_is_one_line_and_nothing_is_claimed(site: Site) -> None:
    async with start("api", env=site.env, cwd=site.folder) as api:
        port = (await address_of(api)).rpartition(":")[2]
        done = await run("serve", "--port", port, env=site.env, cwd=site.folder)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith("error: PORT: cannot listen on")
        assert "worker_started" not in done.stderr


async def test_a_worker_without_handlers_does_not_start(site: Site) -> None:
    done = await run("worker", "--no-builtin", env=site.env, cwd=site.folder)
    assert done.returncode == 2
    assert done.stderr == "error: --no-builtin: leaves nothing to run; give --app\n"


async def test_a_queue_that_no_handler_uses_is_told(site: Site) -> None:
    command = ("worker", "--app", "app:jobs", "--queues", "default,reports:2")
    async with start(*command, env=site.env, cwd=site.folder) as worker:
        await eventually(lambda: worker.has_said('"worker_started"'), within=30)
        (told,) = events(worker, "queues_unused")
        assert (told["level"], told["queues"]) == ("warning", ["reports"])


async def test_handlers_of_built_in_types_need_their_place(site: Site) -> None:
    text = APP.replace('"wait_for_file"', '"cleanup"')
    (site.folder / "mine.py").write_text(text)
    done = await run("worker", "--app", "mine:jobs", env=site.env, cwd=site.folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: --app: job type 'cleanup' has a handler")
    command = ("worker", "--app", "mine:jobs", "--no-builtin")
    async with start(*command, env=site.env, cwd=site.folder) as worker:
        await eventually(lambda: worker.has_said('"worker_started"'), within=30)
        assert events(worker, "queues_unused") == []


@pytest.mark.parametrize("command", ["serve", "api"])
@pytest.mark.parametrize("wrong", [{"JWT_SECRET": ""}, {"METRICS_PORT": "8123", "PORT": "8123"}])
async def test_an_api_that_could_verify_nobody_or_not_listen_does_not_start(
    site: Site, command: str, wrong: dict[str, str]
) -> None:
    done = await run(command, env=site.env | wrong, cwd=site.folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {next(iter(wrong))}: ")
    assert len(done.stderr.splitlines()) == 1


async def test_a_worker_needs_no_secret(site: Site) -> None:
    env = site.env | {"JWT_SECRET": ""}
    async with start("worker", env=env, cwd=site.folder) as worker:
        await eventually(lambda: worker.has_said('"worker_started"'), within=30)


@pytest.mark.parametrize("command", ["serve", "worker", "api"])
async def test_a_database_without_schema_is_refused_with_what_to_run(
    empty_db: str, tmp_path: Path, command: str
) -> None:
    env = {"DATABASE_URL": empty_db, "JWT_SECRET": SECRET, "PORT": "0"}
    done = await run(command, env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert "wastewise-jobs migrate" in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_a_wrong_setting_is_one_line_and_nothing_starts(home: Path, tmp_path: Path) -> None:
    env = {"WASTEWISE_HOME": str(home), "LEASE_SECONDS": "soon"}
    done = await run("serve", env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: LEASE_SECONDS: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(home.iterdir()) == []


async def test_an_unreachable_database_is_one_line_without_its_password(tmp_path: Path) -> None:
    env = {
        "DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/x",
        "JWT_SECRET": SECRET,
        "PORT": "0",
    }
    done = await run("serve", env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: DATABASE_URL: ")
    assert "hunter2" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


async def test_the_doctor_finds_nothing_and_then_what_was_broken(site: Site) -> None:
    healthy = await run("doctor", env=site.env, cwd=site.folder)
    assert healthy.returncode == 0, healthy.stdout
    assert "problem" not in healthy.stdout
    connection = await asyncpg.connect(site.dsn)
    await connection.execute(
        "INSERT INTO analysis_jobs (id, job_type, queue) VALUES ($1, 'cleanup', 'default')", uuid4()
    )
    for damage in ("DELETE FROM job_queue", "UPDATE job_queue SET priority = 1"):
        await connection.execute(damage)
        sick = await run("doctor", env=site.env, cwd=site.folder)
        assert sick.returncode == 1
        assert "doctor --repair" in sick.stdout
        mended = await run("doctor", "--repair", env=site.env, cwd=site.folder)
        assert mended.returncode == 0, mended.stdout
        assert await connection.fetchval("SELECT priority FROM job_queue") == 9
    await connection.close(timeout=5)


async def test_the_doctor_speaks_of_a_database_that_is_not_there(tmp_path: Path) -> None:
    env = {"DATABASE_URL": "postgresql://app:hunter2@127.0.0.1:1/x"}
    done = await run("doctor", env=env, cwd=tmp_path)
    assert done.returncode == 1
    assert "check DATABASE_URL" in done.stdout
    assert "JWT_SECRET" in done.stdout
    assert "hunter2" not in done.stdout


async def test_a_key_works_until_it_is_revoked(site: Site) -> None:
    user = "7b0f9a52-3c1d-4e8f-9a6b-2d5e8c1f0a37"
    made = await run(
        "keys", "create", "--user", user, "--name", "CI", env=site.env, cwd=site.folder
    )
    key = made.stdout.strip()
    assert key.startswith("wwj_"), made.stderr
    async with start("api", env=site.env, cwd=site.folder) as api:
        env = {"WASTEWISE_URL": await address_of(api), "WASTEWISE_TOKEN": key}
        assert (await run("jobs", "list", env=env, cwd=site.folder)).returncode == 0
        assert key not in api.said()
        listed = await run("keys", "list", env=site.env, cwd=site.folder)
        _, public_id, secret = key.split("_", 2)
        assert public_id in listed.stdout
        assert secret not in listed.stdout
        as_json = await run("keys", "list", "--json", env=site.env, cwd=site.folder)
        (info,) = json.loads(as_json.stdout)
        assert (info["public_id"], info["user_id"], info["name"]) == (public_id, user, "CI")
        assert secret not in as_json.stdout
        revoked = await run("keys", "revoke", key, env=site.env, cwd=site.folder)
        assert revoked.stdout == "revoked\n"

        async def refused() -> bool:
            done = await run("jobs", "list", env=env, cwd=site.folder)
            return done.returncode == 1 and "not valid" in done.stderr

        await eventually(refused, within=30)


async def test_nothing_answers_on_a_port_that_is_not_ours(tmp_path: Path) -> None:
    env = {"WASTEWISE_URL": "http://127.0.0.1:1", "WASTEWISE_TOKEN": "x"}
    for command in (("jobs", "list"), ("watch", str(UUID(int=1)))):
        done = await run(*command, env=env, cwd=tmp_path)
        assert done.returncode == 1
        assert "connection refused" in done.stderr
        assert "serve`), and is --url right?" in done.stderr


async def test_whoever_stops_following_is_told_how_to_go_on(
    site: Site, served: tuple[Process, Client]
) -> None:
    process, _ = served
    bearer = await token(site.env, site.folder)
    env = {"WASTEWISE_URL": await address_of(process), "WASTEWISE_TOKEN": bearer}
    body = json.dumps({"folder": str(site.folder)})
    command = ("submit", "wait_for_file", "--input", body, "--watch")
    async with start(*command, env=env, cwd=site.folder) as follower:
        await eventually(lambda: site.runs == 1, within=30)
        follower.send(signal.SIGINT)
        assert await follower.ended() == 130
        told = follower.said().splitlines()
    job_id = told[0].removeprefix("job ")
    assert told[-1].startswith("the job is not affected; follow it with: ")
    assert told[-1].endswith(f" watch {job_id}")
    site.go_on()


async def test_a_measurement_leaves_no_database_behind(site: Site) -> None:
    connection = await asyncpg.connect(site.dsn)
    before = await connection.fetch("SELECT datname FROM pg_database ORDER BY 1")
    done = await run("bench", "--jobs", "200", env=site.env, cwd=site.folder)
    assert done.returncode == 0, done.stderr
    assert "jobs/s" in done.stdout
    assert await connection.fetch("SELECT datname FROM pg_database ORDER BY 1") == before
    assert await connection.fetchval("SELECT count(*) FROM analysis_jobs") == 0
    await connection.close(timeout=5)
