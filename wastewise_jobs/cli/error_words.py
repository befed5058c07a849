"""What to tell a person about an error: one line that says what is wrong and what to do next."""

from typing import Final, cast

import typer
from pydantic import ValidationError

from wastewise_jobs import client
from wastewise_jobs.cli.arguments import option_of
from wastewise_jobs.errors import (
    ConfigurationError,
    InvalidInputError,
    WastewiseJobsError,
    problem_of,
    text_of,
)
from wastewise_jobs.logs import redact

FAILED, USAGE = 1, 2
# Of what typer raises about a command line it exports only one class, which is below all others.
_UsageError: Final = cast("type[Exception]", typer.BadParameter.__base__)
_WRONG_VALUE = frozenset({400, 404, 422})
_UNKNOWN_CALLER = 401
_ADVICE = {
    "project_required": "; give --project, or --property and what else describes a new one",
    "not_found": "; is --url right?",
}


def explain(error: BaseException) -> tuple[str, int]:
    """The line, without secrets, and the exit code."""
    if isinstance(error, BaseExceptionGroup):
        return explain(_first_of(error))
    if isinstance(error, _UsageError):
        return _misused(error), USAGE
    # Redacted without the name: what follows `JWT_SECRET:` would be taken for the secret.
    if isinstance(error, ConfigurationError):
        return f"{error.variable}: {redact(error.problem)}", USAGE
    if isinstance(error, InvalidInputError):
        return f"{error.field}: {redact(error.problem)}", USAGE
    if isinstance(error, client.ProblemError) and error.field:
        return redact(_refused(error)), USAGE if error.status in _WRONG_VALUE else FAILED
    return redact(_said(error)), FAILED


def _of_database(error: BaseException) -> str | None:
    # Whoever only speaks to a service does without the driver.
    from wastewise_jobs.db import trouble

    state = trouble.sqlstate(error)
    if state == trouble.READ_ONLY:
        return (
            "DATABASE_URL: the database is a standby or read-only: point it at the primary "
            "(several hosts need target_session_attrs=primary)"
        )
    if state == trouble.NO_RIGHT:
        return f"DATABASE_URL: its role lacks a right: {text_of(error)}"
    return None


def _refused(error: client.ProblemError) -> str:
    """The service speaks of fields; whoever typed it knows options."""
    problem = error.detail.removeprefix(f"{error.field}: ")
    return f"{option_of(error.field)}: {problem} ({error.code}){_next_step(error)}"


def _misused(error: Exception) -> str:
    """What typer says in a box of several lines."""
    if isinstance(error, typer.BadParameter) and isinstance(error.__cause__, ValidationError):
        details = error.__cause__.errors(include_url=False)[0]
        name = max(error.param.opts, key=len) if error.param is not None else ""
        name = name if name.startswith("-") else name.upper()
        problem, given = problem_of(details).rstrip("."), repr(str(details["input"])[:100])
        return f"{name}: {problem}" + ("" if given in problem else f", not {given}")
    said = str(getattr(error, "format_message", error.__str__)()).rstrip(".?")
    path = getattr(getattr(error, "ctx", None), "command_path", None)
    return f"{said[:1].lower()}{said[1:]}" + (f"; see `{path} --help`" if path else "")


def _said(error: BaseException) -> str:
    if isinstance(error, client.ClientError):
        return f"{error}{_next_step(error)}"
    if isinstance(error, WastewiseJobsError):
        return str(error)
    if said := _of_database(error):
        return said
    if isinstance(error, OSError | TimeoutError):
        return f"{str(error) or 'it took too long'} ({type(error).__name__})"
    said = f"{type(error).__name__}: {text_of(error)}"
    return f"unexpected {said}; run it again with --debug to see where"


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Ours before anybody else's: the rest is usually what it caused."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, WastewiseJobsError)), leaves[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


def _next_step(error: client.ClientError) -> str:
    if isinstance(error, client.ServiceUnreachableError):
        return "; is it running (`wastewise-jobs serve`), and is --url right?"
    if isinstance(error, client.NotAuthorizedError) and error.status == _UNKNOWN_CALLER:
        return (
            "; give a token with WASTEWISE_TOKEN or --token-file (`wastewise-jobs token` makes one)"
        )
    if isinstance(error, client.ServiceError) and error.request_id:
        return f"; request {error.request_id} in the service's log says more"
    if isinstance(error, client.ProblemError):
        return _ADVICE.get(error.code, "")
    return ""
