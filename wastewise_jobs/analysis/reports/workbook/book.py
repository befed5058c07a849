"""The workbook that the sheets are written into: formats, names, and text that stays text.

What a file said is only ever written with `text`, never as a formula, a number or a link.
"""

import io
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import xlsxwriter
from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

# A spreadsheet that exports such a cell again must not turn it into a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "|", "%")
_EPOCH = date(1899, 12, 30)

FORMATS: dict[str, dict[str, object]] = {
    "title": {"bold": True, "font_size": 18, "font_color": "#17422d"},
    "faint": {"font_color": "#5c6b78"},
    "unit": {"font_color": "#5c6b78", "align": "left", "indent": 1, "valign": "top"},
    "top": {"valign": "top"},
    "faint_top": {"font_color": "#5c6b78", "valign": "top"},
    "wrapped": {"font_color": "#5c6b78", "text_wrap": True, "valign": "top"},
    "heading": {"bold": True, "font_size": 13, "font_color": "#17422d"},
    "header": {"bold": True, "bg_color": "#e4efe8", "bottom": 1, "valign": "top"},
    "header_unit": {"bold": True, "bg_color": "#e4efe8", "bottom": 1, "valign": "top",
                    "indent": 1},
    "header_right": {"bold": True, "bg_color": "#e4efe8", "bottom": 1, "valign": "top",
                     "align": "right"},
    "bold": {"bold": True, "valign": "top"},
    "text": {},
    "literal": {"quote_prefix": True},
    "date": {"num_format": "yyyy-mm-dd", "align": "left"},
    "month": {"num_format": "mmm yyyy", "align": "left"},
    "usd": {"num_format": "$#,##0.00;[Red]-$#,##0.00", "valign": "top"},
    "usd_bold": {"num_format": "$#,##0.00;[Red]-$#,##0.00", "bold": True, "top": 1},
    "usd_big": {"num_format": "$#,##0", "bold": True, "font_size": 22,
                "font_color": "#1f6f43", "align": "left"},
    "number": {"num_format": "#,##0.00", "valign": "top"},
    "number_bold": {"num_format": "#,##0.00", "bold": True, "top": 1},
    "whole": {"num_format": "#,##0", "valign": "top"},
    "whole_bold": {"num_format": "#,##0", "bold": True, "top": 1},
    "percent": {"num_format": '0.0"%"', "valign": "top"},
    "input": {"num_format": "#,##0.00", "bg_color": "#fff8e1", "border": 1,
              "border_color": "#e2c878"},
    "whole_input": {"num_format": "#,##0", "bg_color": "#fff8e1", "border": 1,
                    "border_color": "#e2c878"},
}  # fmt: skip


def format_of(unit: str) -> str:
    """The number format of a unit."""
    if unit.startswith("usd"):
        return "usd"
    if unit in {"units", "hauls", "containers", "count"}:
        return "whole"
    return "percent" if unit == "percent" else "number"


def unit_label(unit: str) -> str:
    """The unit as a column of its own says it; the format of a percentage has it already."""
    return "" if unit == "percent" else unit.replace("_", " ").replace("usd", "USD")


def serial(day: date) -> int:
    """The number that a spreadsheet keeps for a day."""
    return (day - _EPOCH).days


@dataclass(slots=True)
class Sheet:
    """A worksheet with the few ways to fill it that the reports need. Rows and columns from 0."""

    name: str
    worksheet: Any
    formats: dict[str, Any]

    def text(self, row: int, column: int, value: str, style: str = "text") -> None:
        """Text, whatever it begins with."""
        if not value:
            return
        if value.startswith(_FORMULA_STARTS) and style == "text":
            style = "literal"
        self.worksheet.write_string(row, column, value, self.formats[style])

    def header(self, row: int, names: Sequence[str], numbers: Container[int] = ()) -> None:
        """A row of column names; those in `numbers` stand over numbers, at the right."""
        for at, name in enumerate(names):
            style = "header_right" if at in numbers else "header"
            self.text(row, at, name or " ", "header_unit" if name == "Unit" else style)

    def height(self, row: int, points: float) -> None:
        """The height of a row: not every reader finds it for itself."""
        self.worksheet.set_row(row, points)

    def number(self, row: int, column: int, value: Decimal | int, style: str) -> None:
        """A number. The cell holds a double, as every number of a spreadsheet does."""
        self.worksheet.write_number(row, column, float(value), self.formats[style])

    def day(self, row: int, column: int, value: date | None, style: str = "date") -> None:
        """A date; nothing where there is none."""
        if value is not None:
            self.worksheet.write_number(row, column, serial(value), self.formats[style])

    def formula(
        self, row: int, column: int, formula: str, value: Decimal | int | str, style: str
    ) -> None:
        """A live formula with the value that it has now, for readers that do not calculate."""
        shown = value if isinstance(value, str) else float(value)
        self.worksheet.write_formula(row, column, formula, self.formats[style], shown)

    def cell(self, row: int, column: int) -> str:
        """The absolute address of a cell, for formulas of any sheet."""
        return f"{self.name}!{xl_rowcol_to_cell(row, column, row_abs=True, col_abs=True)}"

    def column(self, column: int, first: int, last: int) -> str:
        """The absolute address of a stretch of a column; never less than one cell."""
        letter = xl_col_to_name(column)
        return f"{self.name}!${letter}${first + 1}:${letter}${max(first, last) + 1}"

    def widths(self, *widths: float) -> None:
        """Column widths from the left."""
        for at, width in enumerate(widths):
            self.worksheet.set_column(at, at, width)

    def printed(self, *, landscape: bool = True, header_row: int | None = None) -> None:
        """One page wide; the header row stays in sight and is repeated on paper."""
        if landscape:
            self.worksheet.set_landscape()
        self.worksheet.fit_to_pages(1, 0)
        self.worksheet.hide_gridlines(2)
        if header_row is not None:
            self.worksheet.freeze_panes(header_row + 1, 0)
            self.worksheet.repeat_rows(header_row)


class _Worksheet(Worksheet):  # type: ignore[misc]  # xlsxwriter has no types
    """Takes formulas as they are.

    The original looks in each for thirty functions of later Excel versions, by as many regular
    expressions: most of the time of a workbook with thousands of lines. We use none of them.
    """

    def _prepare_formula(self, formula: str, expand_future_functions: bool = False) -> str:  # noqa: ARG002, FBT001, FBT002
        return formula.removeprefix("=")


class Book:
    """An XLSX workbook in memory, the same bytes for the same content."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self.workbook = xlsxwriter.Workbook(
            self._buffer,
            {
                "in_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        # The package knows no clock; without this the time of writing would be inside.
        self.workbook.set_properties({"created": datetime(2000, 1, 1, tzinfo=UTC)})
        self._formats = {
            name: self.workbook.add_format(dict(style)) for name, style in FORMATS.items()
        }

    def sheet(self, name: str) -> Sheet:
        """A new sheet behind the others."""
        made = self.workbook.add_worksheet(name, worksheet_class=_Worksheet)
        return Sheet(name, made, self._formats)

    def name(self, name: str, address: str) -> None:
        """A name for a cell, so that formulas read like the report."""
        self.workbook.define_name(name, f"={address}")

    def content(self) -> bytes:
        """The finished file; nothing can be added afterwards."""
        self.workbook.close()
        return self._buffer.getvalue()
