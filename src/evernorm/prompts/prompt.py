"""What is learned for a class: one prompt a block (UCAD's V), as vectors to add or as a prefix of attention."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from evernorm.prompts.params import PromptKind
from evernorm.types import Arrays, Floats

_BLOCK = "block."
Value = TypeVar("Value")


@dataclass(frozen=True)
class Prompt:
    """The prompts of one class.

    The paper counts seven vectors of 768 a class; its sixth block (index 5), the last that is read, can
    see six of them, so six are kept.

    Attributes:
        kind: What the values are.
        values: Block → float32 ``[channels]`` (additive) or ``[2, length, channels]`` (prefix: keys, values).
    """

    kind: PromptKind
    values: dict[int, Floats]

    @property
    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Block → shape of its values."""
        return {block: value.shape for block, value in self.values.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return sum(value.nbytes for value in self.values.values())

    def arrays(self) -> Arrays:
        """The values under names that sort in the order of the blocks."""
        return {_name(block): value for block, value in self.values.items()}

    @classmethod
    def of(cls, kind: PromptKind, arrays: Arrays) -> "Prompt":
        """Undo `arrays`; what else there is, is left alone."""
        blocks = sorted(name for name in arrays if name.startswith(_BLOCK))
        return cls(kind, {int(name.removeprefix(_BLOCK)): arrays[name] for name in blocks})

    @staticmethod
    def by_block(blocks: Iterable[int], values: Mapping[str, Value]) -> dict[int, Value]:
        """What is kept of some blocks under the names of `arrays`, by block."""
        return {block: values[_name(block)] for block in blocks}


def _name(block: int) -> str:
    return f"{_BLOCK}{block:03d}"
