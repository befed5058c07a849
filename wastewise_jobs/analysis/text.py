"""Makes text from files safe to store, to print and to write into a workbook."""

import re

LONGEST_TEXT = 1000
# Controls, lone surrogates, non-characters: PostgreSQL refuses some of them, XML the rest.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """The text on one line, trimmed, without control characters, at most 1000 characters long."""
    if text.isascii() and text.isprintable() and "  " not in text:
        text = text.strip()
    else:
        text = _SPACES.sub(" ", _UNSAFE.sub(" ", text)).strip()
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def excerpt(value: object) -> str:
    """A cell as an error message quotes it."""
    text = clean(str(value)[:200])
    return f'"{text}"' if len(text) <= 40 else f'"{text[:39]}…"'  # noqa: PLR2004  # a line's worth
