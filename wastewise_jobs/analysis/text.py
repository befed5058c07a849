"""Makes text from files safe to store, to print and to write into a workbook."""

import re

LONGEST_TEXT = 1000
# Controls, lone surrogates, non-characters: PostgreSQL refuses some of them, XML the rest.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Marks without a width that web pages and mail leave in what is copied from them.
_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """The text on one line, trimmed, without control characters, at most 1000 characters long."""
    if text.isascii() and text.isprintable() and "  " not in text:
        text = text.strip()
    else:
        text = _SPACES.sub(" ", _UNSAFE.sub(" ", _UNSEEN.sub("", text))).strip()
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def excerpt(value: object) -> str:
    """A cell as an error message quotes it."""
    whole = isinstance(value, float) and value.is_integer()
    text = clean(f"{value:.0f}" if whole else str(value)[:200])
    return f'"{text}"' if len(text) <= 40 else f'"{text[:39]}…"'  # noqa: PLR2004  # a line's worth
