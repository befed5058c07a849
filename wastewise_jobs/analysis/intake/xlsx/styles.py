"""Which cell formats show a number as a date, a time of day or a duration."""

import re
from datetime import datetime, time, timedelta

from wastewise_jobs.analysis.intake.cells import Cell
from wastewise_jobs.analysis.intake.xlsx.archive import Archive, local

DATE, DURATION = "date", "duration"

_BUILT_IN = {
    **dict.fromkeys((*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)), DATE),
    46: DURATION,
}
# What a format code shows as it is, then its colours, conditions and locales.
_LITERAL = re.compile(r'"[^"]*"?|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_DATED = re.compile(r"[dmyhs]|e+(?![+-])", re.IGNORECASE)
_GENERAL = re.compile(r"general", re.IGNORECASE)

_DAYS_1904 = 1462
_ZERO = datetime(1899, 12, 30)  # noqa: DTZ001 - a workbook's times have no zone
_LAST_SERIAL = 2_958_466
_DAY_MS = 86_400_000


def kind_of(code: str) -> str | None:
    """What the number format shows: `date` (a time of day too), `duration` or None."""
    first = _GENERAL.sub("", _LITERAL.sub("", code.partition(";")[0]))
    if _ELAPSED.search(first):
        return DURATION
    return DATE if _DATED.search(first) else None


class Styles:
    """The kind of each cell format by its index, as cells name it."""

    def __init__(self, archive: Archive, path: str | None, *, date1904: bool) -> None:
        self._shift = _DAYS_1904 if date1904 else 0
        self._codes: dict[int, str | None] = {}
        self._in_formats = False
        self.kinds: dict[str, str] = {}
        self._formats = 0
        if path is not None:
            archive.scan(path, self._start)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = local(name)
        if tag == "numFmt" and "numFmtId" in attributes:
            self._codes[int(attributes["numFmtId"])] = kind_of(attributes.get("formatCode", ""))
        elif tag in {"cellXfs", "cellStyleXfs", "cellStyles", "dxfs"}:
            self._in_formats = tag == "cellXfs"
        elif tag == "xf" and self._in_formats:
            number = int(attributes.get("numFmtId") or 0)
            if kind := self._codes.get(number, _BUILT_IN.get(number)):
                self.kinds[str(self._formats)] = kind
            self._formats += 1

    def shown(self, kind: str, serial: float) -> Cell:
        """The number as its format shows it; unchanged where it is outside of the calendar."""
        if not 0 <= serial + self._shift < _LAST_SERIAL:
            return serial
        if kind == DURATION:
            return timedelta(milliseconds=round(serial * _DAY_MS))
        if serial < 1:
            return _clock(serial)
        moment = _ZERO + timedelta(days=self._shift, milliseconds=round(serial * _DAY_MS))
        return moment.date() if serial.is_integer() else moment


def _clock(serial: float) -> time:
    return (_ZERO + timedelta(milliseconds=round(serial * _DAY_MS) % _DAY_MS)).time()
