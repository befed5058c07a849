"""A sheet as rows of cells, and the notebook in which readers write what they noticed."""

from collections.abc import Sequence
from dataclasses import dataclass

from wastewise_jobs.analysis.errors import LISTED_PROBLEMS, Problem
from wastewise_jobs.analysis.intake.cells import Cell
from wastewise_jobs.analysis.model import Notice, Rows, ranges

MOST_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Marks:
    """What a sheet says beside its values: rows count from 1, columns from 0.

    Folded rows are hidden by a collapsed group, hidden ones by a filter or by hand. `uncalculated`
    are cells whose formula has no stored value. With `date1904` dates count from 1904.
    """

    hidden_rows: frozenset[int] = frozenset()
    folded_rows: frozenset[int] = frozenset()
    hidden_columns: frozenset[int] = frozenset()
    uncalculated: frozenset[tuple[int, int]] = frozenset()
    date1904: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One sheet: `rows[0]` is row 1. `sheet` is None for a CSV file, which has a separator."""

    file: str
    sheet: str | None
    rows: Sequence[Sequence[Cell]]
    marks: Marks = Marks()
    separator: str | None = None


class Notebook:
    """Collects problems and warnings; the same warning about many rows becomes one."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.problem_count = 0
        self._notices: dict[
            tuple[str, str, str | None], dict[tuple[str, str | None], list[int]]
        ] = {}

    def problem(self, problem: Problem) -> None:
        """Note a place that cannot be read; beyond the first fifty they are only counted."""
        self.problem_count += 1
        if len(self.problems) < LISTED_PROBLEMS:
            self.problems.append(problem)

    def warn(
        self,
        code: str,
        message: str,
        *,
        table: Table | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        """Note something odd but usable."""
        sheets = self._notices.setdefault((code, message, column), {})
        if table is not None:
            rows = sheets.setdefault((table.file, table.sheet), [])
            if row is not None:
                rows.append(row)

    def notices(self) -> tuple[Notice, ...]:
        """What was noted, in the order of its first appearance."""
        return tuple(
            Notice(
                code,
                message,
                tuple(Rows(file, sheet, ranges(rows)) for (file, sheet), rows in sheets.items()),
                column,
            )
            for (code, message, column), sheets in self._notices.items()
        )
