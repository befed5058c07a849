"""What a person decided about files that can be read in more than one way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DATE_ORDERS = ("mdy", "dmy", "ymd")
# A longer text of a file is cut there, in warnings and in comparisons.
LONGEST_LOCATION = 200


@dataclass(frozen=True, slots=True)
class Choices:
    """How to read dates and numbers, and which locations belong to the property.

    None and () leave it to the files: what they do not settle is a warning that names the readings.
    """

    date_order: str | None = None
    decimal: str | None = None
    locations: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Choices":
        """The choices as the input of a job says them."""
        return cls(
            given.get("dateOrder"), given.get("decimal"), tuple(given.get("locations") or ())
        )


NO_CHOICES = Choices()
