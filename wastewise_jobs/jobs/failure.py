"""Whether a failed attempt may succeed later: decided from what the handler raised, and why.

The first rule of `failure_rules` that recognises the error decides. When the error says nothing,
its cause is asked. What nobody recognises is unknown and is retried: a needless attempt costs
little, a wrong "permanent" loses a job. *When* to try again is the database's decision.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from wastewise_jobs.errors import without_row_values
from wastewise_jobs.jobs.failure_rules import FailureKind, Finding, recognise, safe_text, screaming
from wastewise_jobs.jobs.model import JsonObject
from wastewise_jobs.jobs.storable import clean_text, storable_object
from wastewise_jobs.retry_after import LONGEST_RETRY_AFTER

_LONGEST_CHAIN = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision about one failed attempt; `reason` names the rule that made it.

    `message`, `code` and `details` can be stored as they are. `retry_after` is the least delay
    that the failing service asked for.
    """

    kind: FailureKind
    code: str
    message: str
    reason: str
    retry_after: timedelta | None = None
    details: JsonObject = field(default_factory=dict)


def classify(error: BaseException, *, now: datetime | None = None) -> Verdict:
    """Decide about the error of a handler; `now` is for a Retry-After given as a date.

    Never raises: an error whose own attributes raise, or a group too deep to walk, is unknown.
    """
    try:
        return _classified(error, now)
    except Exception:  # noqa: BLE001 - part of a handler's run: an error is the handler's own code
        name = type(error).__name__
        code, name = clean_text(screaming(name), 100), clean_text(name)
        return Verdict(FailureKind.UNKNOWN, code, name, "the error cannot be read")


def _classified(error: BaseException, now: datetime | None) -> Verdict:
    if isinstance(error, BaseExceptionGroup):
        return _classify_group(error, now)
    for link in _chain(error):
        finding = recognise(link, now or datetime.now(UTC))
        if finding:
            verdict = _verdict(finding, link)
            return verdict if link is error else _of_cause(verdict, error)
    kind, code = FailureKind.UNKNOWN, screaming(type(error).__name__)
    return _verdict(Finding(kind, code, "no rule knows this error"), error)


def _classify_group(group: BaseExceptionGroup[BaseException], now: datetime | None) -> Verdict:
    """One task of the handler that cannot succeed is enough: then neither can the job."""
    verdicts = [_classified(inner, now) for inner in group.exceptions]
    order = (FailureKind.PERMANENT, FailureKind.RETRYABLE, FailureKind.UNKNOWN)
    return min(verdicts, key=lambda verdict: order.index(verdict.kind))


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__


def _verdict(finding: Finding, error: BaseException) -> Verdict:
    message = finding.message
    if message is None:
        message = f"{type(error).__name__}: {safe_text(error)}".removesuffix(": ")
    return Verdict(
        kind=finding.kind,
        code=clean_text(str(finding.code), 100),
        message=clean_text(without_row_values(message)),
        reason=clean_text(without_row_values(finding.reason), 500),
        retry_after=_capped(finding.retry_after),
        details=storable_object(finding.details),
    )


def _of_cause(verdict: Verdict, error: BaseException) -> Verdict:
    outer = f"{type(error).__name__}: {safe_text(error)}".removesuffix(": ")
    message = clean_text(f"{outer} (caused by {verdict.message})")
    return replace(verdict, message=message, reason=f"its cause: {verdict.reason}")


def _capped(delay: timedelta | None) -> timedelta | None:
    if delay is None or delay <= timedelta(0):
        return None
    return min(delay, LONGEST_RETRY_AFTER)
