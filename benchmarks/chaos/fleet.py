"""Real processes of the service, and a supervisor that starts what died again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wastewise_jobs.settings import Settings

ROOT = Path(__file__).parents[2]
_WATCH_SECONDS = 0.02
# What the environment of the harness says about the service counts for nothing.
_CLEAN = {k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields}


@dataclass(slots=True)
class Member:
    """One process: `name` is slot and generation, and is what the history calls it."""

    slot: str
    generation: int
    popen: subprocess.Popen[bytes]
    log: Path
    began: float = field(default_factory=time.monotonic)
    # Somebody killed or stopped it on purpose.
    harmed: bool = False

    @property
    def name(self) -> str:
        """What the history calls it."""
        return f"{self.slot}.{self.generation}"

    @property
    def alive(self) -> bool:
        """Whether the process still runs, if only frozen."""
        return self.popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens to a process that has ended."""
        self.popen.send_signal(number)

    def lines(self, *, since: int = 0) -> Iterator[dict[str, Any]]:
        """The records of its log from that byte on; what is no JSON comes as {"text": ...}."""
        with self.log.open("rb") as file:
            file.seek(since)
            for raw in file:
                try:
                    yield json.loads(raw)
                except ValueError:
                    yield {"event": None, "text": raw.decode(errors="replace")}

    def events(self, name: str) -> list[dict[str, Any]]:
        """The records of that event."""
        return [line for line in self.lines() if line.get("event") == name]

    def log_length(self) -> int:
        """How much it has written."""
        return self.log.stat().st_size


class Fleet:
    """Processes that are alike; `command` is the command line behind `wastewise-jobs`.

    `address(name)` is the database's address for a process of that name.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        *,
        prefix: str,
        size: int,
        folder: Path,
        address: Callable[[str], str],
        env: Mapping[str, str],
        supervised: bool = True,
    ) -> None:
        self._command = command
        self._prefix = prefix
        self._size = size
        self._folder = folder
        self._address = address
        self._env = dict(env)
        self._supervised = supervised
        self._watching: asyncio.Task[None] | None = None
        self.members: dict[str, Member] = {}
        self.gone: list[Member] = []

    @property
    def everybody(self) -> list[Member]:
        """All processes that ever were."""
        return [*self.gone, *self.members.values()]

    def start(self) -> None:
        """Start them all; where there is a supervisor, it starts again whoever dies."""
        for number in range(1, self._size + 1):
            self._spawn(f"{self._prefix}{number}", 1)
        if self._supervised:
            self._watching = asyncio.create_task(self._watch(), name=f"watch {self._prefix}")

    async def stop(self, *, within: float = 30.0) -> None:
        """End them all in good order, or kill whoever takes too long."""
        if self._watching is not None:
            self._watching.cancel()
        for member in self.members.values():
            member.send(signal.SIGCONT)
            member.send(signal.SIGTERM)
        until = time.monotonic() + within
        while any(m.alive for m in self.members.values()) and time.monotonic() < until:
            await asyncio.sleep(_WATCH_SECONDS)
        for member in self.members.values():
            member.popen.kill()
            member.popen.wait()

    def replace(self, member: Member) -> Member:
        """Start the next one beside one that is about to end."""
        self.gone.append(member)
        return self._spawn(member.slot, member.generation + 1)

    async def _watch(self) -> None:
        while True:
            for member in list(self.members.values()):
                if not member.alive:
                    self.replace(member)
            await asyncio.sleep(_WATCH_SECONDS)

    def _spawn(self, slot: str, generation: int) -> Member:
        name = f"{slot}.{generation}"
        log = self._folder / "logs" / name
        env = {
            **_CLEAN,
            **self._env,
            "DATABASE_URL": self._address(name),
            "CHAOS_PROCESS": name,
            "CHAOS_RUNS": str(self._folder / "runs"),
            "PYTHONPATH": str(ROOT),
            "LOG_FORMAT": "json",
        }
        with log.open("wb") as output:
            popen = subprocess.Popen(
                (sys.executable, "-m", "wastewise_jobs", *self._command),
                cwd=self._folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        member = Member(slot, generation, popen, log)
        self.members[slot] = member
        return member
