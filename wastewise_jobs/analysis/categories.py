"""Says what a charge is for, from its service type and description.

The first category that fits wins, so "contamination fee" is contamination and "fuel surcharge,
compactor haul" a surcharge. A fee that is named after the service itself ("haul fee", "tipping
fee", "rental fee") is that service.
"""

import re
from functools import lru_cache

from wastewise_jobs.analysis.model import Category

_NAMED_AFTER_SERVICE = re.compile(
    r"\b(haul(?:ing)?|pick[- ]?ups?|pull|swap|collection|disposal|tip(?:ping)?|landfill"
    r"|dump(?:ing)?|rental|rent|lease) (?:fee|charge)s?\b"
)
_STREAM = (
    r"(?:trash|waste|msw|garbage|refuse|rubbish|recycling|compactor|dumpster"
    r"|front[- ]?load|roll[- ]?off)"
)

_SIGNS: tuple[tuple[Category, tuple[str, ...]], ...] = (
    (
        Category.CONTAMINATION,
        (r"contaminat", r"\bcontam\b", r"\bnon[- ]?recyclables?\b", r"\bprohibited\b"),
    ),
    (
        Category.BULK,
        (
            r"\bbulk(?:y|ies)?\b",
            r"\blarge items?\b",
            r"\bfurniture\b",
            r"\bmattress",
            r"\bappliances?\b",
            r"\bwhite goods\b",
        ),
    ),
    (
        Category.OVERAGE,
        (
            r"\bover(?:age|fill|flow|load|weight)(?:s|ed|ing)?\b",
            r"\bexcess\b",
            r"\bextra (?:yards?|yardage|bags?|waste|trash|volume)\b",
        ),
    ),
    (
        Category.FEES,
        (
            r"\bfees?\b",
            r"surcharge",
            r"\bfuel\b",
            r"\benviro(?:nmental)?\b",
            r"\benergy\b",
            r"\badmin(?:istrative|istration)?\b",
            r"\bregulatory\b",
            r"\brecovery\b",
            r"\b(?:late|finance) charge",
            r"\btax(?:es)?\b",
        ),
    ),
    (
        Category.RENTAL,
        (
            r"\brent(?:al|als|ed)?\b",
            r"\bleas(?:e|es|ed|ing)\b",
            r"\bcontainer (?:use|usage|charge)\b",
        ),
    ),
    (
        Category.DISPOSAL,
        (
            r"\bdispos(?:al|e|ed)\b",
            r"\bdump(?:ing|s|ed)?\b",
            r"\btip(?:ping)?\b",
            r"\blandfill\b",
            r"\btonnage\b",
            r"\bper ton\b",
            r"\btransfer station\b",
            r"\bprocessing\b",
        ),
    ),
    (
        Category.HAULING,
        (
            r"\bhaul",
            r"\bpick[- ]?ups?\b",
            r"\bpulls?\b",
            r"\bcollections?\b",
            r"\bswap",
            r"\bexchange\b",
            r"\bempty(?:ing)?\b",
            r"\btrip charge\b",
            r"\bremoval\b",
            r"\b\d+ ?x ?(?:per |/|a )?w(?:ee)?k",
            rf"\b{_STREAM} (?:service|svc)s?\b",
            rf"^(?:solid )?{_STREAM}$",
            r"^(?:base |monthly )?service$",
        ),
    ),
)
_PATTERNS = tuple((category, re.compile("|".join(signs))) for category, signs in _SIGNS)


@lru_cache(maxsize=4096)
def category_of(service_type: str, description: str) -> Category:
    """The category of a charge line; `OTHER` when nothing fits."""
    texts = [
        _NAMED_AFTER_SERVICE.sub(r"\1", text.casefold()) for text in (service_type, description)
    ]
    for category, pattern in _PATTERNS:
        if any(pattern.search(text) for text in texts):
            return category
    return Category.OTHER
