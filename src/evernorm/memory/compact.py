"""Rows as they are stored: a byte a value, on a grid of its own for each column.

A grid spans what all patches of a class's images span, in 255 steps a column. The values on the grid are those that images
are judged by, and from which thresholds come, so nothing changes between learning and serving. Why nothing is lost:
docs/decisions/storage.md.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import StateError
from evernorm.files import head
from evernorm.types import Arrays, Floats

_STEPS = 255


class Storage(StrEnum):
    """How values of a memory are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def packed(arrays: Mapping[str, Floats], storage: Storage, patches: Floats) -> Arrays:
    """Arrays as they are stored.

    Args:
        arrays: Patches or means of patches, float32 ``[k, d]`` each.
        storage: How.
        patches: All of the class's images, float32 ``[n, d]``; may be memory-mapped.

    Returns:
        The arrays, of the type asked for; for `Storage.INT8` uint8, and ``<name of the first>_grid``, float32 ``[2, d]``:
        the lowest value of each column, and the step.

    Raises:
        StateError: Values that float16 cannot hold.
    """
    if storage is Storage.FLOAT32:
        return dict(arrays)
    if storage is Storage.FLOAT16:
        limit = float(np.finfo(np.float16).max)
        if (highest := max(float(np.abs(array).max()) for array in arrays.values())) > limit:
            raise StateError(f"features of {highest:g} do not fit float16; set knowledge.storage to int8")
        return {name: array.astype(np.float16) for name, array in arrays.items()}
    low = patches.min(axis=0)
    step = (patches.max(axis=0) - low) / np.float32(_STEPS)
    step[step == 0] = 1
    codes = {each: np.clip(np.rint((array - low) / step), 0, _STEPS) for each, array in arrays.items()}
    return {
        **{each: array.astype(np.uint8) for each, array in codes.items()},
        f"{next(iter(arrays))}_grid": np.stack([low, step]),
    }


def unpacked(
    entry: Mapping[str, npt.NDArray[Any]], name: str, rows: int | None = None, *, grid: str | None = None
) -> Floats:
    """An array's values, or those of its leading rows, float32 ``[k, d]``; of a stored entry no more is read.

    Args:
        entry: What holds it.
        name: Its name.
        rows: How many.
        grid: The name of the array whose grid it lies on; its own if None.

    Raises:
        StateError: The grid is missing, or of other columns.
    """
    array = entry[name] if rows is None else head(entry, name, rows)
    if array.dtype != np.uint8:
        return np.asarray(array, np.float32)
    found = entry.get(f"{grid or name}_grid")
    if found is None or found.shape != (2, array.shape[1]):
        raise StateError(f"the {name} of an entry lack the grid they lie on; learn the class again")
    low, step = found
    values: Floats = low + step * array
    return values


def names_in(entry: Mapping[str, npt.NDArray[Any]], name: str) -> list[str]:
    """The arrays that `unpacked` reads for `name`, on its own grid."""
    return [each for each in (name, f"{name}_grid") if each in entry]
