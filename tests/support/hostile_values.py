"""Values that no front end means and a restored or replicated row may hold all the same.

By column, each as an SQL expression. `UNREADABLE` ones keep a job from being claimed; with any
other it runs like every job.
"""

from wastewise_jobs.db.pool import Connection

_TIMES = (
    "'infinity'",
    "'-infinity'",
    "'4713-01-01 00:00:00+00 BC'",
    "'0001-01-01 00:00:00+00'",
    "'12000-01-01 00:00:00+00'",
    "'294276-12-31 23:59:59+00'",
)
_TEXTS = (
    "repeat('x', 20971520)",
    "''",
    r"E'\x01\x1b[31m\u2028\ufeff\U0001f600'",
)
_JSON = (
    """'{"a": 1e131000, "b": 0e-16383}'""",
    """('[' || repeat('1e131000,', 20000) || '1]')::jsonb""",
    """('[' || repeat('0e-16383,', 100000) || '1]')::jsonb""",
    """(repeat('[', 3000) || repeat(']', 3000))::jsonb""",
    """(repeat('{"a":', 230) || '1' || repeat('}', 230))::jsonb""",
    """to_jsonb(repeat('y', 20971520))""",
    "'null'",
    "'5'",
    """'"text"'""",
    """'[1, "two", null, {}]'""",
)
# A megabyte as it is stored, and a quarter of that as text.
_SHORT_NUMBERS = """('[' || repeat('1,', 120000) || '1]')::jsonb"""
# Hundreds of megabytes as text, and less than PostgreSQL refuses.
_LONG_NUMBERS = (
    """('[' || repeat('1e-16000,', 40000) || '1]')::jsonb""",
    "(SELECT jsonb_agg(round(1, 16000)) FROM generate_series(1, 40000))",
)
_INTEGERS = ("2147483647", "-2147483648")
_BIGINTS = ("9223372036854775807", "-9223372036854775808")

# Expressions by column; the second half of each pair makes its job unreadable.
_VALUES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fence": (("9223372036854770000",), ("9223372036854775807", "9223372036854775806", "-1")),
    "created_at": (("'0001-02-01 00:00:00+00'", "'9999-01-01 00:00:00+00'"), _TIMES),
    "priority": ((), ("0", "-2147483648", "2147483647")),
    "retry_count": (("2147483647",), ("-1",)),
    "max_retries": ((), ("-1", "2147483647")),
    "crash_count": ((), ("-2147483648",)),
    "timeout_seconds": ((), ("'NaN'", "'Infinity'", "-1", "0", "1e300")),
    "idempotency_key": ((), ("'a key without a hash'", "''")),
    "job_type": ((), ("repeat('x', 20971520)",)),
    "queue": ((), ("repeat('x', 20971520)",)),
    "input_data": (
        (_JSON[0], *_JSON[3:5], *_JSON[6:], _SHORT_NUMBERS),
        (_JSON[1], _JSON[2], _JSON[5], *_LONG_NUMBERS),
    ),
    "result_data": (_JSON, ()),
    "error_details": (_JSON, ()),
    "retry_error_log": (
        (
            *_JSON,
            """(SELECT jsonb_agg(jsonb_build_object('error_message', repeat('z', 90)))
                FROM generate_series(1, 100000))""",
        ),
        (),
    ),
    **dict.fromkeys(
        ("error_message", "error_code", "priority_reason", "current_step", "worker_id"),
        (_TEXTS, ()),
    ),
    # An infinite retry_after, or one of the future, is a job that waits.
    **dict.fromkeys(
        ("retry_after",),
        (("'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'0001-01-01 00:00:00+00'"), ()),
    ),
    **dict.fromkeys(
        (
            "started_at",
            "completed_at",
            "failed_at",
            "claimed_at",
            "estimated_completion",
            "updated_at",
        ),
        (_TIMES, ()),
    ),
    "duration_seconds": (("'NaN'", "'Infinity'", "'-Infinity'", "1e308", "-5"), ()),
    "ai_cost_usd": (("'NaN'", "'Infinity'", "'-Infinity'", "1e1000", "1e131000"), ()),
    **dict.fromkeys(
        ("progress_percent", "total_steps", "steps_completed", "ai_requests"), (_INTEGERS, ())
    ),
    **dict.fromkeys(("ai_tokens_input", "ai_tokens_output"), (_BIGINTS, ())),
}

READABLE = [(column, value) for column, (values, _) in _VALUES.items() for value in values]
UNREADABLE = [(column, value) for column, (_, values) in _VALUES.items() for value in values]
# Not among them: ids and foreign_writer, whose every value is as good as any; status, which decides
# what a row is; and cancel_requested_at, whose every value is a request.
COLUMNS_LEFT_OUT = {
    "id",
    "user_id",
    "project_id",
    "status",
    "foreign_writer",
    "cancel_requested_at",
    "idempotency_hash",
}

CHECKS = """
SELECT conname, pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE conrelid = 'public.analysis_jobs'::regclass
  AND contype = 'c'
"""


def named(values: list[tuple[str, str]]) -> list[str]:
    """Names for the cases."""
    return [f"{column} {value[:40]}" for column, value in values]


def columns() -> set[str]:
    """Every column that a case is about."""
    return set(_VALUES)


async def spoil(connection: Connection, job_id: object, column: str, value: str) -> None:
    """Write the value as a restore does: no trigger sees it, no constraint is there yet."""
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        checks = await connection.fetch(CHECKS)
        for name, _ in checks:
            await connection.execute(f"ALTER TABLE analysis_jobs DROP CONSTRAINT {name}")
        await connection.execute(
            f"UPDATE analysis_jobs SET {column} = {value} WHERE id = $1",  # noqa: S608
            job_id,
        )
        for name, definition in checks:
            await connection.execute(
                f"ALTER TABLE analysis_jobs ADD CONSTRAINT {name} {definition}"
            )
