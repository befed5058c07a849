"""What the files hold: typed rows, what was odd, what was left out."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from wastewise_jobs.analysis.display import amount
from wastewise_jobs.analysis.model import (
    INVOICE,
    Category,
    FileSummary,
    Haul,
    InvoiceLine,
    JsonObject,
    Notice,
    Rows,
    rows_of,
)


@dataclass(frozen=True, slots=True)
class Total:
    """Charges added up under one name, and the rows that they came from."""

    name: str
    total: Decimal
    lines: int
    rows: tuple[Rows, ...]

    def to_json(self, name: str) -> JsonObject:
        """The total as a JSON object that calls its name `name`."""
        return {
            name: self.name,
            "total": amount(self.total),
            "exact": format(self.total, "f"),
            "lines": self.lines,
            "rows": [rows.to_json() for rows in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Extraction:
    """Charge lines and hauls in the order of the files, with what was noticed about them."""

    invoice_lines: tuple[InvoiceLine, ...]
    hauls: tuple[Haul, ...]
    warnings: tuple[Notice, ...] = ()
    files: tuple[FileSummary, ...] = ()

    def rows(self) -> list[JsonObject]:
        """Every row as a JSON object for storage: the charge lines, then the hauls."""
        lines = [line.to_row() for line in self.invoice_lines]
        return lines + [haul.to_row() for haul in self.hauls]

    @classmethod
    def from_rows(
        cls, rows: Iterable[Mapping[str, Any]], stored: Mapping[str, Any] | None = None
    ) -> "Extraction":
        """The extraction whose `rows()` these are, in any order of types.

        `stored`, a result of `to_json`, brings the warnings and the files' summaries back.
        """
        lines: list[InvoiceLine] = []
        hauls: list[Haul] = []
        for row in rows:
            if row["type"] == INVOICE:
                lines.append(InvoiceLine.from_row(row))
            else:
                hauls.append(Haul.from_row(row))
        kept = stored or {"warnings": [], "files": []}
        return cls(
            tuple(lines),
            tuple(hauls),
            tuple(Notice.from_json(warning) for warning in kept["warnings"]),
            tuple(FileSummary.from_json(file) for file in kept["files"]),
        )

    def by_category(self) -> tuple[Total, ...]:
        """Spend by category, in the order of the categories; those without a line are absent."""
        totals = {total.name: total for total in self._totals(lambda line: line.category.value)}
        return tuple(totals[category] for category in Category if category in totals)

    def by_month(self) -> tuple[Total, ...]:
        """Spend by the month in which the service period starts (`2024-01`), oldest first."""
        return tuple(sorted(self._totals(month_of_line), key=lambda total: total.name))

    def _totals(self, name_of: Callable[[InvoiceLine], str]) -> list[Total]:
        groups: dict[str, list[InvoiceLine]] = defaultdict(list)
        for line in self.invoice_lines:
            groups[name_of(line)].append(line)
        return [
            Total(
                name,
                sum((line.amount for line in lines), Decimal(0)),
                len(lines),
                rows_of(line.place for line in lines),
            )
            for name, lines in groups.items()
        ]

    def to_json(self) -> JsonObject:
        """Counts, totals by category and by month, warnings, files: all but the rows."""
        spend = sum((line.amount for line in self.invoice_lines), Decimal(0))
        document = {
            "invoiceLines": len(self.invoice_lines),
            "hauls": len(self.hauls),
            "totalSpend": amount(spend),
            "totalSpendExact": format(spend, "f"),
            "totalTons": amount(sum((haul.tons for haul in self.hauls), Decimal(0))),
            "byCategory": [total.to_json("category") for total in self.by_category()],
            "byMonth": [total.to_json("month") for total in self.by_month()],
            "warnings": [warning.to_json() for warning in self.warnings],
            "files": [file.to_json() for file in self.files],
        }
        return bounded(document)


def month_of_line(line: InvoiceLine) -> str:
    """The month that a line is shown under: where its service period starts."""
    return line.covers[0].isoformat()[:7]


MOST_BYTES = 600_000
_SHORTENED_TO = (4_000, 1_000, 200, 40)


def bounded(document: JsonObject) -> JsonObject:
    """The document with its longest row lists cut until it is well below the 1 MiB of a result.

    Only tens of thousands of scattered rows come so far; each stored row still says where it is
    from.
    """
    import json

    for longest in _SHORTENED_TO:
        if len(json.dumps(document, default=str)) <= MOST_BYTES:
            break
        document = _shortened(document, longest)
    return document


def _shortened(value: Any, longest: int) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {
            key: f"{inner[:longest].rpartition(',')[0]}, …"
            if key in {"rows", "text"} and isinstance(inner, str) and len(inner) > longest
            else _shortened(inner, longest)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_shortened(inner, longest) for inner in value]
    return value
