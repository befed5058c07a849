"""Reads what a handler function wants from its signature, or says what is wrong with it."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from wastewise_jobs.handlers.context import JobContext
from wastewise_jobs.jobs.model import JsonObject


@dataclass(frozen=True, slots=True)
class Signature:
    """`wants_input` False: the function takes the context alone; `model` None: a plain dict."""

    is_async: bool
    wants_input: bool
    model: type[BaseModel] | None

    @property
    def schema(self) -> JsonObject:
        """The JSON Schema of the input."""
        return self.model.model_json_schema() if self.model else {"type": "object"}


def read_signature(function: Callable[..., object]) -> Signature:
    """Raises TypeError for a function that cannot be a handler."""
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        _refuse(function, "is not a function; other callables cannot be handlers")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        _refuse(function, "yields; a handler returns its result")
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters[2:]:
        if parameter.default is parameter.empty and parameter.kind not in {
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        }:
            _refuse(function, f"takes a third argument {parameter.name!r}; a handler takes two")
    by_position = [
        p for p in parameters[:2] if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    if not by_position or by_position[0] is not parameters[0]:
        _refuse(function, "must take the job's context as its first argument")
    hints = _hints(function)
    first = hints.get(by_position[0].name, JobContext)
    if first is not JobContext:
        _refuse(function, f"annotates its first argument {first!r}; it is a JobContext")
    if len(by_position) == 1:
        return Signature(inspect.iscoroutinefunction(function), wants_input=False, model=None)
    model = _model(function, hints.get(by_position[1].name, dict))
    return Signature(inspect.iscoroutinefunction(function), wants_input=True, model=model)


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        _refuse(function, f"has an annotation that cannot be read where it is defined: {error}")
    return hints


def _model(function: Callable[..., object], annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any annotation
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    if annotation not in {Any, dict} and typing.get_origin(annotation) not in {dict, Mapping}:
        _refuse(function, f"annotates its input {annotation!r}; it is a pydantic model or a dict")
    return None


def _refuse(function: object, problem: str) -> typing.NoReturn:
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(f"handler {name} {problem}")
