"""Reads the address of a database in whatever form a provider or libpq writes it.

One reader for all who connect: asyncpg, libpq (migrations and psql) and the doctor. What asyncpg
cannot do with a word is told in `dropped` and never sent to the server; a word that nobody knows
is a setting of the server, as asyncpg has it. Errors never repeat the text: it may be a password.
"""

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

_LONGEST = 10_000
_LAST_PORT = 65_535
_SCHEME = re.compile(r"(?:jdbc:)?postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
_PAIR = re.compile(r"\s*([A-Za-z_][\w.]*)\s*=\s*('(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?:\s+|$)")
_SETTING = re.compile(r"[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?")
_NO_ADDRESS = "is no address; in a password @ : / ? # are %40 %3A %2F %3F %23"
_QUOTES = frozenset("\"'")

# What asyncpg reads in an address as libpq does.
ASYNCPG_WORDS = frozenset(
    {
        *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib"),
    }
)
_OUR_WORDS = frozenset(
    {
        *("passfile", "target_session_attrs", "connect_timeout", "options"),
        *("application_name", "fallback_application_name"),
    }
)
# libpq's alone, and the values with which nothing is lost without it.
_LIBPQ_ALONE: Mapping[str, frozenset[str]] = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"auto", "utf8", "utf-8", "unicode"}),
    "gssdelegation": frozenset({"0"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "keepalives": frozenset({"1"}),
    "keepalives_count": frozenset(),
    "keepalives_idle": frozenset(),
    "keepalives_interval": frozenset(),
    "load_balance_hosts": frozenset({"disable"}),
    "max_protocol_version": frozenset(),
    "min_protocol_version": frozenset(),
    "require_auth": frozenset(),
    "requirepeer": frozenset(),
    "scram_client_key": frozenset(),
    "scram_server_key": frozenset(),
    "sslcertmode": frozenset({"allow"}),
    "sslcompression": frozenset({"0"}),
    "sslcrldir": frozenset(),
    "sslkeylogfile": frozenset(),
    "sslsni": frozenset({"1"}),
    "tcp_user_timeout": frozenset(),
}
# The password, and what an older psql refuses in an address and passes over in its environment.
_IN_ENVIRONMENT = {"password": "PGPASSWORD", "sslnegotiation": "PGSSLNEGOTIATION"}
# Of other drivers, of pools in them, and of what libpq has outgrown.
_OTHERS_WORDS = frozenset(
    {
        *("async_fallback", "authtype", "charset", "command_timeout", "connection_limit"),
        *("default_query_exec_mode", "description_cache_capacity", "encoding", "hostaddr"),
        *("max_connections", "max_overflow", "max_pool_size", "min_pool_size", "pgbouncer"),
        *("pool_max_conn_idle_time", "pool_max_conn_lifetime", "pool_max_conns", "pool_min_conns"),
        *("pool_mode", "pool_size", "pool_timeout", "prepared_statement_cache_size"),
        *("prepared_statement_name_func", "prepared_statements", "replication", "schema"),
        *("simple_protocol", "single_line", "socket_timeout", "sslaccept", "sslidentity"),
        *("statement_cache_capacity", "statement_cache_size", "supa", "timeout", "tty"),
        *("uselibpqcompat", "workaround"),
    }
)
_SESSION_ATTRIBUTES = frozenset(
    {
        *("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    }
)
_TRUE = frozenset({"", "1", "on", "require", "true", "yes"})


@dataclass(frozen=True, slots=True)
class Host:
    """One server of an address: a name, an IP address or the folder of a unix socket."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        shown = f"[{self.name}]" if ":" in self.name and not self.is_socket else self.name
        return shown if self.port is None else f"{shown}:{self.port}"

    @property
    def is_socket(self) -> bool:
        """Whether it is on this machine, in the file system."""
        return self.name.startswith(("/", "@"))


@dataclass(frozen=True, slots=True)
class Dsn:
    """An address that was read. `words` are libpq's, `settings` the server's.

    `hosts` is empty where none is named. `dropped` are the words that asyncpg does without;
    `pooler` says that the address itself speaks of a transaction pooler.
    """

    hosts: tuple[Host, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    words: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    pooler: bool = False

    @property
    def place(self) -> str:
        """Where it leads, for messages."""
        hosts = ",".join(map(str, self.hosts)) or os.environ.get("PGHOST") or "localhost"
        return f"database {self.database} at {hosts}" if self.database else f"database at {hosts}"

    @property
    def connect_seconds(self) -> float | None:
        """The limit for each host that the address asks for."""
        given = self.words.get("connect_timeout", "")
        return float(given) if given.isdecimal() and int(given) > 0 else None

    def or_of_environment(self) -> "Dsn":
        """With the hosts of PGHOST and PGPORT where it names none."""
        names = os.environ.get("PGHOST", "")
        if self.hosts or not names:
            return self
        return replace(self, hosts=_hosts(names, os.environ.get("PGPORT", "")))

    def at(self, host: Host) -> "Dsn":
        """The same at one of the hosts alone."""
        return replace(self, hosts=(host,))

    def of_database(self, name: str) -> str:
        """The address of another database at the same place."""
        words = {**self.words, **self.settings, **({"pgbouncer": "true"} if self.pooler else {})}
        return self._url(words, database=name, password=self.password)

    def for_libpq(self) -> dict[str, str]:
        """It in libpq's words; settings of the server go into `options`.

        Without the words that asyncpg cannot do, so that a place is reached by both or by neither.
        """
        said = {n: value for n, value in self.words.items() if n not in _LIBPQ_ALONE}
        options = [f"-c {name}={_escaped(value)}" for name, value in self.settings.items()]
        if options:
            said["options"] = " ".join(filter(None, [said.get("options"), *options]))
        ports = [str(host.port or "") for host in self.hosts]
        placed = {
            "host": ",".join(host.name for host in self.hosts),
            "port": ",".join(ports) if any(ports) else "",
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
        }
        return {name: value for name, value in placed.items() if value} | said

    def for_psql(self, **words: str) -> tuple[str, dict[str, str]]:
        """The address as anybody may see it, and what belongs into the environment beside it.

        `words` are libpq's that hold where the address says nothing else.
        """
        said = {**words, **self.for_libpq()}
        for name in ("host", "port", "dbname", "user", "sslpassword"):
            said.pop(name, None)
        hidden = {_IN_ENVIRONMENT[name]: said.pop(name) for name in _IN_ENVIRONMENT if name in said}
        return self._url(said, database=self.database), hidden

    def _url(self, words: Mapping[str, str], *, database: str, password: str = "") -> str:
        secret = f":{quote(password, safe='')}" if password else ""
        login = f"{quote(self.user, safe='')}{secret}@" if self.user or secret else ""
        in_words = any(host.is_socket or not host.name for host in self.hosts)
        hosts = "" if in_words else ",".join(map(str, self.hosts))
        given = dict(words)
        if in_words:
            ports = [str(host.port or "") for host in self.hosts]
            placed = {"host": ",".join(host.name for host in self.hosts)}
            given = placed | ({"port": ",".join(ports)} if any(ports) else {}) | given
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
        path = f"/{quote(database, safe='')}" if database else ""
        return f"postgresql://{login}{hosts}{path}{'?' if query else ''}{query}"


@lru_cache(maxsize=64)
def read_dsn(text: str) -> Dsn:
    """The address that is meant; raises ValueError, without the text, when it is none."""
    said = text.strip()
    # As `docker run --env-file` hands them over.
    if said[:1] in _QUOTES and said[:1] == said[-1:]:
        said = said[1:-1].strip()
    if len(said) > _LONGEST or any(ord(letter) < ord(" ") for letter in said):
        raise ValueError(_NO_ADDRESS)
    scheme = _SCHEME.match(said)
    if scheme is not None:
        given = _read_url(said[scheme.end() :])
    elif "://" not in said.partition("=")[0] and "=" in said:
        given = _read_pairs(said)
    else:
        raise ValueError("must begin with postgresql://")
    return _understood({**_of_service(given.pop("service", "")), **given})


def _read_url(rest: str) -> dict[str, str]:
    place, _, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    login, _, hosts = netloc.rpartition("@")
    # Parts of a password with such letters would be taken for a host, a port or a word.
    if "#" in rest or "@" in login + path or ("@" in query and not login):
        raise ValueError(_NO_ADDRESS)
    user, _, password = login.partition(":")
    names, ports = zip(*map(_name_and_port, hosts.split(",")), strict=True)
    given = {
        "user": unquote(user),
        "password": unquote(password),
        "host": ",".join(names),
        "port": ",".join(ports) if any(ports) else "",
        "dbname": unquote(path),
    }
    for word in filter(None, query.split("&")):
        name, sign, value = word.partition("=")
        if not sign:
            raise ValueError(_NO_ADDRESS)
        given[unquote(name)] = unquote(value)
    return {name: value for name, value in given.items() if value or name == "pgbouncer"}


def _name_and_port(host: str) -> tuple[str, str]:
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket or not (rest == "" or rest.startswith(":")):
            raise ValueError(_NO_ADDRESS)
        return name, rest[1:]
    name, _, port = host.partition(":")
    return unquote(name), port


def _read_pairs(text: str) -> dict[str, str]:
    given = {}
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise ValueError("is no address: neither postgresql:// nor name=value pairs of libpq")
        name, value = pair.groups()
        given[name] = re.sub(r"\\(.)", r"\1", value[1:-1] if value.startswith("'") else value)
        position = pair.end()
    return given


def _of_service(name: str) -> dict[str, str]:
    """The words of a section of libpq's service file."""
    if not name:
        return {}
    file = os.environ.get("PGSERVICEFILE") or Path("~/.pg_service.conf").expanduser()
    sections = configparser.RawConfigParser(delimiters=("=",), interpolation=None)
    try:
        found = sections.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        raise ValueError("names a service whose file cannot be read") from None
    if not found or name not in sections:
        raise ValueError("names a service that is in no service file")
    return dict(sections[name])


def _understood(given: dict[str, str]) -> Dsn:
    given = {_one_name(name): value for name, value in given.items()}
    if not given.get("host"):
        given["host"] = given.pop("hostaddr", "")
    hosts = _hosts(given.pop("host"), given.pop("port", ""))
    taken = {name: given.pop(name, "") for name in ("user", "password", "dbname")}
    mode = _tls_mode(given.pop("ssl", None), given.pop("requiressl", None))
    if mode is not None:
        given.setdefault("sslmode", mode)
    if given.get("sslmode") == "no-verify":
        # Of node-postgres: encrypted, and whoever is there is believed.
        given["sslmode"] = "require"
    if given.get("target_session_attrs", "any") not in _SESSION_ATTRIBUTES:
        raise ValueError("has a target_session_attrs that there is not")
    if "options" in given:
        # As whoever wrote it with + for a blank means it.
        given["options"] = given["options"].replace("+", " ")
    known = ASYNCPG_WORDS | _OUR_WORDS | _LIBPQ_ALONE.keys()
    settings = {
        name: value
        for name, value in given.items()
        if name not in known and name not in _OTHERS_WORDS and _SETTING.fullmatch(name)
    }
    return Dsn(
        hosts=hosts,
        user=taken["user"],
        password=taken["password"],
        database=taken["dbname"],
        words={name: value for name, value in given.items() if name in known},
        settings=settings,
        dropped=tuple(_dropped(given, settings)),
        pooler=given.get("pgbouncer", "false").lower() in _TRUE,
    )


def _one_name(name: str) -> str:
    return {"database": "dbname", "username": "user"}.get(name, name)


def _tls_mode(ssl: str | None, requiressl: str | None) -> str | None:
    """Older words for `sslmode`."""
    if ssl is not None:
        lower = ssl.lower()
        if lower in {"false", "0", "off", "no"}:
            return "disable"
        return "require" if lower in _TRUE else lower
    if requiressl is not None:
        return "require" if requiressl == "1" else "prefer"
    return None


def _hosts(names: str, ports: str) -> tuple[Host, ...]:
    if not names and not ports:
        return ()
    named = [_split_off_port(name) for name in names.split(",")]
    numbers: list[str] = ports.split(",") if ports else [""]
    if len(numbers) == 1:
        numbers *= len(named)
    if len(numbers) != len(named):
        raise ValueError("names as many ports as hosts, or one")
    return tuple(
        Host(name, _port(number or own)) for (name, own), number in zip(named, numbers, strict=True)
    )


def _split_off_port(name: str) -> tuple[str, str]:
    """`host:5433`, which asyncpg reads in a word too; a socket's folder may have colons."""
    if name.startswith(("/", "@")) or name.count(":") != 1:
        return name.removeprefix("[").removesuffix("]"), ""
    host, _, port = name.partition(":")
    return host, port


def _port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= _LAST_PORT):
        raise ValueError("names a port that is none")
    return int(text)


def _dropped(given: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[str]:
    for name, value in given.items():
        if name in _LIBPQ_ALONE:
            if value.lower() not in _LIBPQ_ALONE[name]:
                yield name
        elif name not in ASYNCPG_WORDS | _OUR_WORDS | settings.keys() | {"pgbouncer"}:
            yield name if _SETTING.fullmatch(name.lower()) else "(a word that is no name)"


def _escaped(value: str) -> str:
    return re.sub(r"([\s\\])", r"\\\1", value)
