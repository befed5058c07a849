"""What the analysis raises on purpose.

    AnalysisError
    ├── UnreadableFilesError   a file, sheet, row or cell cannot be read; lists where and why
    ├── UnknownLocationError   a location was chosen that no file names; lists those there are
    ├── NoDataError            the files could be read and hold nothing to analyse
    └── InvalidPropertyError   a fact about the property is missing or out of range

All of them cross a process pool, so each can be pickled with everything it says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wastewise_jobs.errors import WastewiseJobsError

LISTED_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """One place that cannot be read. `row` is counted from 1, as a spreadsheet shows it."""

    problem: str
    file: str | None = None
    sheet: str | None = None
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        """`hauls.xlsx, sheet "2024", row 7, column "Tons": "abc" is not a number`."""
        where = [self.file] if self.file is not None else []
        where += [f'sheet "{self.sheet}"'] if self.sheet is not None else []
        where += [f"row {self.row}"] if self.row is not None else []
        where += [f'column "{self.column}"'] if self.column is not None else []
        return f"{', '.join(where)}: {self.problem}" if where else self.problem

    def to_json(self) -> dict[str, Any]:
        """The problem as a JSON object; `text` is the sentence for people."""
        return {
            "file": self.file,
            "sheet": self.sheet,
            "row": self.row,
            "column": self.column,
            "problem": self.problem,
            "text": str(self),
        }


class AnalysisError(WastewiseJobsError):
    """The root: the input cannot be analysed, and the same input never will be.

    `problems` holds the first fifty, `problem_count` says how many there are.
    """

    code = "ANALYSIS_ERROR"

    def __init__(self, problems: Sequence[Problem], problem_count: int | None = None) -> None:
        self.problems = tuple(problems[:LISTED_PROBLEMS])
        self.problem_count = len(problems) if problem_count is None else problem_count
        first = str(self.problems[0]) if self.problems else "the input cannot be analysed"
        more = self.problem_count - 1
        self.message = f"{first} (and {more} more)" if more > 0 else first
        super().__init__(self.message)

    @property
    def details(self) -> dict[str, Any]:
        """The problems as a JSON object."""
        return {
            "problems": [problem.to_json() for problem in self.problems],
            "problemCount": self.problem_count,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self.problem_count)


class UnreadableFilesError(AnalysisError):
    """A file, sheet, row or cell cannot be read; the problems say which."""

    code = "UNREADABLE_FILE"


class UnknownLocationError(AnalysisError):
    """A location was chosen that no file names; the problem lists those that are named."""

    code = "UNKNOWN_LOCATION"


class NoDataError(AnalysisError):
    """Every file could be read, and together they hold nothing to analyse."""

    code = "NO_DATA"


class InvalidPropertyError(AnalysisError):
    """A fact about the property is missing or out of range; `column` names the field."""

    code = "INVALID_PROPERTY"
