"""The LISTEN connection: one per process, outside the pool.

A notification is a hint that saves latency and nothing else: whoever uses this polls as well. The
connection proves itself, because a listener can be dead while its socket looks open: every ten
seconds the server must answer, and the first time and every thirty seconds a NOTIFY to itself must
come back, because a transaction pooler accepts LISTEN and delivers nothing. In the latter case one
warning is logged and polling is what remains. Whatever silenced the line, it is in use again within
fifteen seconds after that has passed.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence

import asyncpg

from wastewise_jobs.db.connect import connect
from wastewise_jobs.db.loops import Backoff, Beat
from wastewise_jobs.db.pool import connect_options
from wastewise_jobs.logs import get_logger

log = get_logger(__name__)

_CHECK_EVERY_SECONDS = 10.0
_CHECK_LIMIT_SECONDS = 3.0
# A NOTIFY takes a lock of the whole server and two transactions; an answer takes one and no lock.
_ANSWERS_FOR_EACH_NOTIFY = 2
# Of the interval between checks; the longest pause between two attempts to connect.
_LONGEST_PAUSE = 0.3
_POLL_ONLY_RECHECK_SECONDS = 300.0


class _DeafError(Exception):
    """LISTEN was accepted, but our own notification did not come back."""


class Notifier:
    """Listens on `topics` and calls `on_message(topic, payload)` for each notification.

    `on_connect()` is called after every (re)connect, because whatever was sent meanwhile is lost:
    look at everything once. Both callbacks run on the loop and must return at once.

    Not a `Loop`: each connection is one long tick, which ends only by failing.
    """

    def __init__(
        self,
        dsn: str,
        topics: Sequence[str],
        *,
        on_message: Callable[[str, str], None],
        on_connect: Callable[[], None],
        check_every: float = _CHECK_EVERY_SECONDS,
        check_limit: float = _CHECK_LIMIT_SECONDS,
        application_name: str = "wastewise-jobs listener",
    ) -> None:
        self._dsn = dsn
        self._topics = tuple(topics)
        self._on_message = on_message
        self._on_connect = on_connect
        self._check_every = check_every
        self._check_limit = check_limit
        self._application_name = application_name
        # A topic of our own, so that the check wakes nobody else.
        self._check_topic = f"wastewise_check_{secrets.token_hex(8)}"
        self._heard = asyncio.Event()
        self._was_heard = False
        self.beat = Beat(check_every + check_limit)
        self.listening = False
        # How often notifications were lost and came back.
        self.reconnects = 0

    async def run(self) -> None:
        """Listen until cancelled, reconnecting for as long as it takes."""
        backoff = Backoff(cap=self._check_every * _LONGEST_PAUSE)
        while True:
            self.beat.stamp()
            try:
                await self._listen(backoff)
            except _DeafError:
                delay = self._poll_only()
            except Exception as error:  # noqa: BLE001 - a loop's tick: nothing may end the loop
                delay = backoff.next()
                if backoff.failures == 1:
                    text = f"{type(error).__name__}: {error}"
                    log.warning("listener_lost", error=text, effect="polling until it is back")
            self.listening = False
            await self._sleep(delay)

    def _poll_only(self) -> float:
        if self._was_heard:
            return 1.0
        log.warning(
            "listener_deaf",
            effect="polling only",
            advice="LISTEN does not work here; behind a transaction pooler set DATABASE_DIRECT_URL",
        )
        return _POLL_ONLY_RECHECK_SECONDS

    async def _sleep(self, delay: float) -> None:
        while delay > 0:
            self.beat.stamp()
            await asyncio.sleep(min(delay, self._check_every))
            delay -= self._check_every

    async def _listen(self, backoff: Backoff) -> None:
        # An attempt whose bytes were swallowed would go on hanging when others succeed again.
        async with asyncio.timeout(self._check_limit):
            connection = await connect(
                self._dsn,
                **connect_options(
                    application_name=self._application_name,
                    command_timeout=self._check_limit,
                    # Nothing is worth preparing, and a pooler in front is told apart by hearing.
                    statement_cache_size=0,
                ),
            )
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        try:
            await self._subscribe(connection)
            await self._check(connection)
            self._connected(recovered=backoff.reset())
            answers = 0
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._check_every):
                        await closed.wait()
                        break
                self.beat.stamp()
                if answers < _ANSWERS_FOR_EACH_NOTIFY:
                    answers += 1
                    # Raises TimeoutError when nobody answers in time.
                    await connection.execute("SELECT 1")
                else:
                    answers = 0
                    await self._check(connection)
        finally:
            # close() would wait for a server that may never answer.
            connection.terminate()
        raise ConnectionError("the server closed the connection")

    async def _subscribe(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        for topic in self._topics:
            await connection.add_listener(topic, self._received)
        await connection.add_listener(self._check_topic, self._heard_itself)

    async def _check(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """A NOTIFY to ourselves must come back on this very session."""
        self._heard.clear()
        try:
            async with asyncio.timeout(self._check_limit):
                await connection.execute(f"NOTIFY {self._check_topic}")
                await self._heard.wait()
        except TimeoutError:
            raise _DeafError from None

    def _connected(self, *, recovered: bool) -> None:
        if self._was_heard:
            self.reconnects += 1
        self._was_heard = True
        self.listening = True
        if recovered:
            log.info("listener_connected", reconnects=self.reconnects)
        self._on_connect()

    def _heard_itself(self, *_: object) -> None:
        self._heard.set()

    def _received(self, _connection: object, _pid: int, topic: str, payload: object) -> None:
        self._on_message(topic, str(payload))
