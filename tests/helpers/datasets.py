"""Tiny data sets drawn in each public layout."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

LAYOUTS = ("mvtec", "visa", "btad", "bmad", "folder")

# Per layout: training normals, test normals, test defects, masks; with the stem of an image put in.
_PLACES = {
    "mvtec": ("train/good/{}.png", "test/good/{}.png", "test/hole/{}.png", "ground_truth/hole/{}_mask.png"),
    "visa": ("Data/Images/Normal/{}.JPG", "Data/Images/Normal/9{}.JPG", "Data/Images/Anomaly/{}.JPG", "Data/Masks/Anomaly/{}.png"),
    "btad": ("train/ok/{}.bmp", "test/ok/{}.bmp", "test/ko/{}.bmp", "ground_truth/ko/{}.png"),
    "bmad": ("train/good/{}.png", "test/good/img/{}.png", "test/Ungood/img/{}.png", "test/Ungood/label/{}.png"),
    "folder": ("good/{}.png", "test/good/{}.png", "test/hole/{}.png", "ground_truth/hole/{}.png"),
}  # fmt: skip


def draw_dataset(
    root: Path,
    layout: str = "mvtec",
    names: Sequence[str] = ("bottle", "cable"),
    train: int = 6,
    good: int = 2,
    defective: int = 3,
    size: tuple[int, int] = (48, 40),
    seed: int = 0,
) -> Path:
    """Draw classes of grey noise whose defects are white squares with exact masks.

    Args:
        root: Folder to draw into; made if needed.
        layout: One of `LAYOUTS`.
        names: Class names.
        train: Normal training images a class.
        good: Normal test images a class.
        defective: Defective test images a class, each with a mask.
        size: Width and height of every image in pixels.
        seed: Same seed, same files.

    Returns:
        `root`.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for name in names:
        groups = zip(
            ("train", "test", "test"), ("normal", "normal", "anomaly"), (train, good, defective), strict=True
        )
        for place, (split, label, number) in zip(_PLACES[layout], groups, strict=False):
            for index in range(number):
                stem = f"{index:03d}"
                pixels = rng.integers(60, 120, (size[1], size[0], 3), dtype=np.uint8)
                mask = ""
                if label == "anomaly":
                    top, left = (int(rng.integers(0, side // 2)) for side in (size[1], size[0]))
                    square = np.zeros((size[1], size[0]), dtype=np.uint8)
                    square[top : top + size[1] // 4, left : left + size[0] // 4] = 255
                    pixels[square > 0] = 255
                    mask = _PLACES[layout][3].format(stem)
                    _save(root / name / mask, square)
                _save(root / name / place.format(stem), pixels)
                image = f"{name}/{place.format(stem)}"
                rows.append((name, split, label, image, f"{name}/{mask}" if mask else ""))
    if layout == "visa":
        table = root / "split_csv" / "1cls.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("object", "split", "label", "image", "mask"), *rows])
    return root


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
