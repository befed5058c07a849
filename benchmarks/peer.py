"""The peers: their profiles, how their processes are started, and what they say."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
CACHE = HERE / ".cache"
PIP_PACKAGES = [
    "pgqueuer>=1.6,<2",
    "procrastinate>=3.10,<4",
    "asyncpg",
    "psycopg[binary,pool]",
    "uvloop",
]
NPM_PACKAGES = ["graphile-worker@0.17", "pg@8", "node@22"]


@dataclass(frozen=True)
class Peer:
    """`unfinished` is a SELECT that says whether any job is left."""

    name: str
    script: str
    unfinished: str
    profiles: tuple[str, ...]
    drained: int = 20_000

    @property
    def command(self) -> list[str]:
        if self.script.endswith(".mjs"):
            return [str(CACHE / "npm/node_modules/node/bin/node"), str(PEERS / self.script)]
        python = CACHE / "venv/bin/python" if self.script.endswith("_peer.py") else sys.executable
        return [str(python), str(PEERS / self.script)]


RAW = Peer("raw", "raw.py", "SELECT EXISTS (SELECT 1 FROM raw_job)", ("b500",))
OURS = Peer(
    "wastewise-jobs", "ours.py", "SELECT EXISTS (SELECT 1 FROM job_queue)", ("default", "tuned")
)
GRAPHILE = Peer(
    "graphile-worker",
    "graphile_peer.mjs",
    "SELECT EXISTS (SELECT 1 FROM graphile_worker._private_jobs)",
    ("tuned",),
)
PGQUEUER = Peer(
    "pgqueuer",
    "pgqueuer_peer.py",
    "SELECT EXISTS (SELECT 1 FROM pgqueuer)",
    ("default", "b500pool"),
)
PROCRASTINATE = Peer(
    "procrastinate",
    "procrastinate_peer.py",
    "SELECT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))",
    ("default", "c10"),
    drained=2_000,
)
ALL = (RAW, OURS, GRAPHILE, PGQUEUER, PROCRASTINATE)
# What `tuned` means for us: more slots than the default 100. Nothing else is changed.
OUR_SETTINGS = {"tuned": {"WORKER_CONCURRENCY": "500"}, "default": {}}


def install() -> None:
    """The peers' packages, into a folder of their own that git ignores."""
    if not (CACHE / "venv/bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", CACHE / "venv"], check=True)
        subprocess.run([CACHE / "venv/bin/pip", "install", "-q", *PIP_PACKAGES], check=True)
    if not (CACHE / "npm/node_modules/graphile-worker").exists():
        (CACHE / "npm").mkdir(exist_ok=True)
        subprocess.run(
            [
                "npm",
                "install",
                "--silent",
                "--no-package-lock",
                "--prefix",
                CACHE / "npm",
                *NPM_PACKAGES,
            ],
            check=True,
        )


def environment(dsn: str, **more: str) -> dict[str, str]:
    """Nothing of the caller's settings reaches a measured process."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "BENCH_DSN": dsn,
        "BENCH_NODE_MODULES": str(CACHE / "npm/node_modules"),
        "PYTHONPATH": f"{HERE.parent}:{PEERS}",
        **more,
    }


async def act(peer: Peer, dsn: str, *args: str) -> dict[str, Any]:
    """Run one action to its end; the last thing that it said."""
    process = await asyncio.create_subprocess_exec(
        *peer.command, *args, env=environment(dsn), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{peer.name} {args}: {err.decode()[-2000:]}")
    lines = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    return lines[-1] if lines else {}


@dataclass
class Worker:
    """A worker process and what it said so far."""

    process: asyncio.subprocess.Process
    first: dict[str, Any] | None = None
    calls: int = 0
    latencies: list[float] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None

    @property
    def psutil(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    def cpu_seconds(self) -> float:
        times = self.psutil.cpu_times()
        return float(times.user + times.system)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if not line.startswith(b'{"event'):
                continue
            fact = json.loads(line)
            if fact["event"] == "first":
                self.first = fact
            elif fact["event"] == "count":
                self.calls = fact["calls"]
            elif fact["event"] == "late":
                self.latencies.append(fact["ms"])

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        if self.reading is not None:
            await self.reading


async def start(peer: Peer, profile: str, dsn: str, log: Path, **settings: str) -> Worker:
    """A worker process of that profile."""
    command, env = [*peer.command, "worker", profile], environment(dsn)
    if peer is OURS:
        command = [sys.executable, "-m", "wastewise_jobs", "worker", "--app", "ours:jobs"]
        env = environment(dsn, DATABASE_URL=dsn, **OUR_SETTINGS[profile], **settings)
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command, env=env, stdout=subprocess.PIPE, stderr=stderr, cwd=log.parent, limit=2**20
        )
    worker = Worker(process)
    worker.reading = asyncio.create_task(worker.read())
    return worker
