"""The archive that a workbook is: parts that are inflated piece by piece, and how they relate."""

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from xml.parsers import expat

from wastewise_jobs.analysis.intake.xlsx.budget import Budget

_PIECE = 2**16
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
)
# Never opened: drawings, pivot caches and links only make an honest workbook large.
_UNREAD = ("xl/media/", "xl/drawings/", "xl/charts/", "xl/pivot", "xl/theme/", "xl/externallinks/")

_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")

Start = Callable[[str, dict[str, str]], None]


@dataclass(frozen=True, slots=True)
class Relationship:
    """What one part says about another: the last word of the type, and the other's path."""

    kind: str
    path: str


class Archive:
    """The parts of one workbook. Raises `UnreadableFilesError` for what is no archive."""

    def __init__(self, content: bytes, budget: Budget) -> None:
        self.budget = budget
        with self._damage():
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        entries = self._zip.infolist()
        self._entries = {_folded(entry.filename): entry for entry in entries}
        size = sum(entry.file_size for path, entry in self._entries.items() if _is_read(path))
        budget.check_directory(len(entries), size)

    def __contains__(self, path: str) -> bool:
        return _folded(path) in self._entries

    def pieces(self, path: str) -> Iterator[bytes]:
        """The part's content, 64 KiB at a time."""
        entry = self._entries.get(_folded(path))
        if entry is None:
            raise self.budget.refusal(f"is not a readable workbook: it has no part {path}")
        with self._damage(), self._zip.open(entry) as part:
            while piece := part.read(_PIECE):
                self.budget.take_bytes(len(piece))
                yield piece

    def parse(self, path: str, parser: expat.XMLParserType) -> Iterator[None]:
        """Pull the part through the parser; control comes back after each piece."""
        try:
            for piece in self.pieces(path):
                self.budget.take_elements(piece.count(b"<") - piece.count(b"</"))
                parser.Parse(piece, False)
                yield
            parser.Parse(b"", True)
        except (expat.ExpatError, ValueError, LookupError) as error:
            problem = f"is not a readable workbook: {path}: {error}"
            raise self.budget.refusal(problem) from None

    def relationships(self, path: str) -> dict[str, Relationship]:
        """The relationships of a part ("" for the package) by their id."""
        folder, name = posixpath.split(path)
        found: dict[str, Relationship] = {}

        def start(name: str, attributes: dict[str, str]) -> None:
            if local(name) == "Relationship" and attributes.get("TargetMode") != "External":
                target = posixpath.join("/", folder, attributes["Target"].replace("\\", "/"))
                kind = attributes["Type"].rpartition("/")[2]
                path = posixpath.normpath(target).lstrip("/")
                found[attributes["Id"]] = Relationship(kind, path)

        self.scan(posixpath.join(folder, "_rels", f"{name}.rels"), start)
        return found

    def scan(self, path: str, start: Start) -> None:
        """Call `start` for each element of a small part."""
        parser = new_parser()
        parser.StartElementHandler = start
        for _ in self.parse(path, parser):
            pass

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGED:
            problem = "is damaged, encrypted or not an XLSX workbook"
            raise self.budget.refusal(problem) from None


def new_parser() -> expat.XMLParserType:
    """A parser without handlers that refuses document types; names come as `namespace}name`."""
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def unescaped(text: str) -> str:
    """The text; what XML cannot say is written as `_x000D_`."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


@lru_cache(maxsize=512)
def local(name: str) -> str:
    """The name without its namespace: the strict and the usual format differ only there."""
    return name.rpartition("}")[2]


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a document type declaration is not allowed")


def _folded(path: str) -> str:
    return path.replace("\\", "/").lstrip("/").lower()


def _is_read(path: str) -> bool:
    return path.endswith((".xml", ".rels")) and not path.startswith(_UNREAD)
