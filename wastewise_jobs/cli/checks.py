"""The questions that `doctor` asks of an installation, each with what to do about a bad answer.

Every check stands alone: one that fails says so and the next one is asked. Reads only, but for a
write that is rolled back.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from urllib.parse import urlsplit

import asyncpg

from wastewise_jobs.alerts.store import AlertStore
from wastewise_jobs.db import server, trouble
from wastewise_jobs.db.address import POOLER_REMEDY, hears, speaks_of_pooler
from wastewise_jobs.db.opening import Addresses, direct_connection, pooled_connection
from wastewise_jobs.db.pool import Connection
from wastewise_jobs.db.schema.migrate import (
    MAKE_UTF8,
    REVOKE_CREATE,
    RISK_OF_CREATE,
    check_schema,
    lacks_utf8,
    public_may_create,
)
from wastewise_jobs.errors import SchemaMismatchError, WastewiseJobsError
from wastewise_jobs.in_words import count
from wastewise_jobs.maintenance.store import astray_jobs, held_rows
from wastewise_jobs.maintenance.store import repair as repair_now
from wastewise_jobs.monitoring.unserved import unserved
from wastewise_jobs.monitoring.workers import alive, undelivered_words
from wastewise_jobs.settings import Settings

OLDEST_SERVER, NEWEST_SERVER = 14, 18
_MOST_SKEW_SECONDS = 5.0


class Grade(StrEnum):
    """How bad it is; only a problem makes `doctor` fail."""

    GOOD = "good"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question; `advice` is what to do about it."""

    check: str
    verdict: Grade
    says: str
    advice: str = ""


def good(check: str, says: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Grade.GOOD, says)


def note(check: str, says: str, advice: str) -> Finding:
    """Works, but worth knowing."""
    return Finding(check, Grade.NOTE, says, advice)


def problem(check: str, says: str, advice: str) -> Finding:
    """Something does not work."""
    return Finding(check, Grade.PROBLEM, says, advice)


async def examine(settings: Settings, addresses: Addresses, *, repair: bool) -> list[Finding]:
    """Every finding about this installation, the database's first."""
    async with AsyncExitStack() as opened:
        try:
            connection = await opened.enter_async_context(pooled_connection(addresses))
        except WastewiseJobsError as error:
            return [_unusable("database", error), *about_settings(settings)]
        checks: list[tuple[str, Callable[[], Awaitable[Finding]]]] = [
            ("database", lambda: _database(connection, addresses, settings)),
            ("schema", lambda: _schema(connection)),
            ("writing", lambda: _writing(connection)),
            ("listener", lambda: _listener(connection, addresses, settings)),
            ("connections", lambda: _connections(connection, settings)),
            ("clock", lambda: _clock(connection)),
            ("queue", lambda: _queue(connection, repair=repair)),
            ("workers", lambda: _workers(connection, settings)),
            ("work", lambda: _work(connection, settings)),
            ("pruning", lambda: _pruning(connection)),
            ("alerts", lambda: _alerts(connection)),
            ("public", lambda: _public(connection)),
        ]
        findings = [await _ask(name, check) for name, check in checks]
    return [*findings, *_dropped(addresses), *about_settings(settings)]


def _unusable(name: str, error: WastewiseJobsError) -> Finding:
    says = str(error).removeprefix("DATABASE_URL: ")
    return problem(name, says, POOLER_REMEDY if POOLER_REMEDY in says else "check DATABASE_URL")


async def _ask(name: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await check()
    except WastewiseJobsError as error:
        return _unusable(name, error)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError):
        return problem(name, "cannot be checked on this schema", "mend the schema first")
    except trouble.ERRORS as error:
        said = f"{type(error).__name__}: {error}"
        if speaks_of_pooler(error):
            return problem(name, f"a pooler loses our session: {said}", POOLER_REMEDY)
        return problem(name, f"could not be checked: {said}", "see the check above it first")


async def _database(connection: Connection, addresses: Addresses, settings: Settings) -> Finding:
    version = connection.get_server_version()
    # Nobody else can tell where our own is; it needs no password.
    where = f"our own at {addresses.direct}" if settings.embedded else "DATABASE_URL"
    says = f"PostgreSQL {await server.release(connection)}, {where}"
    if version.major < OLDEST_SERVER:
        return problem("database", says, f"use PostgreSQL {OLDEST_SERVER} or newer")
    if lack := lacks_utf8(connection):
        return problem("database", f"{says}, {lack}", MAKE_UTF8)
    if version.major > NEWEST_SERVER:
        return note("database", says, f"tested up to PostgreSQL {NEWEST_SERVER}")
    return good("database", says)


async def _schema(connection: Connection) -> Finding:
    try:
        await check_schema(connection)
    except SchemaMismatchError as error:
        return problem("schema", "does not fit this release", str(error))
    return good("schema", "is that of this release")


async def _writing(connection: Connection) -> Finding:
    try:
        await server.try_to_write(connection)
    except asyncpg.ReadOnlySQLTransactionError:
        advice = "point DATABASE_URL at the primary; several hosts need target_session_attrs"
        return problem("writing", "the server is read-only", advice)
    except asyncpg.UndefinedTableError:
        return problem("writing", "there is no schema yet", "run `wastewise-jobs migrate`")
    except asyncpg.InsufficientPrivilegeError as error:
        return problem("writing", f"refused: {error}", "grant the role of DATABASE_URL its rights")
    return good("writing", "works")


async def _listener(connection: Connection, addresses: Addresses, settings: Settings) -> Finding:
    """A NOTIFY on the pooled address must reach a LISTEN on the direct one."""
    if not settings.notify_enabled:
        return note("listener", "switched off", "NOTIFY_ENABLED=true makes idle workers quick")
    async with direct_connection(addresses, name="wastewise-jobs listener") as listener:
        started = time.monotonic()
        if await hears(listener, connection):
            return good("listener", f"heard itself in {(time.monotonic() - started) * 1000:.1f} ms")
    advice = f"a transaction pooler delivers none: {POOLER_REMEDY}"
    return problem("listener", "a notification did not arrive", advice)


async def _connections(connection: Connection, settings: Settings) -> Finding:
    room = await server.room(connection)
    budget = settings.database_pool_size + settings.connections_beside_pool
    says = f"a process uses up to {budget} of {room.most}, {room.used} are in use"
    if budget > room.most:
        advice = "lower DATABASE_POOL_SIZE or raise max_connections"
        return problem("connections", says, advice)
    if budget > room.most - room.used:
        return note("connections", says, "one more full process would not fit")
    return good(
        "connections", f"{says}, room for {(room.most - room.used) // budget} more processes"
    )


async def _clock(connection: Connection) -> Finding:
    before = datetime.now(UTC)
    theirs = await server.clock(connection)
    after = datetime.now(UTC)
    skew = (theirs - (before + (after - before) / 2)).total_seconds()
    says = f"the database's is {abs(skew):.2f} s {'ahead of' if skew > 0 else 'behind'} ours"
    if abs(skew) > _MOST_SKEW_SECONDS:
        return problem("clock", says, "run NTP on both: tokens expire by our clock, jobs by theirs")
    return good("clock", says)


async def _queue(connection: Connection, *, repair: bool) -> Finding:
    astray = await astray_jobs(connection)
    if not astray:
        return good("queue", "every unfinished job is in it, and nothing else")
    says = f"{astray} jobs are astray: job_queue and analysis_jobs disagree about them"
    if not repair:
        return problem("queue", says, "run `wastewise-jobs doctor --repair`")
    mended = await repair_now(connection)
    return note("queue", says, f"repaired, {mended} rows were changed")


async def _workers(connection: Connection, settings: Settings) -> Finding:
    workers, callers = await alive(connection, _silent_after(settings))
    says = f"{workers:,} running"
    if callers:
        says += f", {count(callers, 'caller')} of get_next_job"
    if not workers + callers:
        return note("workers", "none is running", "start one: `wastewise-jobs worker`")
    return good("workers", says)


async def _work(connection: Connection, settings: Settings) -> Finding:
    left = await unserved(connection, _silent_after(settings))
    if not left:
        return good("work", "somebody carries whatever is due")
    says = "\n".join(one.words for one in left)
    return problem("work", says, "deploy a worker that carries it, or cancel the jobs")


async def _pruning(connection: Connection) -> Finding:
    held = await held_rows(connection)
    if not held.rows:
        return good("pruning", "nothing is kept from it")
    says = f"{count(held.rows, 'row')} cannot be deleted: {held.reason}"
    return note("pruning", says, "ON DELETE CASCADE or SET NULL in that table lets them go")


async def _alerts(connection: Connection) -> Finding:
    undelivered = await AlertStore(connection).undelivered()
    if not undelivered:
        return good("alerts", "none is undelivered")
    says = undelivered_words(undelivered)
    return note("alerts", says, "run `wastewise-jobs alerts list`, then `alerts test`")


async def _public(connection: Connection) -> Finding:
    if await public_may_create(connection):
        return note("public", RISK_OF_CREATE, f"as its owner: {REVOKE_CREATE}")
    return good("public", "only those who were allowed to create in schema public")


def _silent_after(settings: Settings) -> timedelta:
    return timedelta(minutes=settings.worker_heartbeat_threshold_minutes)


def _dropped(addresses: Addresses) -> list[Finding]:
    """What an address says and we do without."""
    if not addresses.dropped:
        return []
    return [note("address", f"without effect: {', '.join(addresses.dropped)}", "leave them out")]


def about_settings(settings: Settings) -> list[Finding]:
    """What can be said without a database."""
    return [_tokens(settings), _channels(settings), *_proxies(settings)]


def _tokens(settings: Settings) -> Finding:
    verified = {
        "JWT_SECRET": settings.jwt_secret,
        "JWT_SECRET_PREVIOUS": settings.jwt_secret_previous,
        f"the keys at {settings.jwt_jwks_url}": settings.jwt_jwks_url,
    }
    if by := [name for name, value in verified.items() if value]:
        return good("tokens", f"verified by {', '.join(by)}")
    if settings.embedded:
        return good("tokens", f"verified by a secret kept in {settings.wastewise_home}")
    return problem("tokens", "cannot be verified", "set JWT_SECRET or JWT_JWKS_URL for the API")


def _channels(settings: Settings) -> Finding:
    configured = {
        "e-mail": settings.resend_api_key,
        "e-mail by SMTP": settings.smtp_url,
        "Slack": settings.slack_webhook_url,
        "PagerDuty": settings.pagerduty_key,
    }
    names = [name for name, value in configured.items() if value]
    if not names:
        advice = "set RESEND_API_KEY, SMTP_URL, SLACK_WEBHOOK_URL or PAGERDUTY_KEY"
        return note("channels", "none is configured for alerts", advice)
    return good("channels", ", ".join(names))


def _proxies(settings: Settings) -> list[Finding]:
    """Where a proxy is, without its login."""
    given = {"https": settings.https_proxy, "http": settings.http_proxy}
    ways = [
        f"{scheme}:// by {urlsplit(url.get_secret_value()).netloc.rpartition('@')[2]}"
        for scheme, url in given.items()
        if url is not None
    ]
    if not ways:
        return []
    exceptions = f", but for {', '.join(settings.no_proxy)}" if settings.no_proxy else ""
    smtp = "; SMTP uses none" if settings.smtp_url else ""
    return [good("proxy", f"{', '.join(ways)}{exceptions}{smtp}")]
