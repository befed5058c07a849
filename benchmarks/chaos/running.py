"""Runs scenarios by name, and knows which there are."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.report import Report
from benchmarks.chaos.scenarios.fuzz import fuzz
from benchmarks.chaos.scenarios.hostile import hostile
from benchmarks.chaos.scenarios.indoubt import indoubt
from benchmarks.chaos.scenarios.kill import kill
from benchmarks.chaos.scenarios.lease import lease
from benchmarks.chaos.scenarios.listener import listener
from benchmarks.chaos.scenarios.poison import poison
from benchmarks.chaos.scenarios.restart import restart, silence
from benchmarks.chaos.scenarios.slow import slow
from benchmarks.chaos.scenarios.soak import soak
from benchmarks.chaos.scenarios.stop import stop
from benchmarks.chaos.scenarios.term import term
from benchmarks.chaos.selftest import selftest
from benchmarks.chaos.site import Run

Scenario = Callable[[Run], Awaitable[None]]

SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        selftest,
        kill,
        stop,
        lease,
        restart,
        silence,
        term,
        listener,
        indoubt,
        poison,
        hostile,
        slow,
        soak,
        fuzz,
    )
}

# What needs nothing that is not installed.
GATE = tuple(name for name in SCENARIOS if name != "fuzz")


async def run_scenario(
    name: str,
    *,
    postgres: Postgres,
    seed: str,
    profile: str = "short",
    part: float = 1.0,
    without: Sequence[str] = (),
    keep_logs: bool = False,
    notify: bool = True,
) -> Report:
    """Run one scenario to its end; its report says whether anything was broken."""
    report = Report(name, seed, profile)
    run = Run(
        postgres=postgres,
        report=report,
        chance=random.Random(f"{name} {seed}"),
        part=part,
        long=profile == "long",
        without=tuple(without),
        keep_logs=keep_logs,
        notify=notify,
    )
    began = time.monotonic()
    try:
        await SCENARIOS[name](run)
    except* RuntimeError as errors:
        report.broken(errors.exceptions)
    report.figure("took", time.monotonic() - began, "s")
    return report
