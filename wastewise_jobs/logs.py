"""structlog set up once per process, the catalogue of events, and redaction.

A record is an event first (past tense, snake_case, never prose) and then its values. JSON lines go
to stderr in production, readable ones on a terminal; stdout belongs to what a command prints.
`request_id` and `worker_id` are bound once with `structlog.contextvars`, `job_id`, `job_type` and
`attempt` with `bind_facts`. Records of the standard library (asyncio, aiohttp, yoyo)
take the same way. Nothing here may raise into the code that logs.
"""

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, Final, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from wastewise_jobs.errors import text_of, without_row_values

MASK = "***"
_DEEPEST = 8
_LONGEST_REMEMBERED = 100
_OUTAGE_FORGOTTEN_SECONDS = 60.0
# Of a text in a record and of a whole line, in characters; of a list or object, in items.
_LONGEST_TEXT = 16 * 1024
_LONGEST_LINE = 256 * 1024
_MOST_ITEMS = 200

# Every event that this package logs, and what it tells. A test compares it with the code.
EVENTS: Final[Mapping[str, str]] = {
    "alert_answered": "a person acknowledged, snoozed or resolved an alert",
    "alert_delivered": "a channel took a message about this many alerts",
    "alert_delivered_in_part": "a channel took a message, and refused some of its receivers",
    "alert_not_delivered": "a channel did not take a message; it is sent again later",
    "alert_undelivered": "a channel refused a message for good; these alerts were not told there",
    "alerts_planned": "alerts were put into the outbox of their channels",
    "answer_not_taken": "a client took too little of its answer for too long and was cut off",
    "api_started": "the API accepts requests at this address",
    "check_failed": "one check of a maintenance round failed; the others went on",
    "check_found": "what a check of a maintenance round found or did, in numbers",
    "check_warned": "a check of a maintenance round found something that a person must mend",
    "connection_crashed": "the HTTP server failed outside of any request; with its traceback",
    "connections_budgeted": "how many connections this process may use",
    "connections_exhausted": "too many HTTP connections are open; the newest was closed",
    "connections_over_budget": "this process alone may need more than the server allows",
    "credential_refused": "a request showed a token or a key that proves nothing; says why",
    "database_address_words_dropped": "words of DATABASE_URL that have no effect here; says which",
    "database_came_back": "requests are served again; how many got a 503 meanwhile",
    "database_host_given_up": "it answers nobody; its connections were closed, others are asked",
    "doorbell_failed": "hints cannot be sent; workers find jobs by polling until they can",
    "download_broken": "a large answer ended before its end; says why",
    "embedded_postgres_does_not_stop": "our PostgreSQL did not stop in time and was left alone",
    "embedded_postgres_elsewhere": "its data lies outside a home that its user cannot enter",
    "embedded_postgres_restarted": "our PostgreSQL was gone under its users and was started again",
    "embedded_postgres_slow": "our PostgreSQL takes long to start; says why",
    "embedded_postgres_started": "our PostgreSQL accepts connections",
    "embedded_postgres_stopped": "the last process that used our PostgreSQL stopped it",
    "event_stream_broken": "whoever followed a job went away",
    "event_stream_unauthorized": "whoever followed a job lost the right to; the stream ended",
    "event_stream_failed": "an event stream ended early by our own fault",
    "file_not_recognised": "an upload could not be read in its limits and was stored as other",
    "handler_process_died": "the process that ran a handler ended without an answer",
    "handler_raised": "a handler raised an error that no rule knows; with its traceback",
    "handler_stuck": "a handler did not end when it was stopped; its slot stays taken",
    "input_schema_unusable": "the stored input schema of a job type cannot be used to validate",
    "job_cancel_requested": "somebody asked for the end of a running job",
    "job_cancelled": "a job ended because somebody asked for it",
    "job_claimed": "a job was taken from the queue to be run",
    "job_completed": "a job that took a while completed",
    "job_enqueued": "a request created a job",
    "job_failed": "a job failed for good",
    "job_lease_lost": "a job was given to another worker; this one's outcome was dropped",
    "job_outcome_dropped": "PostgreSQL refused every outcome of a run; a rescue will follow",
    "job_outcome_refused": "the database refuses an outcome for now; it is offered again and again",
    "job_released": "a job was given back, no attempt charged",
    "job_requeued": "a person sent a failed job round again",
    "job_rescued": "a job was taken from a worker that is gone",
    "job_retry_scheduled": "an attempt failed, and the job waits for the next one",
    "jobs_completed": "jobs that completed quickly, counted over a second",
    "jobs_lease_lost": "many jobs were given to other workers, counted over a second",
    "jobs_released": "many jobs were given back because the database was away",
    "jobs_rescued": "many jobs were taken from workers that are gone, counted over a second",
    "jobs_retry_scheduled": "many attempts failed because the database was away",
    "jwks_not_fetched": "the issuer's keys could not be had; the known ones go on working",
    "key_use_not_noted": "when an API key was last used could not be written",
    "library_message": "a library spoke through the standard library's logging",
    "listener_connected": "notifications arrive again",
    "listener_deaf": "LISTEN does not work on this connection; polling only",
    "listener_lost": "the LISTEN connection broke and is being rebuilt",
    "loop_blocked": "a handler blocks the event loop; says where",
    "loop_hung": "a handler blocks the event loop past its deadline; the process ends",
    "loop_recovered": "a loop whose ticks had failed works again",
    "loop_tick_failed": "one round of a background loop failed and will be repeated",
    "loop_unblocked": "the event loop answers again",
    "metrics_started": "the metrics port accepts requests at this address",
    "metrics_without_database": "the numbers of the queue could not be read for a scrape",
    "ping_failed": "whoever expects our ping could not be reached",
    "ping_refused": "whoever expects our ping answered with an error",
    "progress_not_written": "how far some jobs are could not be written; the next report tells",
    "public_may_create": "everybody may create in schema public; says how to end that",
    "queues_unused": "no handler of this worker has its jobs in these queues",
    "request_answered": "a request got its answer",
    "request_crashed": "a request failed by our own fault and got a 500; with its traceback",
    "request_malformed": "bytes came that are no HTTP request",
    "request_without_database": "requests get a 503, as the database is away; the first says so",
    "service_stopping": "asked to stop: no new requests, no new claims",
    "stop_forced": "asked to stop a second time: running jobs are handed back at once",
    "stop_overdue": "not stopped in time; jobs are handed back, and the process ends at once",
    "stray_exit_ignored": "a task of a handler tried to end the process and ended only itself",
    "watch_failed": "looking for those who follow jobs fails and is repeated",
    "watch_recovered": "looking for those who follow jobs works again",
    "worker_draining": "the worker claims no more and waits for its running jobs",
    "worker_row_left": "the worker's row could not be removed; maintenance will",
    "worker_started": "the worker claims jobs of these types",
    "worker_stopped": "the worker ended; says how many outcomes were not written",
    "worker_worn_out": "stuck handlers hold every slot of a lane; the worker stops to be restarted",
}


def configure_logging(level: str = "INFO", fmt: str = "auto", *, libraries: bool = True) -> None:
    """Send every record of this process to stderr; `fmt` is json, console or auto.

    auto is console on a terminal, else json. Libraries are heard from WARNING on, or from INFO
    when `level` is DEBUG; `libraries` False leaves the standard library's logging as it is. May be
    called again; the last call wins for loggers not yet used.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    as_json = fmt == "json" or (fmt == "auto" and not sys.stderr.isatty())
    chain = [*_common(as_json=as_json), _renderer(as_json=as_json)]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, merge_facts, *chain],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    if libraries:
        _route_standard_library(number, chain)


def get_logger(name: str = "") -> FilteringBoundLogger:
    """A logger; `name` (a module's __name__) is kept as the record's `module`."""
    values = {"module": name.removeprefix("wastewise_jobs.")} if name else {}
    return cast("FilteringBoundLogger", structlog.get_logger(**values))


def bind_facts(facts: Callable[[], Mapping[str, object]]) -> None:
    """Give every record of this context what `facts()` returns, asked only when one is logged.

    For what is bound for each job: most jobs log nothing.
    """
    _facts.set(facts)


def merge_facts(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    """The processor that puts them in; what the record says itself wins."""
    facts = _facts.get()
    return record if facts is None else {**facts(), **record}


_facts: ContextVar[Callable[[], Mapping[str, object]] | None] = ContextVar("facts", default=None)


def redact(value: Any, *, depth: int = _DEEPEST) -> Any:  # noqa: ANN401 - any logged value
    """The same value without secrets: passwords in URLs, tokens, keys, webhooks.

    Looks into dicts, lists and tuples; whatever lies deeper than `depth` is dropped, and so is the
    middle of a long text and the end of a long list.
    """
    return _redacted(value, depth, _Room())


class _Room:
    """What one record may still hold: nobody pays for what no line would show."""

    def __init__(self) -> None:
        self._left = _LONGEST_LINE

    def cut(self, text: str) -> str:
        """An error may hold a whole document; its beginning and its end say what happened."""
        most = min(_LONGEST_TEXT, self._left)
        self._left -= min(len(text), most)
        if len(text) <= most:
            return text
        half = most // 2
        return f"{text[:half]}\n[...]\n{text[len(text) - half :]}"


def _redacted(value: Any, depth: int, room: _Room) -> Any:  # noqa: ANN401 - any logged value
    if isinstance(value, str):
        text = room.cut(value)
        return _redact_text(text) if len(text) > _LONGEST_REMEMBERED else _redact_short(text)
    if not isinstance(value, dict | list | tuple):
        return value
    if depth == 0:
        return "..."
    more = len(value) - _MOST_ITEMS
    if isinstance(value, dict):
        kept = {
            key: MASK if _names_secret(str(key)) and item else _redacted(item, depth - 1, room)
            for key, item in islice(value.items(), _MOST_ITEMS)
        }
        return {**kept, "...": f"and {more} more"} if more > 0 else kept
    items = [_redacted(item, depth - 1, room) for item in value[:_MOST_ITEMS]]
    return [*items, f"... and {more} more"] if more > 0 else items


_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|passphrase|secret|token|api_?key|authorization|cookie"
    r"|credentials?|private_key|pagerduty_key|webhook(?:_url)?)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_TEXTS: Final = (
    # postgresql://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/]*(?=@)", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), MASK),
    (re.compile(r"\bwwj_[\w-]+"), f"wwj_{MASK}"),
    (re.compile(r"\bre_\w{16,}"), f"re_{MASK}"),
    (re.compile(r"(https://hooks\.slack\.com/)[^\s\"']+"), rf"\1{MASK}"),
    # password=..., "token": "...", ?api_key=...
    (
        re.compile(
            r"((?:password|passwd|pwd|secret|token|api[_-]?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)}]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)
# One cheap look that most texts pass, before seven.
_SUSPECT = re.compile(
    r"://|bearer|basic|eyJ|wwj_|re_|password|passwd|pwd|secret|token|api[_-]?key", re.IGNORECASE
)


def _redact_text(text: str) -> str:
    if _SUSPECT.search(text):
        for pattern, replacement in _SECRET_TEXTS:
            text = pattern.sub(replacement, text)
    return text


# Events, modules, routes and job types come again with every record.
_redact_short = lru_cache(maxsize=1024)(_redact_text)


@lru_cache(maxsize=1024)
def _names_secret(key: str) -> bool:
    snake = _CAMEL.sub("_", key).replace("-", "_").lower()
    return _SECRET_NAME.search(snake) is not None


def _redact_record(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    return cast("EventDict", redact(record))


def _event_first(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    return {
        "event": record.pop("event", ""),
        "level": record.pop("level", "info"),
        "timestamp": record.pop("timestamp", None),
        **record,
    }


def _common(*, as_json: bool) -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        # A person at a terminal reads the time on the wall.
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
        structlog.processors.StackInfoRenderer(),
        # Before redaction: an exception's text is as likely as any to hold a DSN.
        structlog.processors.ExceptionRenderer(_format_exception),
        _without_row_values,
        _redact_record,
        _event_first,
    ]


def _format_exception(exc_info: Any) -> str:  # noqa: ANN401 - structlog's
    """The traceback, in which no error shows the values of rows."""
    whole = traceback.TracebackException(*exc_info, compact=True)
    waiting: list[tuple[traceback.TracebackException | None, BaseException | None]]
    waiting = [(whole, exc_info[1])]
    while waiting:
        told, error = waiting.pop()
        if told is None or error is None:
            continue
        told._str = _text_of(error)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no door
        waiting += [(told.__cause__, error.__cause__), (told.__context__, error.__context__)]
        if told.exceptions and isinstance(error, BaseExceptionGroup):
            waiting += zip(told.exceptions, error.exceptions, strict=False)
    return "".join(whole.format()).rstrip("\n")


def _text_of(error: BaseException) -> str:
    try:
        return text_of(error)
    except Exception:  # noqa: BLE001 - __str__ may be a handler's own code
        return "<exception str() failed>"


def _without_row_values(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    for name in ("error", "reason", "message"):
        if isinstance(text := record.get(name), str):
            record[name] = without_row_values(text)
    return record


def _renderer(*, as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer(serializer=_to_json)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
        # The other formatters print the values of local variables, secrets among them.
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )


def _to_json(record: EventDict, **_: Any) -> str:  # noqa: ANN401 - structlog's signature
    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate, an integer over 64 bits
        return json.dumps(record, default=str, skipkeys=True)


class _Stderr:
    """Writes lines to whatever sys.stderr is now.

    A closed pipe or a full disk costs the line, never the job that logged it.
    """

    def msg(self, line: str) -> None:
        stream: TextIO = sys.stderr
        line = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} [...]"
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError, AttributeError):
            return

    debug = info = warning = error = critical = msg
    warn = exception = fatal = log = failure = err = msg


class _LibraryHandler(logging.Handler):
    """Renders a record of the standard library like one of ours."""

    def __init__(self, chain: Sequence[Processor]) -> None:
        super().__init__()
        self._chain = chain
        self._out = _Stderr()
        self._outage_told = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        if _repeats_an_outage(record):
            now = time.monotonic()
            before, self._outage_told = self._outage_told, now
            if now - before < _OUTAGE_FORGOTTEN_SECONDS:
                return
        try:
            self._out.msg(self._render(record))
        except (TypeError, ValueError, KeyError):  # a library's broken format string
            self.handleError(record)

    def _render(self, record: logging.LogRecord) -> str:
        values: EventDict = {
            "event": "library_message",
            "module": record.name,
            "message": record.getMessage(),
        }
        # A pool works for everybody, in the context of whichever request came first.
        of_pool = record.name.startswith("asyncpg")
        if not of_pool:
            values = merge_facts(None, "", {**structlog.contextvars.get_contextvars(), **values})
        if of_pool and record.exc_info and _is_lost_connection(record.exc_info[1]):
            values["error"] = type(record.exc_info[1]).__name__
        elif record.exc_info:
            values["exc_info"] = record.exc_info
        rendered: Any = values
        for processor in self._chain:
            rendered = processor(None, record.levelname.lower(), rendered)
        return str(rendered)


def _repeats_an_outage(record: logging.LogRecord) -> bool:
    """Whether it is the driver's pool, which says at each attempt that it cannot connect."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name.startswith("asyncpg") and _is_lost_connection(error)


def _is_lost_connection(error: BaseException | None) -> bool:
    """Whether it is an outage, which every attempt repeats and no traceback explains."""
    # As db.trouble has it, which stands on the driver as logging does not.
    state = str(getattr(error, "sqlstate", None) or "")
    return isinstance(error, OSError) or state.startswith(("08", "25P03", "25P04", "57P"))


def _route_standard_library(level: int, chain: Sequence[Processor]) -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _LibraryHandler):
            root.removeHandler(handler)
    root.addHandler(_LibraryHandler(chain))
    root.setLevel(logging.INFO if level <= logging.DEBUG else max(level, logging.WARNING))
    # Each request is logged once, by our own middleware.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
