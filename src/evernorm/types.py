"""The arrays and callables that several rooms speak of, under one name each."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Image: TypeAlias = npt.NDArray[np.uint8]
"""RGB, ``[H, W, 3]``."""
Images: TypeAlias = npt.NDArray[np.uint8]
"""RGB, ``[..., H, W, 3]``."""
Labels: TypeAlias = npt.NDArray[np.uint16]
"""The parts of an image, ``[H, W]``: regions are 1..n, 0 belongs to none."""
Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""State by name, as one safetensors file holds it."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, total)."""
Read: TypeAlias = Callable[[int], Image]
"""Image number → image; safe to call from another thread."""
