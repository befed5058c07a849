"""The shared strings of a workbook, read as far as the cells ask for them."""

from collections.abc import Iterator
from xml.parsers import expat

from wastewise_jobs.analysis.intake.xlsx.archive import Archive, local, new_parser, unescaped


class SharedStrings:
    """Strings by index. Runs of rich text are joined; how to pronounce them is left out."""

    def __init__(self, archive: Archive, path: str | None) -> None:
        self._budget = archive.budget
        self._found: list[str] = []
        self._text: list[str] = []
        self._is_text = False
        self._pronounced = 0
        self._pieces: Iterator[None] = iter(())
        if path is not None:
            self._pieces = archive.parse(path, self._parser())

    def __getitem__(self, index: int) -> str:
        """The string; raises `ValueError` when the workbook has no such one."""
        while not 0 <= index < len(self._found):
            if index < 0 or next(self._pieces, self) is self:
                raise ValueError(f"a cell refers to text {index}, which does not exist")
        text = self._found[index]
        self._budget.take_characters(len(text))
        return text

    def _parser(self) -> expat.XMLParserType:
        parser = new_parser()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        return parser

    def _start(self, name: str, _: dict[str, str]) -> None:
        tag = local(name)
        if tag == "si":
            self._text = []
        elif tag == "t":
            self._is_text = not self._pronounced
        elif tag == "rPh":
            self._pronounced += 1

    def _characters(self, data: str) -> None:
        if self._is_text:
            self._budget.take_characters(len(data))
            self._text.append(data)

    def _end(self, name: str) -> None:
        tag = local(name)
        if tag == "si":
            self._found.append(unescaped("".join(self._text)))
        elif tag == "t":
            self._is_text = False
        elif tag == "rPh":
            self._pronounced -= 1
