from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

import wastewise_jobs
from wastewise_jobs import Handler, InvalidInputError, JobContext, Jobs
from wastewise_jobs.handlers.options import RunIn


class Bill(BaseModel):
    total: float
    note: str = ""


async def plain(job: JobContext, input: Bill) -> None: ...


def blocking(job: JobContext, input: dict[str, Any]) -> None: ...


async def alone(job: JobContext) -> None: ...


def test_a_handler_knows_its_input_and_where_it_runs() -> None:
    jobs = Jobs()
    in_loop = jobs.handler("a", timeout=5, max_retries=1, priority=2, queue="mail")(plain)
    in_thread = jobs.handler("b")(blocking)
    without = jobs.handler("c")(alone)
    assert isinstance(in_loop, Handler)
    assert in_loop.signature.model is Bill
    assert in_thread.signature.model is None
    assert in_thread.options.run_in is RunIn.THREAD
    assert not without.signature.wants_input
    info = in_loop.info()
    assert (info.timeout_seconds, info.max_retries, info.priority) == (5, 1, 2)
    assert (info.queue, info.run_in) == ("mail", "loop")
    assert info.input_schema["required"] == ["total"]


def test_what_a_handler_leaves_open_comes_from_the_process() -> None:
    jobs = Jobs()
    jobs.handler("a")(plain)
    (info,) = jobs.job_types(default_timeout=timedelta(seconds=7), default_max_retries=9)
    assert (info.timeout_seconds, info.max_retries) == (7, 9)


async def test_calling_a_handler_calls_its_function() -> None:
    @Jobs().handler("double")
    async def double(_job: JobContext, input: dict[str, int]) -> int:
        """Double n.

        And more.
        """
        return 2 * input["n"]

    assert await double(None, {"n": 4}) == 8  # type: ignore[arg-type]
    assert double.info().description == "Double n."


def no_arguments() -> None: ...
def keyword_only(*, job: JobContext) -> None: ...
def three(job: JobContext, input: dict[str, Any], more: int) -> None: ...
def wrong_input(job: JobContext, input: list[int]) -> None: ...
def wrong_context(job: int) -> None: ...
def unreadable(job: JobContext, input: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821


def yielding(_job: JobContext) -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_arguments, "context as its first argument"),
        (keyword_only, "context as its first argument"),
        (three, "third argument 'more'"),
        (wrong_input, "pydantic model or a dict"),
        (wrong_context, "is a JobContext"),
        (unreadable, "Nowhere"),
        (yielding, "yields"),
        (Bill, "not a function"),
    ],
)
def test_a_wrong_signature_is_refused_by_name(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(TypeError, match=words) as refused:
        Jobs().handler("a")(function)
    assert function.__name__ in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"job_type": "Upper"},
        {"queue": "a b"},
        {"timeout": 0},
        {"timeout": timedelta(days=8)},
        {"max_retries": 101},
        {"priority": 0},
        {"run_in": "moon"},
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Jobs().handler(**{"job_type": "a"} | options)(plain)


def test_functions_run_only_where_they_can() -> None:
    with pytest.raises(TypeError, match="block the loop"):
        Jobs().handler("a", run_in="loop")(blocking)
    with pytest.raises(TypeError, match="is async"):
        Jobs().handler("a", run_in="thread")(plain)

    def local(job: JobContext) -> None: ...

    with pytest.raises(TypeError, match="imported by name"):
        Jobs().handler("a", run_in="process")(local)


def test_a_job_type_has_one_handler() -> None:
    jobs, more = Jobs(), Jobs()
    first = jobs.handler("a")(plain)
    with pytest.raises(ValueError, match="has a handler already"):
        jobs.handler("a")(alone)
    more.include(jobs)
    assert more.get("a") is first
    assert len(more) == 1


async def test_enqueueing_without_a_binding_says_what_to_do() -> None:
    handler = Jobs().handler("a")(alone)
    with pytest.raises(RuntimeError, match=r"wastewise_jobs\.connected"):
        await handler.enqueue()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"input": {"total": "x"}}, "total"),
        ({"input": None}, "total"),
        ({"input": 5}, "input"),
        ({"input": Bill(total=float("nan"))}, "total"),
        ({"input": Bill(total=1, note="\0")}, "note"),
        ({"input": Bill(total=1, note="x" * 300_000)}, "input"),
        ({"input": Bill(total=1), "run_at": datetime(2026, 1, 1)}, "run_at"),  # noqa: DTZ001
    ],
)
async def test_a_wrong_input_is_refused_with_its_field(
    arguments: dict[str, Any], field: str
) -> None:
    handler = Jobs().handler("a")(plain)
    with pytest.raises(InvalidInputError) as refused:
        await handler.enqueue(**arguments)
    assert refused.value.field == field


def test_the_package_offers_what_handler_authors_need() -> None:
    for name in wastewise_jobs.__all__:
        assert getattr(wastewise_jobs, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = wastewise_jobs.nothing
