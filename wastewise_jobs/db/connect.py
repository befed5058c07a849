"""Opens every connection of ours, host by host.

asyncpg's limit spans all hosts of an address, so a first one that is frozen or unplugged would use
it up for ever. Here each host has a limit of its own; the one that answered last is asked first,
and the one that kept us waiting last.
"""

import asyncio
import errno
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

import asyncpg

from wastewise_jobs.db import trouble
from wastewise_jobs.dsn import ASYNCPG_WORDS, Dsn, Host, read_dsn
from wastewise_jobs.logs import get_logger

if TYPE_CHECKING:
    _Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

log = get_logger(__name__)

CONNECT_SECONDS = 10.0
# For each of several hosts; one that lives answers in a fraction of this.
HOST_SECONDS = 3.0
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_OUR_NAME = "wastewise-jobs"
_MOST_REMEMBERED = 100
_UNKNOWN_SETTING = re.compile(r'unrecognized configuration parameter "([^"]+)"')

# The hosts of an address in the order in which they are to be asked.
_orders: dict[tuple[Host, ...], tuple[Host, ...]] = {}


async def connect(dsn: str, *, timeout: float = CONNECT_SECONDS, **options: Any) -> "_Connection":  # noqa: ANN401, ASYNC109 - asyncpg's own
    """As asyncpg.connect; `timeout` is for the one host, or the most for each of several."""
    connection, _ = await connect_and_tell(dsn, timeout=timeout, **options)
    return connection


async def connect_and_tell(
    dsn: str,
    *,
    timeout: float = CONNECT_SECONDS,  # noqa: ASYNC109 - asyncpg's own
    target: str | None = None,
    **options: Any,  # noqa: ANN401 - asyncpg's own
) -> "tuple[_Connection, Dsn]":
    """The connection, and the address of the one host that it leads to."""
    address = read_dsn(dsn).or_of_environment()
    wanted = target or address.words.get("target_session_attrs")
    # Of one host at a time asyncpg would take whatever comes first.
    passes = ["standby", "any"] if wanted == "prefer-standby" else [wanted]
    unfit: Exception | None = None
    for attribute in passes:
        for host in in_order(address):
            limit = min(timeout, _host_seconds(address))
            one = address if host is None else address.at(host)
            try:
                connection = await _connect_to(one, limit, target=attribute, **options)
            except (OSError, asyncpg.PostgresError) as error:
                if not trouble.is_lost_connection(error):
                    raise
                unfit = error
                put_last(address, host)
            except asyncpg.TargetServerAttributeNotMatched as error:
                unfit = unfit or error
            except asyncio.CancelledError:
                # Whoever has waited for this one begins with another the next time.
                put_last(address, host)
                raise
            else:
                _put_first(address, host)
                return connection, one
    raise unfit or ConnectionRefusedError(errno.ECONNREFUSED, "there is no host to ask")


def in_order(address: Dsn) -> Sequence[Host | None]:
    """Its hosts as they are to be asked now; None is whatever asyncpg finds without a name."""
    return _orders.get(address.hosts, address.hosts) or (None,)


def put_last(address: Dsn, host: Host | None) -> None:
    """Ask this host after all others from now on."""
    if host is not None and len(address.hosts) > 1:
        _remember(address, [*(h for h in in_order(address) if h not in {host, None}), host])


def _put_first(address: Dsn, host: Host | None) -> None:
    if host is not None and len(address.hosts) > 1 and in_order(address)[0] != host:
        _remember(address, [host, *(h for h in in_order(address) if h not in {host, None})])


def _remember(address: Dsn, order: Sequence[Host | None]) -> None:
    if len(_orders) >= _MOST_REMEMBERED:
        _orders.clear()
    _orders[address.hosts] = tuple(host for host in order if host is not None)


def _host_seconds(address: Dsn) -> float:
    return address.connect_seconds or (HOST_SECONDS if len(address.hosts) > 1 else CONNECT_SECONDS)


async def _connect_to(
    address: Dsn,
    limit: float,
    *,
    target: str | None,
    server_settings: Mapping[str, str] | None = None,
    **options: Any,  # noqa: ANN401 - asyncpg's own
) -> "_Connection":
    given = {**address.settings, **_named(address, server_settings or {})}
    arguments = {**_arguments(address), "target_session_attrs": target, **options}
    while True:
        try:
            return await asyncpg.connect(timeout=limit, server_settings=given, **arguments)
        except FileNotFoundError as error:
            # A stopped server's missing socket is no missing file to whoever meets the error.
            message = "the server's socket is not there"
            raise ConnectionRefusedError(errno.ECONNREFUSED, message) from error
        except asyncpg.UndefinedObjectError as error:
            refused = _UNKNOWN_SETTING.search(str(error))
            if refused is None or given.pop(refused[1], None) is None:
                raise
            log.warning("database_address_words_dropped", words=[refused[1]])


def _named(address: Dsn, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of the connection, with `application_name` beginning as the address says."""
    words = address.words
    name = words.get("application_name") or words.get("fallback_application_name")
    given = {"options": words["options"]} if words.get("options") else {}
    if name:
        ours = settings.get("application_name", _OUR_NAME)
        given["application_name"] = ours.replace(_OUR_NAME, name, 1)
    return {**settings, **given}


def _arguments(address: Dsn) -> dict[str, Any]:
    tls = {name: value for name, value in address.words.items() if name in ASYNCPG_WORDS}
    arguments: dict[str, Any] = {
        "user": address.user or None,
        "password": address.password or None,
        "database": address.database or None,
        "passfile": address.words.get("passfile"),
    }
    if address.hosts:
        (host,) = address.hosts
        # Empty is libpq's word for its default.
        arguments |= {"host": host.name or "localhost", "port": host.port}
    _require_files(tls)
    if tls.get("sslrootcert") == "system":
        arguments["ssl"] = _trusting_the_system(tls)
        tls = {name: tls[name] for name in ("sslnegotiation",) if name in tls}
    arguments["dsn"] = f"postgresql://?{urlencode(tls)}" if tls else "postgresql://"
    return arguments


def _require_files(tls: Mapping[str, str]) -> None:
    """Raise ValueError for one that is not there: OpenSSL's error would be taken for a socket's."""
    for word in _FILES:
        name = tls.get(word)
        if name and name != "system" and not os.access(name, os.R_OK):
            raise ValueError(f"{word} names a file that cannot be read: {name}")


def _trusting_the_system(tls: Mapping[str, str]) -> ssl.SSLContext:
    """As libpq has `sslrootcert=system`, which asyncpg takes for a file."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if tls.get("sslcert"):
        context.load_cert_chain(tls["sslcert"], tls.get("sslkey"), tls.get("sslpassword"))
    return context
