"""The append-only bank: entries in selection order, a budget as a prefix read (PatchCoreCL Algorithm 1)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evernorm.errors import StateError
from evernorm.files import check_schema, read_arrays, read_json, sha256_file, write_arrays, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """What one class leaves in the bank. Written once, never rewritten.

    Attributes:
        name: The class.
        rows: float32 ``[k, d]``, coreset in selection order: its first j rows are the coreset of size j.
        keys: float32 ``[k', d']``, what the class is recognised by (UCAD); None where it is by the rows.
    """

    name: str
    rows: npt.NDArray[np.float32]
    keys: npt.NDArray[np.float32] | None = None

    def save(self, folder: Path) -> None:
        """Write ``entry.json``, ``rows.safetensors`` and, if there are keys, ``keys.safetensors``."""
        write_arrays(folder / "rows.safetensors", {"rows": self.rows})
        record = {
            "schema": SCHEMA,
            "class": self.name,
            "rows": self.rows.shape[0],
            "dim": self.rows.shape[1],
            "sha256": sha256_file(folder / "rows.safetensors"),
        }
        if self.keys is not None:
            write_arrays(folder / "keys.safetensors", {"keys": self.keys})
            record |= {"keys": len(self.keys), "keys_sha256": sha256_file(folder / "keys.safetensors")}
        write_json(folder / "entry.json", record)

    @classmethod
    def load(cls, folder: Path, limit: int | None = None) -> "Entry":
        """Read an entry, or only its first `limit` rows.

        Raises:
            StateError: The entry is missing, damaged or of another schema.
        """
        head = check_schema(read_json(folder / "entry.json"), SCHEMA, folder)
        wanted = head["rows"] if limit is None else min(limit, head["rows"])
        rows = read_arrays(folder / "rows.safetensors", rows={"rows": wanted})["rows"]
        if rows.shape != (wanted, head["dim"]):
            raise StateError(
                f"{folder} holds {rows.shape} rows, its record says {(wanted, head['dim'])}; `dvc checkout`"
            )
        keys = read_arrays(folder / "keys.safetensors")["keys"] if head.get("keys") else None
        return cls(head["class"], rows, keys)


def shares(budget: int, sizes: list[int]) -> list[int]:
    """Rows each class may keep: M // T, one more for the first M mod T, never more than it has.

    Args:
        budget: M, rows in all.
        sizes: Rows that each of the T classes has, in order of arrival.

    Raises:
        StateError: More classes than rows.
    """
    classes = len(sizes)
    if classes > budget:
        raise StateError(f"{classes} classes cannot share {budget} rows; raise knowledge.budget")
    each, left_over = divmod(budget, classes) if classes else (0, 0)
    return [min(size, each + (place < left_over)) for place, size in enumerate(sizes)]


def prefixes(budget: int, size: int) -> list[int]:
    """The sizes that an entry is read at as classes arrive: M, M // 2, M // 3, …, descending, each once.

    Exact for the first 32 classes; beyond that each step is a fifth smaller, down to 10 rows (a reader
    takes the largest that fits).
    """
    steps = [budget // classes for classes in range(1, 33)]
    while steps[-1] > 10:
        steps.append(max(10, steps[-1] * 4 // 5))
    return sorted({min(step, size) for step in steps if step > 0}, reverse=True)
