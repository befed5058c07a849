import errno
import json
import socket
import ssl
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import asyncpg
import psycopg
import pytest
from aiohttp.client_reqrep import ConnectionKey
from pydantic import BaseModel, ValidationError
from yarl import URL

from wastewise_jobs.errors import (
    InvalidInputError,
    PermanentError,
    RetryableError,
    WastewiseJobsError,
)
from wastewise_jobs.jobs.failure import classify
from wastewise_jobs.jobs.failure_rules import FailureKind
from wastewise_jobs.retry_after import LONGEST_RETRY_AFTER

R, P, U = FailureKind.RETRYABLE, FailureKind.PERMANENT, FailureKind.UNKNOWN
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


class HttpError(Exception):
    def __init__(self, message: str = "", **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)


class Odd(Exception):  # noqa: N818 - its name is part of the code
    """Has numbers of the same names that mean something else."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.__dict__.update(attributes)


class Invoice(BaseModel):
    total: float


def invalid() -> ValidationError:
    with pytest.raises(ValidationError) as refused:
        Invoice.model_validate({"total": "secret-value"})
    return refused.value


def client_response_error(status: int, **headers: str) -> aiohttp.ClientResponseError:
    info = aiohttp.RequestInfo(URL("http://x"), "GET", None, URL("http://x"))  # type: ignore[arg-type]
    return aiohttp.ClientResponseError(
        info,
        (),
        status=status,
        headers={k.replace("_", "-"): v for k, v in headers.items()},  # type: ignore[arg-type]
    )


KEY = ConnectionKey(
    "x", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)


def tls_alert() -> ssl.SSLError:
    """OpenSSL's number is 1, which is EPERM in another list."""
    return ssl.SSLError(1, "[SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert internal error")


def caused(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (PermanentError("NO_INVOICES", "none"), P, "NO_INVOICES"),
        (RetryableError("later"), R, "RETRYABLE_ERROR"),
        (RetryableError("later", code="BUSY"), R, "BUSY"),
        (InvalidInputError("a.b", "wrong"), P, "INVALID_INPUT"),
        (InvalidInputError("a", "NaN", code="RESULT_NOT_STORABLE"), P, "RESULT_NOT_STORABLE"),
        (invalid(), P, "INVALID_INPUT"),
        (TimeoutError(), R, "TIMEOUT"),
        (MemoryError(), R, "OUT_OF_MEMORY"),
        (NotImplementedError(), P, "NOT_IMPLEMENTED_ERROR"),
        (ConnectionResetError(), R, "CONNECTION_FAILED"),
        (OSError(errno.ECONNREFUSED, "no"), R, "ECONNREFUSED"),
        (OSError(errno.ENOSPC, "full"), R, "ENOSPC"),
        (OSError(errno.EACCES, "no"), P, "EACCES"),
        (FileNotFoundError(errno.ENOENT, "no"), P, "ENOENT"),
        (FileNotFoundError("gone"), P, "ENOENT"),
        (OSError("odd"), U, "OSERROR"),
        (tls_alert(), R, "TLS_FAILED"),
        (ssl.SSLCertVerificationError(1, "expired"), R, "TLS_FAILED"),
        (ssl.SSLZeroReturnError(errno.EACCES, "closed"), R, "TLS_FAILED"),
        (aiohttp.ClientConnectorSSLError(KEY, tls_alert()), R, "CONNECTION_FAILED"),
        (aiohttp.ClientConnectorError(KEY, tls_alert()), R, "CONNECTION_FAILED"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(1, "x")), R, "CONNECTION_FAILED"),
        (caused(aiohttp.ClientOSError(1, "alert"), tls_alert()), R, "CONNECTION_FAILED"),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.EACCES, "no")), P, "EACCES"),
        (caused(OSError(1, "copied"), tls_alert()), R, "TLS_FAILED"),
        (caused(FileNotFoundError("gone"), ssl.SSLError("odd")), P, "ENOENT"),
        (socket.gaierror(errno.EPERM, "not in this list"), R, "CONNECTION_FAILED"),
        (socket.herror(errno.ENOENT, "not in this list"), R, "CONNECTION_FAILED"),
        (Odd(errno=errno.EPERM), U, "ODD"),
        (Odd(status=404), U, "ODD"),
        (Odd(status_code=404, code=410), U, "ODD"),
        (Odd(response=SimpleNamespace(status=404)), U, "ODD"),
        (Odd(status=503, headers={}), R, "HTTP_503"),
        (urllib.error.HTTPError("http://x", 404, "no", Message(), None), P, "HTTP_404"),
        (aiohttp.ServerDisconnectedError(), R, "CONNECTION_FAILED"),
        (aiohttp.ClientPayloadError("cut"), R, "CONNECTION_FAILED"),
        (client_response_error(503), R, "HTTP_503"),
        (client_response_error(404), P, "HTTP_404"),
        (asyncpg.ConnectionDoesNotExistError("x"), R, "DATABASE_UNAVAILABLE"),
        (asyncpg.DeadlockDetectedError("x"), R, "DATABASE_UNAVAILABLE"),
        (asyncpg.LockNotAvailableError("x"), R, "DATABASE_UNAVAILABLE"),
        (asyncpg.ReadOnlySQLTransactionError("x"), R, "DATABASE_UNAVAILABLE"),
        (asyncpg.TooManyConnectionsError("x"), R, "DATABASE_UNAVAILABLE"),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), R, "DATABASE_UNAVAILABLE"),
        (asyncpg.UniqueViolationError("x"), P, "DATABASE_REFUSED"),
        (asyncpg.FeatureNotSupportedError("x"), P, "DATABASE_REFUSED"),
        (asyncpg.InvalidCachedStatementError("x"), R, "DATABASE_CHANGED"),
        (asyncpg.UndefinedTableError("x"), R, "DATABASE_CHANGED"),
        (asyncpg.UndefinedColumnError("x"), R, "DATABASE_CHANGED"),
        (asyncpg.UndefinedFunctionError("x"), R, "DATABASE_CHANGED"),
        (asyncpg.UndefinedObjectError("x"), R, "DATABASE_CHANGED"),
        (asyncpg.PostgresSyntaxError("x"), P, "DATABASE_REFUSED"),
        (psycopg.errors.UndefinedTable("x"), R, "DATABASE_CHANGED"),
        (psycopg.errors.FeatureNotSupported("cached plan must not change"), R, "DATABASE_CHANGED"),
        (psycopg.errors.UniqueViolation("x"), P, "DATABASE_REFUSED"),
        (psycopg.errors.InvalidPassword("x"), U, "INVALID_PASSWORD"),
        (psycopg.OperationalError("the server sleeps"), R, "DATABASE_UNAVAILABLE"),
        (Odd(sqlstate="42000"), U, "ODD"),
        (Odd(sqlstate="40001", errno=errno.EPERM), U, "ODD"),
        (caused(Odd(orig=1), asyncpg.UndefinedTableError("x")), R, "DATABASE_CHANGED"),
        (Odd(orig=asyncpg.DeadlockDetectedError("x")), R, "DATABASE_UNAVAILABLE"),
        (asyncpg.RaiseError("x"), U, "RAISE_ERROR"),
        (asyncpg.InterfaceError("connection is closed"), R, "CONNECTION_FAILED"),
        (ZeroDivisionError("division by zero"), U, "ZERO_DIVISION_ERROR"),
        (KeyError("x"), U, "KEY_ERROR"),
        (caused(ValueError("import failed"), TimeoutError()), R, "TIMEOUT"),
        (caused(ValueError("HTTP 404"), TimeoutError()), P, "HTTP_404"),
        (caused(ValueError("a"), KeyError("b")), U, "VALUE_ERROR"),
        (ExceptionGroup("g", [KeyError("x"), TimeoutError()]), R, "TIMEOUT"),
        (ExceptionGroup("g", [TimeoutError(), PermanentError("NO", "x")]), P, "NO"),
        (SystemExit(404), U, "SYSTEM_EXIT"),
    ],
)
def test_each_kind_of_error_is_recognised(
    error: BaseException, kind: FailureKind, code: str
) -> None:
    verdict = classify(error, now=NOW)
    assert (verdict.kind, verdict.code) == (kind, code)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("attribute", ["status", "status_code"])
def test_these_http_statuses_are_retryable(status: int, attribute: str) -> None:
    verdict = classify(HttpError("not found", **{attribute: status}))
    assert (verdict.kind, verdict.details) == (R, {"http_status": status})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_these_http_statuses_are_permanent(status: int) -> None:
    response = SimpleNamespace(status_code=status, headers={})
    assert classify(HttpError("timed out", response=response)).kind is P


@pytest.mark.parametrize("status", [200, 301, 402, 418, True, "503", None, 7])
def test_other_statuses_say_nothing(status: object) -> None:
    assert classify(HttpError("x", status=status)).kind is U


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("upstream said HTTP 503", R, "HTTP_503"),
        ("HTTP/1.1 404", P, "HTTP_404"),
        ("request failed with status code 429", R, "HTTP_429"),
        ("status=422, giving up", P, "HTTP_422"),
        ("Status: 500.", R, "HTTP_500"),
        ("404 Not Found", P, "HTTP_404"),
        ("(503 Service Unavailable)", R, "HTTP_503"),
        ("Rate limit exceeded", R, "RATE_LIMITED"),
        ("rate-limited", R, "RATE_LIMITED"),
        ("Connection reset by peer", R, "CONNECTION_FAILED"),
        ("the read operation timed out", R, "TIMEOUT"),
        ("Request timeout", R, "TIMEOUT"),
        ("Service temporarily unavailable", R, "SERVICE_UNAVAILABLE"),
        ("model is overloaded, try again later", R, "SERVICE_UNAVAILABLE"),
        ("project not found", P, "NOT_FOUND"),
        ("Permission denied", P, "NOT_ALLOWED"),
        ("Invalid API key", P, "NOT_ALLOWED"),
        ("malformed header row", P, "INVALID_INPUT"),
        ("unsupported file type", P, "INVALID_INPUT"),
        ("not found: connection reset", R, "CONNECTION_FAILED"),
    ],
)
def test_the_words_of_a_message_decide_last(text: str, kind: FailureKind, code: str) -> None:
    verdict = classify(RuntimeError(text))
    assert (verdict.kind, verdict.code) == (kind, code)
    assert verdict.reason.startswith("message says")


@pytest.mark.parametrize(
    "text",
    [
        "job 018f404a-5030-7404-8404-404404404404 broke",
        "job 404 broke",
        "invoice total 503.20",
        "status 5030",
        "status 50",
        "row 429 of 500",
        "http-404-handler",
        "file report-timeout.csv has no header",
        "https://example.com/not found-ish/rate-limit/timeout",
        "TimeoutPolicy is wrong",
        "conflicting notfound",
        "HTTP 402",
        "",
    ],
)
def test_numbers_and_words_inside_ids_paths_and_names_say_nothing(text: str) -> None:
    assert classify(RuntimeError(text)).kind is U


@pytest.mark.parametrize(
    ("value", "delay"),
    [
        ("120", timedelta(seconds=120)),
        ("1.5", timedelta(seconds=1.5)),
        (format_datetime(NOW + timedelta(minutes=7), usegmt=True), timedelta(minutes=7)),
        (format_datetime(NOW - timedelta(minutes=7), usegmt=True), None),
        ("999999999", LONGEST_RETRY_AFTER),
        ("-5", None),
        ("0", None),
        ("soon", None),
        ("1e9", None),
        ("nan", None),
        ("", None),
    ],
)
def test_retry_after_is_honoured_within_a_day(value: str, delay: timedelta | None) -> None:
    assert classify(client_response_error(429, Retry_After=value), now=NOW).retry_after == delay
    response = SimpleNamespace(status_code=503, headers={"retry-after": value})
    assert classify(HttpError(response=response), now=NOW).retry_after == delay


def test_retry_after_of_a_permanent_answer_is_ignored() -> None:
    assert classify(client_response_error(404, Retry_After="9"), now=NOW).retry_after is None


@pytest.mark.parametrize(
    ("given", "delay"),
    [
        (timedelta(seconds=90), timedelta(seconds=90)),
        (timedelta(days=9), LONGEST_RETRY_AFTER),
        (90, timedelta(seconds=90)),
        (float("inf"), LONGEST_RETRY_AFTER),
        (float("nan"), None),
        (-1, None),
    ],
)
def test_a_handler_may_ask_for_a_delay(given: Any, delay: timedelta | None) -> None:
    assert classify(RetryableError("x", retry_after=given)).retry_after == delay


def test_messages_name_the_type_and_never_the_rejected_value() -> None:
    assert classify(KeyError("total")).message == "KeyError: 'total'"
    assert classify(TimeoutError()).message == "TimeoutError"
    assert classify(PermanentError("X", "say this")).message == "say this"
    assert "secret-value" not in classify(invalid()).message
    assert classify(invalid()).message.startswith("total: ")
    both = classify(caused(WastewiseJobsError("outer"), TimeoutError("inner")))
    assert both.message == "WastewiseJobsError: outer (caused by TimeoutError: inner)"


def test_whatever_is_raised_can_be_stored() -> None:
    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    for error in (
        HostileError(),
        ValueError("a\0b\ud800" + "x" * 50_000),
        PermanentError("C\0" * 500, "m\0", details={"a": b"x"}),
        PermanentError("C", "m", details={"a": float("nan")}),
    ):
        verdict = classify(error)
        stored = json.dumps([verdict.code, verdict.message, verdict.details], allow_nan=False)
        assert "\\u0000" not in stored
        assert "\\ud800" not in stored
        assert len(verdict.message.encode()) <= 16 * 1024


def test_a_chain_in_a_circle_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert classify(first).kind is U


def refused_row() -> asyncpg.PostgresError:
    error = asyncpg.CheckViolationError("a check refuses it")
    error.detail = "Failing row contains (ann@example.com, 4711)."
    error.hint = "4711"
    return error


@pytest.mark.parametrize(
    "error",
    [
        refused_row(),
        ValueError(f"could not save: {refused_row()}"),
        PermanentError("REFUSED", str(refused_row())),
        RetryableError(str(refused_row())),
        ExceptionGroup("tasks", [refused_row()]),
        RuntimeError("ERROR:  bad\nLINE 1: SELECT 4711\n               ^\nCONTEXT:  4711"),
    ],
)
def test_no_message_shows_the_values_of_a_row(error: BaseException) -> None:
    message = classify(error).message
    assert "refuses it" in message or "bad" in message
    assert "4711" not in message
    assert "4711" not in classify(_because_of(error)).message


def _because_of(cause: BaseException) -> BaseException:
    error = RuntimeError("it failed")
    error.__cause__ = cause
    return error


def test_the_message_of_another_driver_is_its_own_word_for_it() -> None:
    error = HttpError(
        "refuses it\nDÉTAIL : 4711", sqlstate="23514", diag=SimpleNamespace(message_primary="bad")
    )
    assert classify(error).message == "HttpError: bad"
