"""What is learned for a class: one prompt a block (UCAD's V), as vectors to add or as a prefix of attention."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import StateError
from evernorm.files import check_schema, read_arrays, read_json, write_arrays, write_json
from evernorm.params.groups import PromptKind

SCHEMA = 1


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
    values: dict[int, npt.NDArray[np.float32]]

    @property
    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Block → shape of its values."""
        return {block: value.shape for block, value in self.values.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return sum(value.nbytes for value in self.values.values())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The values under names that sort in the order of the blocks."""
        return {f"block.{number:03d}": value for number, value in self.values.items()}

    @classmethod
    def of(cls, kind: PromptKind, arrays: dict[str, npt.NDArray[Any]]) -> "Prompt":
        """Undo `arrays`."""
        return cls(kind, {int(name.removeprefix("block.")): value for name, value in sorted(arrays.items())})

    def save(self, folder: Path) -> None:
        """Write ``prompt.json`` and ``prompt.safetensors``."""
        write_json(folder / "prompt.json", {"schema": SCHEMA, "prompt": self.kind.value})
        write_arrays(folder / "prompt.safetensors", self.arrays())

    @classmethod
    def find(cls, folder: Path) -> "Prompt | None":
        """The prompt stored in a folder; None where a stage recorded that nothing was trained."""
        return cls.load(folder) if (folder / "prompt.json").is_file() else None

    @classmethod
    def load(cls, folder: Path) -> "Prompt":
        """Read it back.

        Raises:
            StateError: Missing, damaged, or of another schema.
        """
        record = check_schema(read_json(folder / "prompt.json"), SCHEMA, folder)
        try:
            return cls.of(PromptKind(record["prompt"]), read_arrays(folder / "prompt.safetensors"))
        except (KeyError, ValueError) as error:
            raise StateError(
                f"{folder} holds no prompt of a known kind ({error}); restore it with `dvc checkout`"
            ) from error
