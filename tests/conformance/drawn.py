"""The classes that every method learns here, and where the method is that only the tests have."""

from pathlib import Path

import numpy as np

from evernorm.data import synthetic

PLUGIN = Path(__file__).parent / "plugin"
CLASSES = ("textile", "machined_part", "blue_textile")


def draw(name: str, count: int, seed: int = 0, defect: str | None = None) -> list[np.ndarray]:
    """Images of a drawn class."""
    rng = np.random.default_rng([seed, len(name)])
    kind = name.removeprefix("blue_")
    images = [synthetic.draw(kind, rng, defect)[0] for _ in range(count)]
    return [np.ascontiguousarray(image[..., ::-1]) for image in images] if name != kind else images
