"""Rows to bodies of the API. Pure."""

from wastewise_jobs.jobs.model import JobTypeInfo, JobView
from wastewise_jobs.projects.model import Project, ProjectFile
from wastewise_jobs.web.access.keys import KeyInfo
from wastewise_jobs.wire.jobs import (
    AiUsage,
    JobAnswer,
    JobError,
    JobProgress,
    JobSummary,
    JobTiming,
    JobTypeAnswer,
    RetryInfo,
)
from wastewise_jobs.wire.keys import KeyAnswer
from wastewise_jobs.wire.projects import FileAnswer, ProjectAnswer, ProjectDetails


def job_answer(view: JobView) -> JobAnswer:
    """Everything about the job."""
    return JobAnswer(**dict(job_summary(view)), result=view.result)


def job_summary(view: JobView) -> JobSummary:
    """Everything about the job but its result."""
    return JobSummary(
        id=view.id,
        project_id=view.project_id,
        job_type=view.job_type,
        status=view.status.value,
        priority=view.priority,
        priority_reason=view.priority_reason,
        progress=JobProgress(
            percent=view.progress_percent,
            current_step=view.current_step,
            steps_completed=view.steps_completed,
            total_steps=view.total_steps,
        ),
        timing=JobTiming(
            created_at=view.created_at,
            started_at=view.started_at,
            completed_at=view.completed_at,
            estimated_completion=view.estimated_completion,
            duration_seconds=view.duration_seconds,
            retry_after=view.retry_after,
        ),
        error=_job_error(view),
        retry_info=RetryInfo(
            retry_count=view.retry_count,
            max_retries=view.max_retries,
            errors=[dict(error) for error in view.retry_errors if isinstance(error, dict)],
        ),
        ai_usage=AiUsage(
            requests=view.ai_requests,
            tokens_input=view.ai_tokens_input,
            tokens_output=view.ai_tokens_output,
            cost_usd=view.ai_cost_usd,
        ),
        worker_id=view.worker_id,
        updated_at=view.updated_at,
    )


def _job_error(view: JobView) -> JobError | None:
    if view.error_message is None and view.error_code is None:
        return None
    # A row that somebody else wrote may hold any JSON value here.
    details = view.error_details if isinstance(view.error_details, dict) else None
    return JobError(message=view.error_message or "", code=view.error_code, details=details)


def project_answer(project: Project) -> ProjectAnswer:
    """The property as it was given."""
    return ProjectAnswer.model_validate(project, from_attributes=True)


def project_details(project: Project) -> ProjectDetails:
    """The property with what its last analysis found."""
    return ProjectDetails.model_validate(project, from_attributes=True)


def file_answer(file: ProjectFile) -> FileAnswer:
    """A file without its content."""
    return FileAnswer.model_validate(file, from_attributes=True)


def key_answer(key: KeyInfo) -> KeyAnswer:
    """An API key without its secret."""
    return KeyAnswer.model_validate(key, from_attributes=True)


def job_type_answer(info: JobTypeInfo) -> JobTypeAnswer:
    """What is known about a job type."""
    return JobTypeAnswer.model_validate(info, from_attributes=True)
