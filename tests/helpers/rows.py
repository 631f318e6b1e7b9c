"""What tests ask of the rows of an entry, however they are stored."""

import numpy as np

from evernorm.memory.compact import unpacked


def patches_behind(entry, name, patches) -> np.ndarray:
    """The number of the patch that each stored row is of, within half a step of the grid; fails where one is of none."""
    rows, step = unpacked(entry, name), entry[f"{name}_grid"][1]
    off = np.stack([(np.abs(patches - row) / step).max(axis=1) for row in rows])
    assert off.min(axis=1).max() < 0.51
    return off.argmin(axis=1)
