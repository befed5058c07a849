"""What cannot be trusted, so that nothing is judged or recommended by it.

Files that could be read in more than one way or do not add up to their own totals, and figures
that no property has.
"""

from collections.abc import Iterable, Mapping, Sequence

from wastewise_jobs.analysis.extraction import Extraction
from wastewise_jobs.analysis.figures import Figure
from wastewise_jobs.analysis.model import HAUL_LOG, INVOICE, Notice
from wastewise_jobs.analysis.recommendations import (
    DO_NOT_RECOMMEND,
    Assessment,
    Omission,
    Recommendation,
    implausible_reason,
)

# What a person can decide, and has not: see `Choices`.
_OPEN = {
    "date_order_ambiguous",
    "decimal_mark_ambiguous",
    "numbers_misread_before",
    "several_locations",
    "foreign_currency",
    "ticket_twice",
    # What the file itself contradicts.
    "total_mismatch",
    "balance_mismatch",
    "repeated_total",
    "total_as_line",
    "rows_again",
    "perhaps_no_charge",
    "period_reaches_out",
    "table_beside",
    "sheet_sums_another",
    "credits_like_payments",
    "debits_are_charges",
    "positive_credit",
}
_WORDS = {INVOICE: "invoices", HAUL_LOG: "haul log"}


def doubtful(extraction: Extraction) -> frozenset[str]:
    """The file types, `invoice` or `haul_log`, with a file of two readings or contradictions."""
    types = {(file.file, file.sheet): file.file_type for file in extraction.files}
    return frozenset(
        types[rows.file, rows.sheet]
        for warning in extraction.warnings
        if warning.code in _OPEN
        for rows in warning.rows
        if (rows.file, rows.sheet) in types
    )


def no_verdict(doubts: frozenset[str]) -> list[Notice]:
    """Says that figures go without a verdict, and why."""
    return [
        Notice(
            "no_verdict",
            f"The {_WORDS[file_type]} can be read in more than one way or do not add up, as other "
            "warnings say: until that is decided, the figures get no verdict and nothing is "
            "recommended.",
        )
        for file_type in (INVOICE, HAUL_LOG)
        if file_type in doubts
    ]


def trusted(
    assessments: Iterable[Assessment], figures: Sequence[Figure], doubts: frozenset[str]
) -> list[Assessment]:
    """The assessments; what is recommended by figures that cannot be trusted is left out."""
    implausible = {figure.code: figure for figure in figures if not figure.is_plausible}
    return [
        Omission(entry.code, entry.title, reason)
        if isinstance(entry, Recommendation) and (reason := _why_not(entry, implausible, doubts))
        else entry
        for entry in assessments
    ]


def _why_not(
    entry: Recommendation, implausible: Mapping[str, Figure], doubts: frozenset[str]
) -> str:
    if entry.verdict == DO_NOT_RECOMMEND:
        return ""
    hauled = entry.code == "compactor_monitoring"
    charged = not hauled or any(value.code == "hauling_charges" for value in entry.inputs)
    for file_type, counts in ((HAUL_LOG, hauled), (INVOICE, charged)):
        if counts and file_type in doubts:
            return f"The {_WORDS[file_type]} can be read in more than one way, as warnings say."
    figure = implausible.get("tons_per_haul" if hauled else "cost_per_door")
    return implausible_reason(figure) if figure else ""
