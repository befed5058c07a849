"""Gives up a host that is frozen: one that takes connections and answers nobody.

Neither a keepalive nor the kernel notices it, and until the statements' own limit everybody would
wait on a connection that is there. So whoever holds one for longer than a moment asks the host for
a sign of life; where none comes, every connection to that host is dropped, and the next ones find
another. Only with several hosts: of a single one there is nothing to do but wait.
"""

import asyncio
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from wastewise_jobs.db.connect import put_last
from wastewise_jobs.dsn import Dsn, Host
from wastewise_jobs.logs import get_logger

log = get_logger(__name__)

DOUBT_SECONDS = 1.0
SILENCE_SECONDS = 2.0
_PORT = 5432
# Asks for encryption by GSS: any server answers before it wants to know anything, and writes
# nothing into its log when nobody goes on, as it does after the same question for TLS.
_SIGN_OF_LIFE = struct.pack("!ll", 8, 80877104)

Peer: TypeAlias = str | tuple[str, int]


# Where a connection leads to; None when nobody holds it any more, or it is closed.
Held: TypeAlias = Callable[[], tuple[Host, Peer] | None]


class Doubts:
    """Those of one pool; `give_up(host)` drops its connections to the host, and counts them."""

    def __init__(self, address: Dsn, give_up: Callable[[Host], int]) -> None:
        self._address = address
        self._give_up = give_up
        self._timers: dict[Held, asyncio.TimerHandle] = {}
        self._asking: dict[Host, asyncio.Task[None]] = {}

    def taken(self, held: Held) -> None:
        """Somebody holds it from now on."""
        loop = asyncio.get_running_loop()
        self._timers[held] = loop.call_later(DOUBT_SECONDS, self._doubt, held)

    def given_back(self, held: Held) -> None:
        """Nobody holds it any more."""
        if (timer := self._timers.pop(held, None)) is not None:
            timer.cancel()

    def pass_over(self, host: Host | None) -> None:
        """It cannot be used now: ask the others first."""
        put_last(self._address, host)

    def _doubt(self, held: Held) -> None:
        self._timers.pop(held, None)
        if (found := held()) is None:
            return
        host, peer = found
        # Nobody has to ask twice: what one hears holds for all.
        if host not in self._asking:
            self._asking[host] = asyncio.create_task(self._ask(host, peer), name="sign of life")
        self.taken(held)

    async def _ask(self, host: Host, peer: Peer) -> None:
        try:
            if await answers(peer, within=SILENCE_SECONDS):
                return
        finally:
            del self._asking[host]
        put_last(self._address, host)
        log.warning("database_host_given_up", connections=self._give_up(host))


async def answers(peer: Peer, *, within: float) -> bool:
    """Whether anything comes back from there; an end of the connection is an answer as well."""
    with suppress(OSError):
        async with asyncio.timeout(within):
            if isinstance(peer, str):
                reader, writer = await asyncio.open_unix_connection(peer)
            else:
                reader, writer = await asyncio.open_connection(*peer)
            try:
                writer.write(_SIGN_OF_LIFE)
                await reader.read(1)
            except ConnectionError:
                return True
            finally:
                writer.transport.abort()
            return True
    return False


def socket_of(host: Host | None) -> str | None:
    """The file of its unix socket, for a host that has one."""
    if host is None or not host.is_socket:
        return None
    return host.name if ".s.PGSQL." in host.name else f"{host.name}/.s.PGSQL.{host.port or _PORT}"
