"""What each SQLSTATE means, to everybody who asks."""

import asyncpg
import pytest

from wastewise_jobs import logs
from wastewise_jobs.db import trouble
from wastewise_jobs.jobs.failure import classify
from wastewise_jobs.jobs.failure_rules import FailureKind
from wastewise_jobs.jobs.store import REFUSALS
from wastewise_jobs.web.http.problems import from_failure

# By SQLSTATE, as appendix A of PostgreSQL's documentation names them: the families it is in, what
# a request is answered, and whether a handler's job is tried again.
GONE = ("SERVER_GONE", "LOST_CONNECTION", "UNUSABLE", "OUTAGE", "PASSING")
ENDED = ("SESSION_ENDED", "LOST_CONNECTION", "OUTAGE", "PASSING")
R, P, U = FailureKind.RETRYABLE, FailureKind.PERMANENT, FailureKind.UNKNOWN
STATES = {
    "08000": (GONE, 503, R),  # connection_exception
    "08P01": (GONE, 503, R),  # protocol_violation, which a pooler says as well
    "0A000": ((), 500, P),  # feature_not_supported
    "22003": (("BAD_VALUE", "NOT_STORABLE"), 400, P),  # numeric_value_out_of_range
    "22P05": (("BAD_VALUE", "NOT_STORABLE"), 400, P),  # untranslatable_character
    "23505": (("CONSTRAINT", "NOT_STORABLE"), 422, P),  # unique_violation
    "25001": ((), 500, U),  # active_sql_transaction
    "25006": (("UNUSABLE", "OUTAGE", "PASSING"), 503, R),  # read_only_sql_transaction
    "25P02": ((), 500, U),  # in_failed_sql_transaction
    "25P03": (ENDED, 503, R),  # idle_in_transaction_session_timeout
    "25P04": (ENDED, 503, R),  # transaction_timeout
    "26000": (("POOLED",), 500, U),  # invalid_sql_statement_name
    "28P01": ((), 500, U),  # invalid_password
    "3D000": ((), 500, U),  # invalid_catalog_name
    "3F000": (("CHANGED_SCHEMA",), 500, R),  # invalid_schema_name
    "40001": (("BUSY", "PASSING"), 503, R),  # serialization_failure
    "40003": (("BUSY", "PASSING"), 503, R),  # statement_completion_unknown
    "40P01": (("BUSY", "PASSING"), 503, R),  # deadlock_detected
    "42501": ((), 500, P),  # insufficient_privilege
    "42601": ((), 500, P),  # syntax_error
    "42703": (("CHANGED_SCHEMA",), 500, R),  # undefined_column
    "42883": (("CHANGED_SCHEMA",), 500, R),  # undefined_function
    "42P01": (("CHANGED_SCHEMA",), 500, R),  # undefined_table
    "42P05": (("POOLED",), 500, P),  # duplicate_prepared_statement
    "53100": (("OUTAGE", "PASSING"), 503, R),  # disk_full
    "53300": (("OUTAGE", "PASSING"), 503, R),  # too_many_connections
    "54000": (("BAD_VALUE", "NOT_STORABLE"), 400, P),  # program_limit_exceeded
    "54001": (("BAD_VALUE", "NOT_STORABLE"), 400, P),  # statement_too_complex
    "55000": ((), 500, R),  # object_not_in_prerequisite_state
    "55006": ((), 500, R),  # object_in_use
    "55P03": (("BUSY", "PASSING"), 503, R),  # lock_not_available
    "57000": (("BUSY", "PASSING"), 503, R),  # operator_intervention
    "57014": (("BUSY", "PASSING"), 503, R),  # query_canceled
    "57P01": (GONE, 503, R),  # admin_shutdown
    "57P02": (GONE, 503, R),  # crash_shutdown
    "57P03": (GONE, 503, R),  # cannot_connect_now
    "57P04": (GONE, 503, R),  # database_dropped
    "57P05": (ENDED, 503, R),  # idle_session_timeout
    "58030": (("OUTAGE", "PASSING"), 503, R),  # io_error
    "P0001": ((), 500, U),  # raise_exception
    "XX000": ((), 500, U),  # internal_error
}
FAMILIES = {
    name: value
    for name, value in vars(trouble).items()
    if name.isupper() and isinstance(value, tuple) and isinstance(value[0], str)
}


def error_of(state: str, **fields: str) -> asyncpg.PostgresError:
    """As asyncpg makes it of what the server sent."""
    error = asyncpg.PostgresError.new({"C": state, "M": "said", "S": "X", **fields})
    assert isinstance(error, asyncpg.PostgresError)
    assert error.sqlstate == state
    return error


@pytest.mark.parametrize("state", STATES)
def test_a_sqlstate_is_of_these_families(state: str) -> None:
    families, _, _ = STATES[state]
    assert {name for name in FAMILIES if state.startswith(FAMILIES[name])} == set(families)


def test_every_family_has_a_state_in_the_table() -> None:
    assert {name for families, _, _ in STATES.values() for name in families} == set(FAMILIES)


@pytest.mark.parametrize("state", STATES)
def test_every_module_judges_a_sqlstate_alike(state: str) -> None:
    families, status, kind = STATES[state]
    error = error_of(state)
    assert trouble.is_outage(error) is ("OUTAGE" in families)
    assert trouble.is_passing(error) is ("PASSING" in families)
    assert trouble.is_lost_connection(error) is ("LOST_CONNECTION" in families)
    assert logs._is_lost_connection(error) is ("LOST_CONNECTION" in families)
    assert isinstance(error, REFUSALS) is ("NOT_STORABLE" in families)
    assert from_failure(error).refusal.status == status
    assert classify(error).kind is kind


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(), "lost"),
        (TimeoutError(), "lost"),
        (asyncpg.InterfaceError("connection is closed"), "outage"),
        (asyncpg.InternalClientError("got result for unknown protocol state"), "outage"),
        # What ends a session or keeps it from beginning says nothing about a statement.
        (error_of("28P01", V="FATAL"), "outage"),
        (error_of("XX000", V="PANIC"), "outage"),
        (error_of("23505", V="ERROR"), "nothing"),
        (ValueError("an argument"), "nothing"),
        (KeyError("a bug"), "nothing"),
    ],
)
def test_an_error_without_a_telling_sqlstate(error: Exception, says: str) -> None:
    assert trouble.is_outage(error) is (says in {"outage", "lost"})
    assert trouble.is_passing(error) is (says in {"outage", "lost"})
    assert trouble.is_lost_connection(error) is (says == "lost")
