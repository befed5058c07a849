"""The short profile of the chaos harness: harm to real processes, and no promise broken.

`python -m benchmarks.chaos` is the long one. A failure prints the seed that replays its faults.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from benchmarks.chaos.controls import PROTECTIONS, noticed
from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.report import Report
from benchmarks.chaos.running import GATE, run_scenario

CONTROLS = ("fence", "rescue", "heartbeat")
# Each on a server of its own: most of a run is waiting for leases to expire.
LANES = 2

Reports = dict[str, "asyncio.Future[Report]"]


@pytest.fixture(scope="module")
async def reports(request: pytest.FixtureRequest) -> AsyncIterator[Reports]:
    """What the chosen runs come to, by scenario or by `without ...`; a lane takes the next one."""
    loop = asyncio.get_running_loop()
    chosen = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module.__name__ == __name__
    ]
    futures: Reports = {name: loop.create_future() for name in chosen}
    waiting = iter(chosen)
    lanes = [asyncio.create_task(_lane(waiting, futures)) for _ in range(LANES)]
    yield futures
    for lane in lanes:
        lane.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)


async def _lane(names: Iterator[str], reports: Reports) -> None:
    async with Postgres.running() as postgres:
        for name in names:
            try:
                reports[name].set_result(await _run(name, postgres))
            except Exception as error:  # noqa: BLE001 - it is the test's that waits for this run
                reports[name].set_exception(error)


async def _run(name: str, postgres: Postgres) -> Report:
    seed = secrets.token_hex(4)
    protection = PROTECTIONS.get(name.removeprefix("without "))
    if protection is None:
        return await run_scenario(name, postgres=postgres, seed=seed)
    return await run_scenario(
        protection.scenario, postgres=postgres, seed=seed, part=0.1, without=[protection.name]
    )


@pytest.mark.parametrize("name", GATE)
async def test_no_promise_is_broken_whatever_is_harmed(reports: Reports, name: str) -> None:
    report = await reports[name]
    assert report.problems == [], f"\n{report}"


@pytest.mark.parametrize("name", [f"without {name}" for name in CONTROLS])
async def test_a_run_without_a_protection_turns_red(reports: Reports, name: str) -> None:
    report = await reports[name]
    assert noticed(name.removeprefix("without "), report.problems), f"nobody noticed:\n{report}"
