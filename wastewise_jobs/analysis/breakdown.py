"""Spend by category and everything by month: what the tables and charts of the reports show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from wastewise_jobs.analysis.display import amount
from wastewise_jobs.analysis.extraction import Extraction, month_of_line
from wastewise_jobs.analysis.figures import exact
from wastewise_jobs.analysis.measures import Spend
from wastewise_jobs.analysis.model import Category, Haul, InvoiceLine, JsonObject, Rows, rows_of


@dataclass(frozen=True, slots=True)
class CategoryTotal:
    """Spend of one category and its share of all spend, in percent."""

    category: Category
    total: Decimal
    lines: int
    share: Decimal | None
    rows: tuple[Rows, ...]

    def to_json(self) -> JsonObject:
        """The total as a JSON object."""
        return {
            "category": self.category.value,
            "label": self.category.label,
            "total": amount(self.total),
            "exact": str(self.total),
            "lines": self.lines,
            "sharePercent": None if self.share is None else amount(self.share, 4),
            "shareExact": None if self.share is None else str(self.share),
            "rows": [rows.to_json() for rows in self.rows],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "CategoryTotal":
        share = stored["shareExact"]
        return cls(
            Category(stored["category"]),
            Decimal(stored["exact"]),
            stored["lines"],
            None if share is None else Decimal(share),
            tuple(Rows.from_json(rows) for rows in stored["rows"]),
        )


@dataclass(frozen=True, slots=True)
class Month:
    """One calendar month: charges whose period starts in it, hauls made in it."""

    month: str
    days_covered: int
    days: int
    spend: Decimal
    categories: tuple[tuple[Category, Decimal], ...]
    hauls: int
    tons: Decimal
    rows: tuple[Rows, ...]

    @property
    def tons_per_haul(self) -> Decimal | None:
        """Mean weight of the month's hauls."""
        return exact(Fraction(self.tons) / self.hauls) if self.hauls else None

    def to_json(self) -> JsonObject:
        """The month as a JSON object."""
        mean = self.tons_per_haul
        return {
            "month": self.month,
            "daysCovered": self.days_covered,
            "days": self.days,
            "spend": amount(self.spend),
            "spendExact": str(self.spend),
            "categories": {category.value: str(total) for category, total in self.categories},
            "hauls": self.hauls,
            "tons": amount(self.tons, 4),
            "tonsExact": str(self.tons),
            "tonsPerHaul": None if mean is None else amount(mean, 4),
            "rows": [rows.to_json() for rows in self.rows],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Month":
        return cls(
            month=stored["month"],
            days_covered=stored["daysCovered"],
            days=stored["days"],
            spend=Decimal(stored["spendExact"]),
            categories=tuple(
                (category, Decimal(stored["categories"][category]))
                for category in Category
                if category in stored["categories"]
            ),
            hauls=stored["hauls"],
            tons=Decimal(stored["tonsExact"]),
            rows=tuple(Rows.from_json(rows) for rows in stored["rows"]),
        )


def categories_of(extraction: Extraction) -> tuple[CategoryTotal, ...]:
    """The categories that have a line, in their order."""
    totals = extraction.by_category()
    spend = sum((total.total for total in totals), Decimal(0))
    return tuple(
        CategoryTotal(
            Category(entry.name),
            entry.total,
            entry.lines,
            exact(Fraction(entry.total) / Fraction(spend) * 100) if spend else None,
            entry.rows,
        )
        for entry in totals
    )


def months_of(extraction: Extraction, spend: Spend | None) -> tuple[Month, ...]:
    """Every month that a charge covers or a haul was made in, oldest first."""
    shares = {day.isoformat()[:7]: share for day, share in spend.shares.items()} if spend else {}
    lines: dict[str, list[InvoiceLine]] = {name: [] for name in shares}
    for line in extraction.invoice_lines:
        lines[month_of_line(line)].append(line)
    hauls: dict[str, list[Haul]] = {}
    for haul in extraction.hauls:
        hauls.setdefault(haul.day.isoformat()[:7], []).append(haul)
    return tuple(
        _month(name, shares.get(name, (0, 0)), lines.get(name, []), hauls.get(name, []))
        for name in sorted(lines.keys() | hauls.keys())
    )


def _month(
    name: str, share: tuple[int, int], lines: Sequence[InvoiceLine], hauls: Sequence[Haul]
) -> Month:
    totals: dict[Category, Decimal] = {}
    for line in lines:
        totals[line.category] = totals.get(line.category, Decimal(0)) + line.amount
    return Month(
        month=name,
        days_covered=share[0],
        days=share[1] or _length(name),
        spend=sum(totals.values(), Decimal(0)),
        categories=tuple(
            (category, totals[category]) for category in Category if category in totals
        ),
        hauls=len(hauls),
        tons=sum((haul.tons for haul in hauls), Decimal(0)),
        rows=rows_of([*(line.place for line in lines), *(haul.place for haul in hauls)]),
    )


def _length(month: str) -> int:
    first = date.fromisoformat(f"{month}-01")
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return (following - first).days
