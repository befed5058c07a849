"""A check: one question to the database, and what its answer is called in the logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """`statement` answers in one row, which is logged where any number in it is not 0.

    A check that works in steps is repeated while its first number says that there is more. What a
    loud one finds is a warning.
    """

    name: str
    statement: str
    arguments: Sequence[Any] = ()
    in_steps: bool = False
    loud: bool = False
