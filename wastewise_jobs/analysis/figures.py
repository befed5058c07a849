"""A figure: a number that says what it is made of, how it compares and which rows it came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from wastewise_jobs.analysis.display import amount, decimal_of, places_of, shown
from wastewise_jobs.analysis.model import JsonObject, Rows

Exact = Decimal | Fraction | int


def exact(value: Exact) -> Decimal:
    """The value as a Decimal of at most 34 digits."""
    return value if isinstance(value, Decimal) else decimal_of(Fraction(value))


@dataclass(frozen=True, slots=True)
class Quantity:
    """A named number that goes into a calculation or comes out of one of its steps.

    `formula` is how it was calculated, in words; empty for what was given.
    """

    code: str
    label: str
    value: Decimal
    unit: str
    formula: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The number with its unit."""
        return shown(self.value, self.unit)

    def to_json(self) -> JsonObject:
        """The quantity as a JSON object: `value` rounded for display, `exact` as a string."""
        return {
            "code": self.code,
            "label": self.label,
            "value": amount(self.value, places_of(self.unit)),
            "exact": str(self.value),
            "unit": self.unit,
            "display": self.text,
            "formula": self.formula,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Quantity":
        return cls(
            code=stored["code"],
            label=stored["label"],
            value=Decimal(stored["exact"]),
            unit=stored["unit"],
            formula=stored["formula"],
            note=stored["note"],
        )


def quantity(
    code: str, label: str, value: Exact, unit: str, formula: str = "", note: str = ""
) -> Quantity:
    """A quantity from an exact number."""
    return Quantity(code, label, exact(value), unit, formula, note)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a figure is held against: a range that is normal and one that is plausible at all."""

    text: str
    low: Decimal | None = None
    high: Decimal | None = None
    plausible_low: Decimal | None = None
    plausible_high: Decimal | None = None

    def to_json(self) -> JsonObject:
        """The benchmark as a JSON object; bounds as exact strings."""
        return {
            "text": self.text,
            "low": _text(self.low),
            "high": _text(self.high),
            "plausibleLow": _text(self.plausible_low),
            "plausibleHigh": _text(self.plausible_high),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Benchmark":
        bounds = ("low", "high", "plausibleLow", "plausibleHigh")
        return cls(stored["text"], *(_decimal(stored[bound]) for bound in bounds))

    def is_plausible(self, value: Fraction) -> bool:
        """Whether the value is inside the plausible range, its ends included."""
        above = self.plausible_low is None or value >= Fraction(self.plausible_low)
        below = self.plausible_high is None or value <= Fraction(self.plausible_high)
        return above and below


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    `band` is the benchmark's word for it (good, typical, high, excellent, ...), `verdict` the
    sentence for people; both empty where there is no benchmark, or none that can be trusted.
    """

    result: Quantity
    inputs: tuple[Quantity, ...]
    rows: tuple[Rows, ...]
    benchmark: Benchmark | None = None
    band: str = ""
    verdict: str = ""

    @property
    def code(self) -> str:
        """The figure's stable name."""
        return self.result.code

    @property
    def value(self) -> Decimal:
        """The exact value."""
        return self.result.value

    @property
    def is_plausible(self) -> bool:
        """Whether the value is one that a property can have."""
        return self.benchmark is None or self.benchmark.is_plausible(Fraction(self.value))

    def to_json(self) -> JsonObject:
        """The figure as one JSON object."""
        return {
            **self.result.to_json(),
            "inputs": [entry.to_json() for entry in self.inputs],
            "rows": [rows.to_json() for rows in self.rows],
            "benchmark": self.benchmark and self.benchmark.to_json(),
            "band": self.band,
            "verdict": self.verdict,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Figure":
        return cls(
            result=Quantity.from_json(stored),
            inputs=tuple(Quantity.from_json(entry) for entry in stored["inputs"]),
            rows=tuple(Rows.from_json(rows) for rows in stored["rows"]),
            benchmark=stored["benchmark"] and Benchmark.from_json(stored["benchmark"]),
            band=stored["band"],
            verdict=stored["verdict"],
        )
