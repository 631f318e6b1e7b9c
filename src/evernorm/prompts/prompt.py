"""What is learned for a class: one prompt a block (UCAD's V), as vectors to add or as a prefix of attention."""

from dataclasses import dataclass

from evernorm.prompts.params import PromptKind
from evernorm.types import Arrays, Floats

_BLOCK = "block."


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
        return {f"{_BLOCK}{number:03d}": value for number, value in self.values.items()}

    @classmethod
    def of(cls, kind: PromptKind, arrays: Arrays) -> "Prompt":
        """Undo `arrays`; what else there is, is left alone."""
        blocks = sorted(name for name in arrays if name.startswith(_BLOCK))
        return cls(kind, {int(name.removeprefix(_BLOCK)): arrays[name] for name in blocks})
