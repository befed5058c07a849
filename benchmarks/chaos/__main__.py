"""The command: `python -m benchmarks.chaos [SCENARIO...]`."""

import argparse
import platform
import secrets
import sys
from datetime import UTC, datetime

from benchmarks.chaos.controls import PROTECTIONS, noticed
from benchmarks.chaos.postgres import Postgres
from benchmarks.chaos.report import Report
from benchmarks.chaos.running import SCENARIOS, run_scenario
from wastewise_jobs.cli.running import run


def main() -> int:
    """Run the scenarios; 1 if any promise was broken."""
    asked = _arguments()
    reports = run(_run(asked))
    red = [report for report in reports if report.problems]
    for name in asked.without:
        seen = any(noticed(name, report.problems) for report in reports)
        print(f"without {PROTECTIONS[name].says}: {'noticed' if seen else 'NOT NOTICED'}")
    print(f"\n{len(reports) - len(red)} of {len(reports)} scenarios green")
    for report in red:
        print(f"  RED {report.scenario}: {len(report.problems)} problems; --seed {report.seed}")
    return 1 if red else 0


async def _run(asked: argparse.Namespace) -> list[Report]:
    print(f"seed {asked.seed}, profile {asked.profile}, {_machine()}")
    reports = []
    async with Postgres.running() as postgres:
        for name in asked.scenario or _usual(asked.without):
            report = await run_scenario(
                name,
                postgres=postgres,
                seed=asked.seed,
                profile=asked.profile,
                part=asked.part,
                without=asked.without,
                keep_logs=True,
                notify=asked.notify,
            )
            print(f"\n{report}", flush=True)
            reports.append(report)
    return reports


def _usual(without: list[str]) -> list[str]:
    """Everything, or the scenarios that must notice what is taken away."""
    return [PROTECTIONS[name].scenario for name in without] or [*SCENARIOS]


def _machine() -> str:
    now = datetime.now(UTC).date()
    return f"{now}, Python {platform.python_version()}, {platform.platform(terse=True)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], help="all by default")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="replays a schedule of faults")
    parser.add_argument("--profile", choices=["short", "long"], default="long")
    parser.add_argument("--part", type=float, default=1.0, help="0.25: a quarter of the faults")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=PROTECTIONS,
        help="take a protection away; the run must turn red",
    )
    parser.add_argument(
        "--no-notify", dest="notify", action="store_false", help="with NOTIFY_ENABLED=false"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
