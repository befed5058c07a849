"""The sums that every figure and recommendation stands on, each made once and exactly.

`Spend` is what the invoices say, `HaulLog` what the haul log says; either may be missing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

from wastewise_jobs.analysis import periods
from wastewise_jobs.analysis.benchmarks import DAYS_PER_YEAR
from wastewise_jobs.analysis.model import Category, Haul, InvoiceLine, Rows, rows_of


class Spend:
    """Charge lines and the months that they cover. Credits count, so a total may be negative."""

    def __init__(self, lines: Sequence[InvoiceLine]) -> None:
        if not lines:
            raise ValueError("no charge lines")
        self.lines = tuple(lines)
        self.total = _total(lines)
        self.shares = periods.month_shares(line.covers for line in lines)
        self.months = periods.months_in(line.covers for line in lines)

    @property
    def monthly(self) -> Fraction:
        """Total spend / months."""
        return Fraction(self.total) / self.months

    @cached_property
    def rows(self) -> tuple[Rows, ...]:
        return rows_of(line.place for line in self.lines)

    @property
    def first_day(self) -> date:
        """The first day that any line covers."""
        return min(line.covers[0] for line in self.lines)

    @property
    def last_day(self) -> date:
        """The last day that any line covers."""
        return max(line.covers[1] for line in self.lines)

    def of(self, category: Category) -> tuple[InvoiceLine, ...]:
        """The lines of a category."""
        return tuple(line for line in self.lines if line.category is category)


def _total(lines: Iterable[InvoiceLine]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))


@dataclass(frozen=True, slots=True)
class HaulCost:
    """What one haul costs and where that number is from; `lines` is empty when it is assumed."""

    per_haul: Fraction
    charges: Decimal
    hauls: int
    lines: tuple[InvoiceLine, ...]

    @property
    def is_assumed(self) -> bool:
        """Whether no hauling charge said it."""
        return not self.lines


ASSUMED_COST_PER_HAUL = Decimal(850)


class HaulLog:
    """Hauls and the days that they cover."""

    def __init__(self, hauls: Sequence[Haul]) -> None:
        if not hauls:
            raise ValueError("no hauls")
        self.hauls = tuple(hauls)
        self.tons = sum((haul.tons for haul in hauls), Decimal(0))
        self.intervals = periods.intervals([haul.day for haul in hauls])
        self.days_covered = periods.days_covered([haul.day for haul in hauls])
        self.first_day = min(haul.day for haul in hauls)
        self.last_day = max(haul.day for haul in hauls)

    @property
    def count(self) -> int:
        return len(self.hauls)

    @property
    def tons_per_haul(self) -> Fraction:
        """Tons / hauls."""
        return Fraction(self.tons) / self.count

    @cached_property
    def rows(self) -> tuple[Rows, ...]:
        return rows_of(haul.place for haul in self.hauls)

    @property
    def annual_hauls(self) -> Fraction | None:
        """Hauls x 365 / days covered; None when the days cannot be told."""
        return self.days_covered and Fraction(self.count * DAYS_PER_YEAR) / self.days_covered

    @property
    def annual_tons(self) -> Fraction | None:
        """Tons x 365 / days covered; None when the days cannot be told."""
        return self.days_covered and Fraction(self.tons) * DAYS_PER_YEAR / self.days_covered

    def cost_per_haul(self, spend: Spend | None) -> HaulCost:
        """Hauling charges over the same period / the hauls in it, else the assumed $850.

        Counted are the hauling lines whose period starts within the covered days, and the hauls
        that fall within the periods of those lines: a log that is longer than the invoices must
        not make its hauls cheaper.
        """
        lines = self._charged(spend) if spend is not None else ()
        spans = periods.union(line.covers for line in lines)
        hauls = sum(periods.is_within(haul.day, spans) for haul in self.hauls)
        charges = _total(lines)
        if not hauls or charges <= 0:
            return HaulCost(Fraction(ASSUMED_COST_PER_HAUL), Decimal(0), 0, ())
        return HaulCost(Fraction(charges) / hauls, charges, hauls, lines)

    def _charged(self, spend: Spend) -> tuple[InvoiceLine, ...]:
        if self.days_covered is None:
            return ()
        # A day belongs to the covered days if it begins within them.
        last = self.first_day + timedelta(days=-(-self.days_covered // 1) - 1)
        return tuple(
            line for line in spend.of(Category.HAULING) if self.first_day <= line.covers[0] <= last
        )
