"""A workbook: its sheets in order, and what they share."""

from collections.abc import Iterator
from dataclasses import dataclass

from wastewise_jobs.analysis.intake.xlsx.archive import Archive, Relationship, local
from wastewise_jobs.analysis.intake.xlsx.budget import Budget
from wastewise_jobs.analysis.intake.xlsx.sheet import SheetReader
from wastewise_jobs.analysis.intake.xlsx.strings import SharedStrings
from wastewise_jobs.analysis.intake.xlsx.styles import Styles


@dataclass(frozen=True, slots=True)
class Sheet:
    """One worksheet of the workbook; charts and macros have none."""

    title: str
    path: str
    is_hidden: bool


class Book:
    """An opened workbook. Raises `UnreadableFilesError` for what is none or is over the budget."""

    def __init__(self, content: bytes, budget: Budget) -> None:
        self._archive = Archive(content, budget)
        self._parts: dict[str, Relationship] = {}
        self._listed: list[tuple[str, str, bool]] = []
        self.date1904 = False
        path = self._workbook_path()
        self._archive.scan("[Content_Types].xml", lambda *_: None)
        self._parts = self._archive.relationships(path)
        self._archive.scan(path, self._start)
        budget.check_sheets(len(self._listed))
        self._strings = SharedStrings(self._archive, self._part("sharedStrings"))

    def sheets(self) -> Iterator[Sheet]:
        """The worksheets in the order of their tabs."""
        for title, part, is_hidden in self._listed:
            relationship = self._parts.get(part)
            if relationship is None:
                problem = f'is not a readable workbook: sheet "{title}" has no part'
                raise self._archive.budget.refusal(problem)
            if relationship.kind == "worksheet":
                yield Sheet(title, relationship.path, is_hidden)

    def read(self, sheet: Sheet) -> SheetReader:
        """The whole sheet, numbers that are shown as dates as dates."""
        reader = SheetReader(self._archive, sheet.title, self._strings, self._styles)
        reader.read(sheet.path)
        return reader

    def read_first(self, sheet: Sheet, rows: int) -> SheetReader:
        """The first rows of the sheet, dates as numbers."""
        reader = SheetReader(self._archive, sheet.title, self._strings, None, most_rows=rows)
        reader.read(sheet.path)
        return reader

    def read_styles(self) -> None:
        """Learn which formats are dates; to be done before a sheet is read whole."""
        self._styles = Styles(self._archive, self._part("styles"), date1904=self.date1904)

    def _workbook_path(self) -> str:
        if "_rels/.rels" in self._archive:
            for relationship in self._archive.relationships("").values():
                if relationship.kind == "officeDocument" and relationship.path.endswith(".xml"):
                    return relationship.path
        if "xl/workbook.xml" in self._archive:
            return "xl/workbook.xml"
        raise self._archive.budget.refusal("is not an XLSX workbook; save it as .xlsx")

    def _part(self, kind: str) -> str | None:
        paths = (part.path for part in self._parts.values() if part.kind == kind)
        return next((path for path in paths if path in self._archive), None)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = local(name)
        if tag == "sheet":
            part = next((value for key, value in attributes.items() if local(key) == "id"), "")
            is_hidden = attributes.get("state", "visible") != "visible"
            self._listed.append((attributes.get("name", ""), part, is_hidden))
        elif tag == "workbookPr":
            self.date1904 = attributes.get("date1904") in {"1", "true"}
