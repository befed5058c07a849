"""From the input of one run to exactly one outcome, whatever its handler does."""

import asyncio

from wastewise_jobs.errors import LeaseLostError
from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.handlers.options import RunIn
from wastewise_jobs.jobs.failure import Verdict, classify
from wastewise_jobs.jobs.failure_rules import FailureKind
from wastewise_jobs.jobs.outcome import (
    Cancelled,
    Completed,
    CompletedInTransaction,
    Failed,
    Outcome,
    Released,
    RetryLater,
)
from wastewise_jobs.jobs.storable import dump_json
from wastewise_jobs.logs import bind_facts, get_logger
from wastewise_jobs.workers.run import Run, StopReason

log = get_logger(__name__)

_COMPLETED = Completed()


async def execute(run: Run) -> Outcome | None:
    """Run the handler; its outcome, or None when there is nothing to record: the lease is lost."""
    job, entry = run.job, run.entry
    bind_facts(run.facts)
    outcome: Outcome | None
    try:
        if entry.elsewhere is not None:
            outcome = await entry.elsewhere(run)
        else:
            given = entry.handler.parse_input(job.input_json) if entry.wants_input else None
            outcome = completed(run.context, await entry.call(run.context, given))
    except asyncio.CancelledError as error:
        # Unless a stop was requested, something inside the handler was cancelled.
        outcome = failure(error) if run.stopped_for is None else None
    except LeaseLostError:
        return None
    except BaseException as error:  # noqa: BLE001 - a handler's run: signals never come this way
        outcome = failure(error)
    if run.context.completed:
        return CompletedInTransaction()
    if run.stopped_for is None or _ended_by_itself(run, outcome):
        return outcome
    return stopped_outcome(run)


def completed(context: JobContext, result: object) -> Completed:
    """The outcome of a handler that returned.

    Raises InvalidInputError for a result that PostgreSQL cannot store.
    """
    usage = context.ai_usage
    if result is None and usage is None:
        return _COMPLETED
    return Completed(None if result is None else dump_json(result), usage)


def failure(error: BaseException) -> Outcome:
    """The outcome of a handler that raised."""
    verdict = classify(error)
    if verdict.kind is FailureKind.UNKNOWN:
        # Only here a traceback says more than the verdict.
        try:
            log.warning("handler_raised", error_code=verdict.code, exc_info=error)
        except RecursionError:
            log.warning("handler_raised", error_code=verdict.code)
    return failed_outcome(verdict)


def failed_outcome(verdict: Verdict) -> Outcome:
    """Another attempt unless the verdict is permanent; the reason is stored with it."""
    details = {**verdict.details, "reason": verdict.reason}
    if verdict.kind is FailureKind.PERMANENT:
        return Failed(verdict.code, verdict.message, verdict.kind, details)
    return RetryLater(verdict.code, verdict.message, verdict.kind, details, verdict.retry_after)


def stopped_outcome(run: Run) -> Outcome | None:
    """The outcome of a run that was ended from outside."""
    match run.stopped_for:
        case StopReason.TIMEOUT:
            limit = f"{run.job.timeout_seconds:g} s"
            return RetryLater(
                "TIMEOUT",
                f"the handler did not end within {limit}",
                FailureKind.RETRYABLE,
                {"reason": "the job type's timeout", "timeout_seconds": run.job.timeout_seconds},
            )
        case StopReason.CANCEL:
            return Cancelled()
        case StopReason.SHUTDOWN | StopReason.LEASE_UNSURE:
            return Released()
        case _:
            return None


def _ended_by_itself(run: Run, outcome: Outcome | None) -> bool:
    """A function in a thread that finished without ever looking whether it should stop."""
    return (
        isinstance(outcome, Completed)
        and run.entry.handler.options.run_in is RunIn.THREAD
        and run.stopped_for in {StopReason.SHUTDOWN, StopReason.LEASE_UNSURE}
        and not run.context.saw_cancellation
    )
