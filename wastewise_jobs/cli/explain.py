"""What to tell a person about an error: one line that says what is wrong and what to do next."""

from wastewise_jobs import client
from wastewise_jobs.errors import ConfigurationError, InvalidInputError, WastewiseJobsError

FAILED, USAGE = 1, 2


def explain(error: BaseException) -> tuple[str, int]:
    """The line, and the exit code."""
    if isinstance(error, BaseExceptionGroup):
        return explain(_first_of(error))
    if isinstance(error, ConfigurationError | InvalidInputError):
        return str(error), USAGE
    if isinstance(error, client.ClientError):
        return f"{error}{_next_step(error)}", FAILED
    if isinstance(error, WastewiseJobsError):
        return str(error), FAILED
    if isinstance(error, OSError | TimeoutError):
        return f"{str(error) or 'it took too long'} ({type(error).__name__})", FAILED
    return (
        f"unexpected {type(error).__name__}: {error}; run it again with --debug to see where",
        FAILED,
    )


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
    unknown_caller = 401
    if isinstance(error, client.NotAuthorizedError) and error.status == unknown_caller:
        return "; give a token with --token or WASTEWISE_TOKEN (`wastewise-jobs token` makes one)"
    if isinstance(error, client.ServiceError) and error.request_id:
        return f"; request {error.request_id} in the service's log says more"
    return ""
