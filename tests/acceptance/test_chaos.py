"""The short profile of the chaos harness: harm to real processes, and no promise broken.

`python -m benchmarks.chaos` is the long one. A failure prints the seed that replays its faults.
"""

import secrets
from collections.abc import AsyncIterator

import pytest

from benchmarks.chaos.controls import PROTECTIONS, noticed
from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.running import SCENARIOS, run_scenario


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Postgres]:
    async with Postgres.running() as postgres:
        yield postgres


@pytest.mark.parametrize("name", SCENARIOS)
async def test_no_promise_is_broken_whatever_is_harmed(server: Postgres, name: str) -> None:
    report = await run_scenario(name, postgres=server, seed=secrets.token_hex(4))
    assert report.problems == [], f"\n{report}"


@pytest.mark.parametrize("name", ["fence", "rescue", "heartbeat"])
async def test_a_run_without_a_protection_turns_red(server: Postgres, name: str) -> None:
    report = await run_scenario(
        PROTECTIONS[name].scenario,
        postgres=server,
        seed=secrets.token_hex(4),
        part=0.1,
        without=[name],
    )
    assert noticed(name, report.problems), f"nobody misses the {name}:\n{report}"
