"""What one workbook may take, counted over all of its parts."""

from wastewise_jobs.analysis.errors import Problem, UnreadableFilesError

MOST_BYTES = 128 * 2**20
MOST_PARTS = 2_000
MOST_SHEETS = 100
MOST_CELLS = 3_000_000
# A cell has two or three: itself, its value and its formula.
MOST_ELEMENTS = 8_000_000
MOST_CHARACTERS = 128_000_000


class Budget:
    """Counts down what a workbook takes; each method raises `UnreadableFilesError` at its limit.

    A text counts as often as a cell refers to it: whoever reads the cells reads it that often.
    """

    def __init__(
        self, name: str, *, most_bytes: int = MOST_BYTES, most_elements: int = MOST_ELEMENTS
    ) -> None:
        self.name = name
        self._bytes = self._most_bytes = most_bytes
        self._elements = most_elements
        self._cells = MOST_CELLS
        self._characters = MOST_CHARACTERS

    def check_directory(self, parts: int, size: int) -> None:
        """Hold against the limits what the archive says about itself."""
        if parts > MOST_PARTS:
            raise self.refusal(f"holds more than {MOST_PARTS} parts")
        if size > MOST_BYTES:
            raise self._too_large(MOST_BYTES)

    def check_sheets(self, count: int) -> None:
        """Hold the number of sheets against the limit."""
        if count > MOST_SHEETS:
            raise self.refusal(f"has more than {MOST_SHEETS} sheets; split it into smaller files")

    def take_bytes(self, count: int) -> None:
        """Count inflated bytes."""
        self._bytes -= count
        if self._bytes < 0:
            raise self._too_large(self._most_bytes)

    def take_elements(self, count: int) -> None:
        """Count XML elements, those of formatted empty cells too: they cost time, not memory."""
        self._elements -= count
        if self._elements < 0:
            raise self.refusal(
                f"holds more than {MOST_ELEMENTS} XML elements; delete the formatted empty rows "
                "and columns around the tables, or split it into smaller files"
            )

    def take_characters(self, count: int) -> None:
        """Count characters of text."""
        self._characters -= count
        if self._characters < 0:
            raise self.refusal(
                f"holds too much text: its cells show more than {MOST_CHARACTERS} characters; "
                "split it into smaller files"
            )

    def check_reach(self, sheet: str, rows: int, columns: int) -> None:
        """Hold against what is left the rectangle from the first cell to the last value."""
        if rows * columns > self._cells:
            raise self.refusal(
                f"has a sheet that reaches to row {rows}, column {columns}, which is beyond the "
                f"{MOST_CELLS} cells that all sheets may span together; delete what lies far "
                "below or beside the table, or split the workbook",
                sheet,
            )

    def take_reach(self, rows: int, columns: int) -> None:
        """Count the rectangle of a sheet that was read."""
        self._cells -= rows * columns

    def refusal(self, problem: str, sheet: str | None = None) -> UnreadableFilesError:
        """The error that names the file."""
        return UnreadableFilesError([Problem(problem, self.name, sheet)])

    def _too_large(self, limit: int) -> UnreadableFilesError:
        return self.refusal(
            f"unpacks to more than {limit // 2**20} MiB; split it into smaller files"
        )
