"""The connection pool, and what every connection of ours has set.

Whoever asks first is served first (`turns`). Every statement has a limit on both sides: asyncpg's
command timeout ends our wait, and the server's statement timeout ends the work when nobody waits
any more. A connection that turns out to lead to a read-only or stopping server is closed, so that
the next one finds the new primary; so is one whose server does not answer a request to cancel, and
whatever waits in its pool with it.
"""

import asyncio
import socket
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import asyncpg
import orjson
from asyncpg.connection import LoggedQuery

from wastewise_jobs.db import trouble
from wastewise_jobs.db.connect import CONNECT_SECONDS, connect_and_tell
from wastewise_jobs.db.silence import Doubts, Peer, socket_of
from wastewise_jobs.db.turns import FairPool
from wastewise_jobs.dsn import Host, read_dsn

if TYPE_CHECKING:
    _Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    # asyncpg's own word for "a connection or the proxy of one that a pool hands out".
    Connection: TypeAlias = _Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Executor: TypeAlias = Pool | Connection
else:
    # Generic only in their stubs.
    _Connection = asyncpg.Connection
    Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
    Pool = asyncpg.Pool
    Executor = Pool | Connection

CANCEL_SECONDS = 1.0
_IDLE_CONNECTION_SECONDS = 300.0
_QUERIES_OF_A_CONNECTION = 50_000
_IDLE_IN_TRANSACTION = "15min"
# The server too lets go of a silent peer, with all that its session has locked: seconds but for the
# last, which is in milliseconds. It ignores them on a unix socket.
_SERVER_KEEPALIVES = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_JSONB_VERSION = b"\x01"


class PooledConnection(_Connection):
    """A connection that needs no clean-up on release: our statements leave no session state.

    `others` are those of its pool, `host` is where it leads to.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - asyncpg's own
        super().__init__(*args, **options)
        self.others: weakref.WeakSet[PooledConnection] = weakref.WeakSet()
        self.host: Host | None = None
        self.doubts: Doubts | None = None

    @property
    def idle(self) -> bool:
        """Whether it waits in the pool."""
        return getattr(self, "_proxy", None) is None

    def held_at(self) -> tuple[Host, Peer] | None:
        """Where it leads to, while it is open and somebody holds it."""
        if self.idle or self.host is None or self.is_closed():
            return None
        transport = getattr(self, "_transport", None)
        name = transport.get_extra_info("peername") if transport is not None else None
        peer = (str(name[0]), int(name[1])) if isinstance(name, tuple) else socket_of(self.host)
        return (self.host, peer) if peer is not None else None

    def _set_proxy(self, proxy: object) -> None:
        super()._set_proxy(proxy)  # type: ignore[misc]  # not in their stubs
        if self.doubts is None:
            return
        if proxy is None:
            self.doubts.given_back(self.held_at)
        else:
            self.doubts.taken(self.held_at)

    def get_reset_query(self) -> str:
        """Nothing; a transaction that was left open is rolled back all the same."""
        return ""

    def _cancel_current_command(self, *waiters: "asyncio.Future[None]") -> None:
        """Ask the server to stop, as asyncpg does, but wait for its answer a moment only.

        A release waits for that answer, for half a minute and more when the server hangs.
        """
        super()._cancel_current_command(*waiters)  # type: ignore[misc]  # not in their stubs
        asyncio.get_running_loop().call_later(CANCEL_SECONDS, self._drop_unless, waiters)

    def _drop_unless(self, waiters: "Sequence[asyncio.Future[None]]") -> None:
        if all(waiter.done() for waiter in waiters) and not self.is_closed():
            return
        drop(self)
        # What has cut this one off has hardly spared those that wait beside it: each would keep
        # somebody waiting until the limit, one after the other.
        for other in list(self.others):
            if other.idle:
                drop(other)


def create_pool(
    dsn: str,
    *,
    min_size: int = 1,
    max_size: int = 10,
    application_name: str = "wastewise-jobs",
    command_timeout: float = 30.0,
    statement_cache_size: int | None = None,
) -> Pool:
    """A pool for `async with` or `await`, as asyncpg's own; times are in seconds.

    `statement_cache_size=0` is for a transaction pooler: then nothing is prepared by name and no
    session setting is sent that such a pooler would refuse.
    """
    siblings: weakref.WeakSet[PooledConnection] = weakref.WeakSet()
    address = read_dsn(dsn).or_of_environment()

    def give_up(host: Host) -> int:
        lost = [one for one in siblings if one.host == host]
        for connection in lost:
            drop(connection)
        return len(lost)

    doubts = Doubts(address, give_up) if len(address.hosts) > 1 else None

    async def init(connection: Connection) -> None:
        if isinstance(connection, PooledConnection):
            connection.others = siblings
            connection.doubts = doubts
            siblings.add(connection)
        await prepare_connection(connection)

    return FairPool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        max_queries=_QUERIES_OF_A_CONNECTION,
        loop=None,
        record_class=asyncpg.Record,
        max_inactive_connection_lifetime=_IDLE_CONNECTION_SECONDS,
        connect=_connect,
        connection_class=PooledConnection,
        init=init,
        **connect_options(
            application_name=application_name,
            command_timeout=command_timeout,
            statement_cache_size=statement_cache_size,
        ),
    )


async def _connect(*args: Any, **options: Any) -> _Connection:  # noqa: ANN401 - asyncpg's own
    connection, place = await connect_and_tell(*args, **options)
    if isinstance(connection, PooledConnection):
        connection.host = next(iter(place.hosts), None)
    return connection


def connect_options(
    *,
    application_name: str,
    command_timeout: float,
    statement_cache_size: int | None = None,
) -> dict[str, Any]:
    """Keyword arguments for `connect` that every connection of ours shares."""
    settings = {"application_name": application_name, "TimeZone": "UTC"}
    options: dict[str, Any] = {
        "timeout": min(CONNECT_SECONDS, command_timeout),
        "command_timeout": command_timeout,
        "server_settings": settings,
    }
    if statement_cache_size is not None:
        options["statement_cache_size"] = statement_cache_size
    if statement_cache_size != 0:
        # A little later than ours, so that the client's clearer error comes first.
        settings["statement_timeout"] = str(round(command_timeout * 1000) + 5000)
        settings["idle_in_transaction_session_timeout"] = _IDLE_IN_TRANSACTION
        settings |= _SERVER_KEEPALIVES
        # Our statements are short; compiling them costs more than it can save.
        settings["jit"] = "off"
    return options


async def prepare_connection(connection: Connection) -> None:
    """Teach a new connection jsonb, keepalives, and to close itself when its server is unusable."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_encode_jsonb,
        decoder=_decode_jsonb,
        format="binary",
    )
    _keep_alive(connection)
    reference = weakref.ref(connection)

    def close_if_unusable(query: LoggedQuery) -> None:
        held, error = reference(), query.exception
        if held is None or error is None:
            return
        if not trouble.sqlstate(error).startswith(trouble.UNUSABLE):
            return
        if isinstance(held, PooledConnection) and held.doubts is not None:
            held.doubts.pass_over(held.host)
        drop(held)

    connection.add_query_logger(close_if_unusable)


def drop(connection: object) -> None:
    """Be rid of a connection that nobody may have again; its pool takes it back all the same."""
    # terminate() would get into the way of the release that follows; a connection whose
    # transport is gone is dropped there, and the caller sees the error that led here.
    transport = getattr(connection, "_transport", None)
    if transport is not None:
        transport.abort()


def _encode_jsonb(value: object) -> bytes:
    return _JSONB_VERSION + orjson.dumps(value, default=_plain_uuid)


def _plain_uuid(value: object) -> str:
    # asyncpg's UUIDs are of a class of their own, which orjson does not know.
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _decode_jsonb(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    return orjson.loads(raw[1:])


def _keep_alive(connection: Connection) -> None:
    """Notice a silent peer in about a minute, also between statements."""
    transport = getattr(connection, "_transport", None)
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system has every option.
    for name, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 60_000),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
