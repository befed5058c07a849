"""What a scenario found: figures with their limits, and violations."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; without limits it is there to be read."""

    name: str
    value: float
    unit: str
    at_most: float | None
    at_least: float | None

    @property
    def holds(self) -> bool:
        """Whether it is within its limits; what could not be measured is not."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def __str__(self) -> str:
        limits = [
            f"{sign} {_number(limit)}"
            for sign, limit in (("<=", self.at_most), (">=", self.at_least))
            if limit is not None
        ]
        verdict = ("" if not limits else "ok" if self.holds else "MISSED").ljust(7)
        value = f"{_number(self.value)} {self.unit}".strip()
        return f"  {verdict}{self.name:<58} {value:>16}  {' '.join(limits)}".rstrip()


@dataclass(slots=True)
class Report:
    """Of one scenario; `method` says in a sentence how the figures came about."""

    scenario: str
    seed: str
    profile: str
    method: str = ""
    figures: list[Figure] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    # Where the processes' logs were left.
    logs: str = ""

    def figure(
        self,
        name: str,
        value: float,
        unit: str = "",
        *,
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Note a figure; one outside its limits makes the run red."""
        self.figures.append(Figure(name, value, unit, at_most, at_least))

    def broken(self, texts: Iterable[object]) -> None:
        """Note violations."""
        self.violations += [str(text) for text in texts]

    @property
    def problems(self) -> list[str]:
        """Everything that makes the run red."""
        missed = [f"missed: {str(f).strip()}" for f in self.figures if not f.holds]
        return self.violations + missed

    def __str__(self) -> str:
        lines = [f"{self.scenario}  (profile {self.profile}, seed {self.seed})", f"  {self.method}"]
        lines += [str(figure) for figure in self.figures]
        lines += [f"  VIOLATION {text}" for text in self.violations]
        lines.append(
            f"  {'RED' if self.problems else 'green'}{self.logs and f'; logs in {self.logs}'}"
        )
        return "\n".join(lines)


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which that part lies; of nothing it is unknown."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def _number(value: float) -> str:
    if math.isnan(value):
        return "not measured"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"
