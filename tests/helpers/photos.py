"""A folder of drawn classes in MVTec's layout, small enough to learn in a test."""

from pathlib import Path

import numpy as np
from PIL import Image

from evernorm.data import synthetic

CLASSES = {"cloth": ("textile", False), "metal": ("machined_part", False), "blue": ("textile", True)}


def draw_photos(
    root: Path, names=("cloth", "metal"), train: int = 10, good: int = 3, defective: int = 4
) -> Path:
    """Draw classes with exact masks below `root`; the same names and numbers give the same images."""
    for name in names:
        kind, mirrored = CLASSES[name]
        rng = np.random.default_rng(sorted(CLASSES).index(name))
        defect = synthetic.DEFECTS[kind][0]
        jobs = [("train/good", n, None) for n in range(train)]
        jobs += [("test/good", n, None) for n in range(good)]
        jobs += [(f"test/{defect}", n, defect) for n in range(defective)]
        for folder, number, flaw in jobs:
            image, mask = synthetic.draw(kind, rng, flaw)
            _save(root / name / folder / f"{number:03d}.png", image[..., ::-1] if mirrored else image)
            if flaw:
                _save(
                    root / name / "ground_truth" / flaw / f"{number:03d}_mask.png",
                    mask.astype(np.uint8) * 255,
                )
    return root


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
