"""Reads what the documents tell people to type, and types it."""

import asyncio
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import BLANK, PYTHON

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Where the pages have their service.
PRINTED = "http://127.0.0.1:8080"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w.]+\.py)`:\s*$")
_FROM_ANSWER = re.compile(r'^export (\w+)=\.\.\. +# the "(\w+)" of that answer$')


@dataclass(frozen=True, slots=True)
class Block:
    """`file` is the name that the line above gives it."""

    language: str
    text: str
    file: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        named = _FILE.search(text[: found.start()])
        yield Block(found[1], found[2], named[1] if named else None)


def commands(block: Block) -> list[str]:
    """What stands behind the prompts, with lines that go on put together."""
    whole = block.text.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in whole.splitlines() if line.startswith("$ ")]


def write_files(page: Path, folder: Path, url: str = PRINTED) -> None:
    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).write_text(block.text.replace(PRINTED, url))


@dataclass(slots=True)
class Shell:
    """A terminal in that folder; `url` is where the service of the pages really is."""

    folder: Path
    env: Mapping[str, str | None]
    url: str = ""
    said: str = ""
    exported: dict[str, str] = field(default_factory=dict)

    async def type(self, command: str) -> str:
        """Raises AssertionError unless the command succeeds."""
        if taken := _FROM_ANSWER.match(command):
            self.exported[taken[1]] = str(json.loads(self.said)[taken[2]])
            return ""
        self.said = await self._run(self._as_here(command))
        if exported := re.match(r"export (\w+)=", command):
            self.exported[exported[1]] = self.said.strip()
        return self.said

    def _as_here(self, command: str) -> str:
        python = shlex.quote(PYTHON)
        command = command.replace(PRINTED, self.url)
        command = re.sub(r"(^|[ (])wastewise-jobs ", rf"\1{python} -m wastewise_jobs ", command)
        command = re.sub(r"^\.venv/bin/python ", f"{python} ", command)
        if exported := re.match(r"export (\w+)=", command):
            command += f'; printf %s "${exported[1]}"'
        return command

    async def _run(self, command: str) -> str:
        # What a reader has: warnings of the tools that a page calls are none of ours.
        env = {**os.environ, **BLANK, "PYTHONWARNINGS": None, **self.env, **self.exported}
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            command,
            cwd=self.folder,
            env={name: value for name, value in env.items() if value is not None},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), timeout=90)
        assert process.returncode == 0, f"{command}\n{out.decode()}\n{err.decode()}"
        return out.decode()
