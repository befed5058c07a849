"""Schemathesis against our own OpenAPI document, as a user and as an admin.

It lives in a virtual environment of its own below benchmarks/.cache, made at the first run: where
it is installed it loads into every run of pytest.
"""

import asyncio
import re
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.chaos.clients import token
from benchmarks.chaos.fleet import ROOT
from benchmarks.chaos.site import Plan, Run, Site, site

_VERSION = "schemathesis>=4.32,<5"
_HOME = ROOT / "benchmarks" / ".cache" / "fuzz"
_CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
_GENERATED = re.compile(r"(\d[\d,]*) generated")
_SHOWN = 6_000


async def fuzz(run: Run) -> None:
    """So many cases for each operation that all of them are ten thousand and more."""
    examples = run.size(short=5, long=200)
    run.report.method = (
        f"{_VERSION}, up to {examples} cases for each operation and mode, as a user and as an "
        f"admin; checks: {_CHECKS}"
    )
    program = await asyncio.to_thread(_installed)
    cases = 0
    async with site(run, Plan(workers=1, poll=0.5)) as here:
        for admin in (False, True):
            cases += await _fuzz(here, program, examples, admin=admin)
        run.report.figure("cases", cases, at_least=10_000 if run.long and run.part >= 1 else 1)
        # The handlers of this harness may be told to raise anything.
        run.report.figure("tracebacks in the API's log", here.tracebacks(here.apis), at_most=0)


def _installed() -> Path:
    program = _HOME / "bin" / "schemathesis"
    if not program.exists():
        venv.create(_HOME, with_pip=True)
        command: list[str | Path] = [
            _HOME / "bin" / "python",
            "-m",
            "pip",
            "install",
            "-q",
            _VERSION,
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return program


async def _fuzz(here: Site, program: Path, examples: int, *, admin: bool) -> int:
    """How many cases it made; what it found goes into the report."""
    process = await asyncio.create_subprocess_exec(
        program,
        *("run", f"{here.clients.url}/openapi.json", "--checks", _CHECKS),
        *("--header", f"Authorization: Bearer {token(admin=admin)}"),
        *("--max-examples", str(examples), "--mode", "all", "--workers", "1"),
        *("--seed", str(here.run.chance.randrange(2**31)), "--continue-on-failure"),
        *("--request-timeout", "70", "--suppress-health-check", "all", "--warnings", "off"),
        cwd=here.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    who = "an admin" if admin else "a user"
    found = _GENERATED.search(text)
    cases = int(found[1].replace(",", "")) if found else 0
    here.run.report.figure(f"cases as {who}", cases)
    if process.returncode != 0:
        here.run.report.broken([f"schemathesis as {who}:\n{text[-_SHOWN:]}"])
    return cases
