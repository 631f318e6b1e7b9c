"""What of a method can be changed or left out to see what it is good for: its paper's tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Variant:
    """One line of a table.

    Attributes:
        name: What differs.
        settings: The parameters that make it so, ``key=value`` each.
    """

    name: str
    settings: tuple[str, ...] = ()


Tables: TypeAlias = Mapping[str, Sequence[Variant]]
"""The lines of each table by its name; a line that tables share is the same `Variant`, and learned once."""
