"""The floor: a bare asyncpg loop on a minimal table. No leases, retries, priorities or recovery.

Claims 500 on one connection while the batch before is deleted on another.
"""

import asyncio
import json

import asyncpg
from reporting import PAYLOAD, Counter, arrived, dsn, from_tasks, main, paced, timed

BATCH = 500
SETUP = """
CREATE TABLE raw_job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state smallint NOT NULL DEFAULT 0,
    payload jsonb NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX raw_job_waiting ON raw_job (id) WHERE state = 0;
"""
CLAIM = """
UPDATE raw_job SET state = 1
WHERE id = ANY (ARRAY (
    SELECT id FROM raw_job WHERE state = 0 ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED
))
RETURNING payload
, id
"""
DELETE = "DELETE FROM raw_job WHERE id = ANY ($1::bigint[])"
INSERT = "INSERT INTO raw_job (payload) VALUES ($1)"
INSERT_NOTIFY = "WITH i AS (INSERT INTO raw_job (payload) VALUES ($1)) SELECT pg_notify('raw', '')"
BULK = "INSERT INTO raw_job (payload) SELECT unnest($1::jsonb[])"


async def setup() -> None:
    connection = await asyncpg.connect(dsn())
    await connection.execute(SETUP)
    await connection.close()


async def _bulk(count: int) -> None:
    connection = await asyncpg.connect(dsn())
    text = json.dumps(PAYLOAD)
    for start in range(0, count, 1000):
        await connection.execute(BULK, [text] * min(1000, count - start))
    await connection.close()


async def bulk(count: str) -> None:
    await timed(int(count), _bulk(int(count)))


async def tasks(count: str, concurrency: str, notify: str = "") -> None:
    statement = INSERT_NOTIFY if notify else INSERT
    async with asyncpg.create_pool(dsn(), min_size=20, max_size=20) as pool:

        async def one() -> None:
            await pool.execute(statement, json.dumps(PAYLOAD))

        await timed(int(count), from_tasks(int(count), int(concurrency), one))


async def pace(count: str, per_second: str) -> None:
    async with asyncpg.create_pool(dsn(), min_size=10, max_size=10) as pool:

        async def one(now: float) -> None:
            await pool.execute(INSERT_NOTIFY, json.dumps({"at": now}))

        await paced(int(count), float(per_second), one)


async def worker(_profile: str) -> None:
    counter = Counter()

    async def handle(payload: dict[str, float]) -> None:
        if "at" in payload:
            arrived(payload["at"])
        else:
            counter.hit()

    listener, one, two = [await asyncpg.connect(dsn()) for _ in range(3)]
    hinted = asyncio.Event()
    await listener.add_listener("raw", lambda *_: hinted.set())
    deleting: asyncio.Task[str] | None = None
    while True:
        rows = await one.fetch(CLAIM)
        for row in rows:
            await handle(json.loads(row[0]))
        if deleting is not None:
            await deleting
            deleting = None
        if rows:
            deleting = asyncio.create_task(two.execute(DELETE, [row[1] for row in rows]))
        if len(rows) < BATCH:
            if deleting is not None:
                await deleting
                deleting = None
            try:
                async with asyncio.timeout(5):
                    await hinted.wait()
            except TimeoutError:
                pass
            hinted.clear()


main({"setup": setup, "bulk": bulk, "tasks": tasks, "pace": pace, "worker": worker})
