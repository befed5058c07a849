"""Bytes of a text file to text: UTF-8, UTF-16 with or without its mark, Windows-1252, Mac Roman."""

from wastewise_jobs.analysis.errors import Problem, UnreadableFilesError
from wastewise_jobs.analysis.intake.tables import Notebook, Table

_BINARY = {
    b"%PDF": "is a PDF; export the invoice lines as CSV or XLSX",
    b"\xd0\xcf\x11\xe0": "is an old or password-protected Excel file; save it as .xlsx without one",
    b"\x1f\x8b": "is compressed; upload the CSV or XLSX file itself",
    b"\x89PNG": "is an image; export the lines as CSV or XLSX",
    b"\xff\xd8\xff": "is an image; export the lines as CSV or XLSX",
}
_MARKUP = (b"<html", b"<!doctype", b"<table", b"<?xml")
_LOOKED_AT = 4096


def decode(name: str, content: bytes, notebook: Notebook) -> str:
    """The text, with a warning for an encoding that was guessed. Raises `UnreadableFilesError`."""
    for magic, problem in _BINARY.items():
        if content.startswith(magic):
            raise UnreadableFilesError([Problem(problem, name)])
    if content.lstrip()[:200].lower().startswith(_MARKUP):
        raise UnreadableFilesError([Problem("is a web page or XML; save it as CSV or XLSX", name)])
    try:
        text = content.decode(unicode_of(content))
    except UnicodeDecodeError:
        text = _decode_bytes(name, content, notebook)
    if (nul := text.find("\0")) >= 0:
        row = _row(content[:nul])
        raise UnreadableFilesError(
            [Problem("holds a NUL character: not a text file", name, row=row)]
        )
    return text


def unicode_of(content: bytes) -> str:
    """UTF-32 and UTF-16 by their marks or UTF-16 by the zero bytes of Latin letters, else UTF-8."""
    if content.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    head = content[:_LOOKED_AT]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 4 > len(head) and min(even, odd) * 20 <= max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8-sig"


def _decode_bytes(name: str, content: bytes, notebook: Notebook) -> str:
    """One byte a character: of a Macintosh if its lines end as that ended them, else of Windows."""
    codec, title = "cp1252", "Windows-1252"
    if b"\r" in content and b"\n" not in content:
        codec, title = "mac-roman", "Mac Roman"
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        problem = f"is neither UTF-8 nor {title} text"
        row = _row(content[: error.start])
        raise UnreadableFilesError([Problem(problem, name, row=row)]) from None
    notebook.warn("encoding", f"Not UTF-8: read as {title}.", table=Table(name, None, ()))
    return text


def _row(before: bytes) -> int:
    return max(before.count(b"\n"), before.count(b"\r")) + 1
