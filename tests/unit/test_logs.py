import ast
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog

import wastewise_jobs
from wastewise_jobs.logs import EVENTS, configure_logging, get_logger, redact

PACKAGE = Path(wastewise_jobs.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel(logging.NOTSET)


class Err:
    """What was written to stderr; pytest puts its own stream there for the run of a test."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Err:
    return Err(capsys)


def records(stream: Err) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def raised(error: Exception) -> Exception:
    """The same error with a traceback."""
    try:
        raise error
    except type(error) as caught:
        return caught


def logged_events() -> Iterator[tuple[str, str]]:
    """Each event that the package logs, with where."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        attr=level,
                        value=ast.Name(id="log" | "_log") | ast.Attribute(attr="log" | "_log"),
                    ),
                    args=[first, *_],
                ) if level in LEVELS:
                    name = first.value if isinstance(first, ast.Constant) else ast.unparse(first)
                    yield str(name), f"{path.relative_to(PACKAGE)}:{node.lineno}"
                # Told one by one, or many together: both names stand where they are made.
                case ast.Call(func=ast.Name(id="_Alike"), args=[_, one, many]):
                    for told in (one, many):
                        where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                        yield str(ast.literal_eval(told)), where


def test_the_catalogue_and_the_code_name_the_same_events() -> None:
    used = dict(logged_events())
    unknown = {event: where for event, where in used.items() if event not in EVENTS}
    assert unknown == {}
    assert set(EVENTS) - set(used) == {"library_message"}


def test_events_are_words_and_not_prose() -> None:
    for event, meaning in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", event)
        assert meaning


def test_json_lines_begin_with_the_event(err: Err) -> None:
    configure_logging("INFO", "auto")
    get_logger("wastewise_jobs.workers.run").info("job_claimed", job_id="j", attempt=1)
    (record,) = records(err)
    assert list(record) == ["event", "level", "timestamp", "module", "job_id", "attempt"]
    assert (record["event"], record["level"], record["module"]) == (
        "job_claimed",
        "info",
        "workers.run",
    )
    assert record["timestamp"].endswith("Z")


def test_a_terminal_gets_readable_lines(err: Err, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    configure_logging("INFO", "auto")
    get_logger().info("job_claimed", job_id="j")
    assert "\x1b[" in err.getvalue()
    assert not err.getvalue().startswith("{")


def test_console_lines_in_a_file_have_no_colour(err: Err) -> None:
    configure_logging("INFO", "console")
    get_logger().info("job_claimed", job_id="j")
    assert "job_claimed" in err.getvalue()
    assert "\x1b[" not in err.getvalue()


def test_below_the_level_nothing_is_written(err: Err) -> None:
    configure_logging("WARNING", "json")
    get_logger().info("job_claimed")
    get_logger().warning("job_rescued")
    assert [record["event"] for record in records(err)] == ["job_rescued"]


def test_what_is_bound_once_is_on_every_record(err: Err) -> None:
    configure_logging("INFO", "json")
    with structlog.contextvars.bound_contextvars(job_id="j", attempt=2):
        get_logger().info("job_claimed")
        logging.getLogger("asyncio").error("slow %s", "callback")
    get_logger().info("job_claimed")
    ours, theirs, after = records(err)
    assert (ours["job_id"], ours["attempt"]) == ("j", 2)
    assert (theirs["job_id"], theirs["message"]) == ("j", "slow callback")
    assert "job_id" not in after


def test_libraries_take_the_same_way_and_are_redacted(err: Err) -> None:
    configure_logging("INFO", "json")
    logging.getLogger("yoyo.migrations").info("applying")
    error = raised(OSError("cannot reach postgresql://app:hunter2@db/x"))
    logging.getLogger("asyncio").error("Bearer %s", "abcdef123456", exc_info=error)
    (record,) = records(err)
    assert (record["event"], record["module"]) == ("library_message", "asyncio")
    assert "OSError: cannot reach postgresql://app:***@db/x" in record["exception"]
    assert record["message"] == "Bearer ***"
    assert "hunter2" not in err.getvalue()


def test_an_outage_in_a_library_is_one_line_without_traceback_and_request(err: Err) -> None:
    configure_logging("INFO", "json")
    pool = logging.getLogger("asyncpg.pool")
    with structlog.contextvars.bound_contextvars(request_id="somebody-elses"):
        pool.warning("no floor", exc_info=raised(ConnectionRefusedError(111, "refused")))
        pool.warning("no floor", exc_info=raised(asyncpg.CannotConnectNowError("starting")))
        pool.warning("no floor", exc_info=raised(RuntimeError("a bug")))
    refused, bug = records(err)
    assert refused["error"] == "ConnectionRefusedError"
    assert "exception" not in refused
    assert "a bug" in bug["exception"]
    assert not any("request_id" in record for record in (refused, bug))


def test_configuring_twice_writes_each_library_record_once(err: Err) -> None:
    configure_logging("INFO", "json")
    configure_logging("INFO", "json")
    logging.getLogger("asyncio").warning("once")
    assert len(records(err)) == 1


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_record_leaks_a_secret(err: Err, fmt: str) -> None:
    configure_logging("INFO", fmt)
    get_logger().error(
        "loop_failed",
        exc_info=raised(ValueError("password=hunter2")),
        dsn="postgresql://app:hunter2@db:5432/x?sslmode=require",
        headers={"Authorization": "Bearer hunter2hunter2", "x-api-key": "hunter2"},
        nested=[{"deep": ({"clientSecret": "hunter2"},)}],
        body='{"token": "hunter2", "password":"hunter2"}',
        key="wwj_abc_hunter2",
        hook="https://hooks.slack.com/services/T/B/hunter2",
        resend="re_hunter2hunter2hunter2",
        jwt=JWT,
    )
    assert "ValueError: password=***" in err.getvalue()
    assert "hunter2" not in err.getvalue()
    assert "eyJ" not in err.getvalue()
    assert "app:***@db:5432/x?sslmode=require" in err.getvalue()


def test_what_only_looks_like_a_secret_stays() -> None:
    record = {
        "ai_tokens_input": 12,
        "idempotency_key": "order-7",
        "url": "http://127.0.0.1:8080/api/jobs",
        "cursor": "abc",
        "message": "basic facts",
        "count": 3,
        "secret": None,
    }
    assert redact(record) == record


@pytest.mark.parametrize("value", ["\ud800", 2**70, {2**70: object()}])
def test_a_value_that_json_cannot_hold_costs_no_line(err: Err, value: object) -> None:
    configure_logging("INFO", "json")
    get_logger().info("job_claimed", value=value)
    assert records(err)[0]["event"] == "job_claimed"


def test_endless_values_are_cut(err: Err) -> None:
    configure_logging("INFO", "json")
    endless: dict[str, Any] = {}
    endless["self"] = endless
    get_logger().info("job_claimed", endless=endless)
    assert '"..."' in err.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        "x" * 20_000_000,
        ["x"] * 1_000_000,
        dict.fromkeys(range(1_000_000)),
        [["x" * 9000] * 99] * 99,
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_flood_in_one_record_is_cut_and_says_so(err: Err, form: str, value: object) -> None:
    configure_logging("INFO", form)
    get_logger().info("job_claimed", value=value)
    assert len(err.getvalue()) < 300_000
    assert "[...]" in err.getvalue() or "more" in err.getvalue()


def test_a_flood_in_the_text_of_a_record_is_cut(err: Err) -> None:
    configure_logging("INFO", "json")
    get_logger().info("x" * 20_000_000)
    logging.getLogger("library").error("y" * 20_000_000)
    assert len(err.getvalue()) < 100_000
    assert len(records(err)) == 2


def test_a_closed_stderr_never_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("INFO", "json")
    log = get_logger()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    log.info("job_claimed")
    logging.getLogger("asyncio").error("late")


def _raise_refused() -> None:
    error = asyncpg.UniqueViolationError("duplicate key")
    error.detail = "Key (email)=(ann@example.com\nsecond line) exists."
    error.hint = "ann@example.com"
    raise error


def test_no_record_shows_the_values_of_rows(err: Err) -> None:
    """PostgreSQL shows them behind its message; in causes and in groups too."""
    configure_logging("DEBUG", "json")
    log = get_logger()
    try:
        try:
            _raise_refused()
        except asyncpg.UniqueViolationError as error:
            log.error("loop_tick_failed", error=f"UniqueViolationError: {error}")  # noqa: TRY400
            raise ExceptionGroup("several", [error, RuntimeError(f"again: {error}")]) from error
    except ExceptionGroup:
        log.exception("request_crashed")
        logging.getLogger("library").exception("it failed")
    said = err.getvalue()
    assert said.count("duplicate key") >= 7
    assert "example.com" not in said
    assert "second line" not in said
    assert "DETAIL" not in said
    assert "_raise_refused" in said
