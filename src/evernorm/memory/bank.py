"""The append-only bank: entries in selection order, a budget as a prefix read (PatchCoreCL Algorithm 1)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import StateError
from evernorm.files import read_arrays, read_json, sha256_file, write_arrays, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """What one class leaves in the bank. Written once, never rewritten.

    Attributes:
        name: The class.
        rows: float32 ``[k, d]``, coreset in selection order: its first j rows are the coreset of size j.
    """

    name: str
    rows: npt.NDArray[np.float32]

    def save(self, folder: Path) -> None:
        """Write ``entry.json`` and ``rows.safetensors``."""
        write_arrays(folder / "rows.safetensors", {"rows": self.rows})
        shape = {"rows": self.rows.shape[0], "dim": self.rows.shape[1]}
        digest = sha256_file(folder / "rows.safetensors")
        write_json(folder / "entry.json", {"schema": SCHEMA, "class": self.name, **shape, "sha256": digest})

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
        return cls(head["class"], rows)


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


def check_schema(record: Any, schema: int, place: Path) -> dict[str, Any]:
    """Return the record if its schema is the one this version reads.

    Raises:
        StateError: Another schema.
    """
    if not isinstance(record, dict) or record.get("schema") != schema:
        found = record.get("schema") if isinstance(record, dict) else record
        raise StateError(
            f"{place} has schema {found!r}, this version reads {schema}; learn it again with this version"
        )
    return record
