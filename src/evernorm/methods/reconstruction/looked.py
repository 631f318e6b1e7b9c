"""What is stored of images that a frozen encoder has seen: what the network takes, and what tells their class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from evernorm.types import Arrays

POOLED = "pooled"
"""``[n, d]``, the levels, each the mean of its places."""


def inputs_of(seen: Mapping[str, Any]) -> Arrays:
    """What the network takes, by name."""
    return {name: np.asarray(array) for name, array in seen.items() if name != POOLED}
