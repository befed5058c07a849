"""`python -m benchmarks [SUITE...]`: every figure with its method, beside the peers, in one run.

Suites: drain, workers, snapshot, enqueue, http, latency, paced, idle, backlog, monitoring,
analysis. What is compared is measured in turns, round by round, because the machine drifts: read
the ratios.
"""

import argparse
import asyncio
import platform
import statistics
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from benchmarks import analysis as analysis_suite
from benchmarks import backlog as backlog_suite
from benchmarks import enqueue as enqueue_suite
from benchmarks import latency as latency_suite
from benchmarks import monitoring as monitoring_suite
from benchmarks.drain import Drained, drain
from benchmarks.peer import ALL, GRAPHILE, OURS, PGQUEUER, RAW, Peer, install
from benchmarks.server import Server, server

Options = argparse.Namespace
BEST = [(RAW, "b500"), (OURS, "tuned"), (GRAPHILE, "tuned"), (PGQUEUER, "b500pool")]


def _table(title: str, rows: list[tuple[str, ...]]) -> None:
    print(f"\n### {title}\n")
    for n, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if n == 0:
            print("|" + "---|" * len(row))


def _middle(values: list[float], digits: int = 0) -> str:
    low, high = min(values), max(values)
    return f"**{statistics.median(values):,.{digits}f}** ({low:,.{digits}f}-{high:,.{digits}f})"


def _ratio(ours: list[float], theirs: list[float]) -> str:
    """Median of the rounds' own ratios."""
    return f"{statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}"


async def _drain(server: Server, options: Options) -> None:
    chosen = [(peer, profile) for peer in ALL for profile in peer.profiles]
    for jobs, pairs in ((20_000, chosen), (100_000, BEST)):
        results: dict[tuple[str, str], list[Drained]] = {}
        for _ in range(options.rounds):
            for peer, profile in pairs:
                count = min(jobs, peer.drained) if jobs == 20_000 else jobs
                one = await drain(server, peer, profile, count)
                results.setdefault((peer.name, profile), []).append(one)
        ours = [r.rate for r in results[OURS.name, "tuned"]]
        rows = [
            (
                "peer",
                "profile",
                "jobs",
                "jobs/s",
                "worker CPU µs/job",
                "server CPU µs/job",
                "ours (tuned) / this",
            )
        ]
        for (name, profile), runs in results.items():
            peer = next(p for p in ALL if p.name == name)
            count = min(jobs, peer.drained) if jobs == 20_000 else jobs
            rows.append(
                (
                    name,
                    profile,
                    f"{count:,}",
                    _middle([r.rate for r in runs]),
                    _middle([r.cpu_micros for r in runs], 1),
                    _middle([r.server_cpu_micros for r in runs], 1),
                    _ratio(ours, [r.rate for r in runs]),
                )
            )
        _table(f"Drain of {jobs:,} no-op jobs, one worker process", rows)


async def _workers(server: Server, options: Options) -> None:
    one: list[float] = []
    two: list[float] = []
    for _ in range(options.rounds):
        one.append((await drain(server, OURS, "tuned", 100_000)).rate)
        two.append((await drain(server, OURS, "tuned", 100_000, workers=2)).rate)
    rows = [
        ("worker processes", "jobs/s"),
        ("1", _middle(one)),
        ("2", _middle(two)),
        ("2 / 1", _ratio(two, one)),
    ]
    _table("Drain of 100,000, one and two worker processes", rows)


async def _snapshot(server: Server, options: Options) -> None:
    rows = [("peer", "free, jobs/s", "held, jobs/s", "held / free")]
    results: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.rounds):
        for peer, profile in BEST:
            for held in (False, True):
                got = await drain(server, peer, profile, 100_000, held=held)
                results.setdefault((peer.name, held), []).append(got.rate)
    for peer, _ in BEST:
        free, held_rates = results[peer.name, False], results[peer.name, True]
        rows.append((peer.name, _middle(free), _middle(held_rates), _ratio(held_rates, free)))
    _table("Drain of 100,000, free and beside a snapshot that is held open", rows)


async def _enqueue(server: Server, options: Options) -> None:
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.rounds):
        for peer in ALL:
            single = await enqueue_suite.from_tasks(server, peer, 5_000)
            rates.setdefault((peer.name, "tasks"), []).append(single)
            if peer is RAW:
                notified = await enqueue_suite.from_tasks(server, peer, 5_000, "notify")
                rates.setdefault(("raw with NOTIFY", "tasks"), []).append(notified)
            bulk = await enqueue_suite.in_bulk(server, peer, 20_000)
            rates.setdefault((peer.name, "bulk"), []).append(bulk)
    rows = [("peer", "50 tasks, jobs/s", "bulk, jobs/s", "ours / this, bulk")]
    for name in dict.fromkeys(name for name, _ in rates):
        bulk_rates = rates.get((name, "bulk"))
        rows.append(
            (
                name,
                _middle(rates[name, "tasks"]),
                _middle(bulk_rates) if bulk_rates else "",
                _ratio(rates[OURS.name, "bulk"], bulk_rates) if bulk_rates else "",
            )
        )
    _table("Enqueue: 50 tasks over 20 connections, and 20,000 in thousands", rows)


async def _http(server: Server, options: Options) -> None:
    single: list[float] = []
    http: list[float] = []
    for _ in range(options.rounds):
        single.append(await enqueue_suite.one_by_one(server, 5_000))
        http.append(await enqueue_suite.over_http(server, 10_000))
    _table(
        "POST /api/analyze from 64 clients, 10 connections to PostgreSQL",
        [
            ("what", "jobs/s"),
            ("one insert a transaction, no HTTP", _middle(single)),
            ("over HTTP, every 201 durable", _middle(http)),
            ("ratio", _ratio(http, single)),
        ],
    )


def _latency_of(
    jobs: int, per_second: float, title: str
) -> Callable[[Server, Options], Awaitable[None]]:
    async def suite(server: Server, options: Options) -> None:
        chosen: list[tuple[Peer, str]] = [
            (RAW, "b500"),
            (OURS, "default"),
            (GRAPHILE, "tuned"),
            (PGQUEUER, "default"),
            (ALL[4], "default"),
        ]
        if per_second > 100:
            chosen = chosen[:4]
        results: dict[str, list[latency_suite.Latency]] = {}
        for _ in range(options.rounds):
            for peer, profile in chosen:
                got = await latency_suite.latency(server, peer, profile, jobs, per_second)
                results.setdefault(peer.name, []).append(got)
        rows = [("peer", "p50 ms", "p95 ms", "p99 ms", "this / raw, p50")]
        raw = [got.p50 for got in results[RAW.name]]
        for name, runs in results.items():
            p50 = [got.p50 for got in runs]
            rows.append(
                (
                    name,
                    _middle(p50, 2),
                    _middle([got.p95 for got in runs], 2),
                    _middle([got.p99 for got in runs], 2),
                    _ratio(p50, raw),
                )
            )
        _table(title, rows)

    return suite


async def _idle(server: Server, options: Options) -> None:
    rows = [("peer", "transactions a minute", "resident MiB", "connections")]
    for peer in ALL:
        got = await latency_suite.idle(server, peer, peer.profiles[0], options.idle_seconds)
        rows.append(
            (peer.name, f"{got.transactions:.0f}", f"{got.resident_mib:.0f}", str(got.connections))
        )
    _table("An idle worker", rows)


async def _backlog(server: Server, options: Options) -> None:
    rates = await backlog_suite.backlog(server, options.rows, 10_000, max(options.rounds, 5))
    rows = [("beside", "jobs/s", "of empty")]
    rows += [
        (
            f"{options.rows:,} {kind}" if kind != "empty" else kind,
            _middle(got),
            _ratio(got, rates["empty"]),
        )
        for kind, got in rates.items()
    ]
    _table("Claims and completions of 500, by one connection", rows)


async def _monitoring(server: Server, options: Options) -> None:
    times = await monitoring_suite.monitoring(server, finished=options.rows, pending=100_000)
    rows = [("read", "p50 ms", "p95 ms")]
    rows += [(name, f"{got.p50:.1f}", f"**{got.p95:.1f}**") for name, got in times.items()]
    title = f"Reads beside {options.rows:,} finished jobs of one day and 100,000 pending ones"
    _table(f"{title}, 200 each in turn", rows)


async def _analysis(server: Server, options: Options) -> None:
    runs = [await analysis_suite.analysis(server) for _ in range(options.rounds)]
    rows = [
        ("what", "figure"),
        ("CPU s for one, from XLSX to both reports", _middle([r.cpu_seconds for r in runs], 2)),
        ("seconds for one", _middle([r.wall_seconds for r in runs], 2)),
        ("seconds for ten at once", _middle([r.ten_seconds for r in runs], 1)),
        ("p95 ms of GET /api/jobs/{id} meanwhile", _middle([r.get_p95 for r in runs], 1)),
    ]
    _table(f"complete_analysis: {analysis_suite.LINES:,} lines, {analysis_suite.HAULS} hauls", rows)


SUITES: dict[str, Callable[[Server, Options], Awaitable[None]]] = {
    "drain": _drain,
    "workers": _workers,
    "snapshot": _snapshot,
    "enqueue": _enqueue,
    "http": _http,
    "latency": _latency_of(250, 50, "Enqueue to handler start, idle worker, a job every 20 ms"),
    "paced": _latency_of(5_000, 500, "Enqueue to handler start at 500 jobs/s"),
    "idle": _idle,
    "backlog": _backlog,
    "monitoring": _monitoring,
    "analysis": _analysis,
}


async def main() -> None:
    """Run the named suites, all without names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="backlog, monitoring: how many rows"
    )
    parser.add_argument("--idle-seconds", type=float, default=60)
    options = parser.parse_args()
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    install()
    async with server() as postgres:
        admin = await postgres.connect()
        version = await admin.fetchval("SHOW server_version")
        await admin.close()
        print(
            f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
            f"PostgreSQL {version}, "
            f"{psutil_cores()} cores shared by client and server; median (lowest-highest) of "
            f"{options.rounds} rounds"
        )
        for name in options.suites or SUITES:
            await SUITES[name](postgres, options)


def psutil_cores() -> int:
    """How many this process may use."""
    import os

    return len(os.sched_getaffinity(0))


asyncio.run(main())
