"""The demo's data: two classes of real photographs and two drawn ones, in MVTec AD's layout.

::

    <root>/demo.json                        which demo data this is
    <root>/<class>/SOURCE.txt               where the images come from, and their licence
    <root>/<class>/train/good/*.png
    <root>/<class>/test/{good,<defect>}/*.png
    <root>/<class>/ground_truth/<defect>/<stem>_mask.png    drawn classes only
"""

import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from PIL import Image

from evernorm.data import synthetic
from evernorm.errors import DataError
from evernorm.files import read_json, write_json

DEMO_STREAM = ("solar_mono", "textile", "solar_poly", "machined_part")
"""The demo's classes in the order they are learned."""

TRAIN, TEST_GOOD, DEFECTIVE = 60, 30, 40
"""Images of each class."""

_VERSION = 1
"""Raised whenever the same seed gives other images than before."""

_SOLAR = (
    "source: PyPI elpv-dataset 1.0.0.post1, solar cells in electroluminescence light, type {}; "
    "defect probability 0 is good, 1 is defective\nlicence: CC BY-NC-SA 4.0\n"
)
_DRAWN = "source: drawn by evernorm.data.synthetic, {}, seed {}\nlicence: Apache-2.0\n"


def make_demo_data(root: Path, seed: int = 0) -> None:
    """Write the demo's four classes below `root`; return at once where they are already.

    The folder appears whole or not at all: it is filled beside its place and then renamed.

    Args:
        root: The folder to make.
        seed: Of the drawn classes. The photographs are the same for every seed.

    Raises:
        DataError: The package with the photographs is missing, or `root` holds anything else than this
            demo data.
    """
    stamp = {"demo": _VERSION, "seed": seed}
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        return _check(root, stamp)
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as beside:
        filled = Path(beside) / root.name
        for number, name in enumerate(DEMO_STREAM):
            if name.startswith("solar_"):
                _copy_solar(filled / name, name.removeprefix("solar_"))
            else:
                _draw_class(filled / name, name, seed, number)
        write_json(filled / "demo.json", stamp)
        filled.rename(root)


def _check(root: Path, stamp: dict[str, int]) -> None:
    """Raise DataError unless `root` is the demo data of `stamp`, all classes there."""
    advice = "remove it to have it made anew, or name another folder"
    if not (root / "demo.json").is_file():
        raise DataError(f"{root} exists and is no demo data (it has no demo.json); {advice}")
    if (found := read_json(root / "demo.json")) != stamp:
        raise DataError(f"{root} holds demo data {found}, expected {stamp}; {advice}")
    if missing := [name for name in DEMO_STREAM if not (root / name).is_dir()]:
        raise DataError(f"{root} lacks {', '.join(missing)}; {advice}")


def _copy_solar(folder: Path, cell: str) -> None:
    """Copy solar cells of one type ("mono" or "poly"), unchanged, spread over the whole data set."""
    try:
        source = Path(str(files("elpv_dataset"))) / "data"
    except ModuleNotFoundError as error:
        raise DataError(
            "the demo's photographs come with elpv-dataset, which is not installed; "
            "run `pip install evernorm[demo]`"
        ) from error
    rows = [line.split() for line in (source / "labels.csv").read_text(encoding="utf-8").splitlines()]
    good, bad = (
        [source / path for path, chance, type_ in rows if type_ == cell and float(chance) == wanted]
        for wanted in (0.0, 1.0)
    )
    normal = _evenly(good, TRAIN + TEST_GOOD)
    test = _evenly(normal, TEST_GOOD)
    train = [path for path in normal if path not in test]
    for place, paths in (
        ("train/good", train),
        ("test/good", test),
        ("test/defective", _evenly(bad, DEFECTIVE)),
    ):
        (folder / place).mkdir(parents=True)
        for path in paths:
            shutil.copyfile(path, folder / place / path.name)
    (folder / "SOURCE.txt").write_text(_SOLAR.format(cell), encoding="utf-8")


def _evenly(paths: Sequence[Path], count: int) -> list[Path]:
    """Pick `count` of the paths at equal distances, the first and the last among them."""
    return [paths[at] for at in np.linspace(0, len(paths) - 1, count).round().astype(int)]


def _draw_class(folder: Path, kind: str, seed: int, number: int) -> None:
    """Draw a class; its images depend on the seed and its place in the stream alone."""
    rng = np.random.default_rng([seed, number])
    defects = synthetic.DEFECTS[kind]
    for count, place in ((TRAIN, "train/good"), (TEST_GOOD, "test/good")):
        for image in range(count):
            _save(folder / place / f"{image:03}.png", synthetic.draw(kind, rng)[0])
    for image in range(DEFECTIVE):
        defect = defects[image % len(defects)]
        picture, mask = synthetic.draw(kind, rng, defect)
        _save(folder / "test" / defect / f"{image:03}.png", picture)
        _save(folder / "ground_truth" / defect / f"{image:03}_mask.png", mask.astype(np.uint8) * 255)
    (folder / "SOURCE.txt").write_text(_DRAWN.format(kind, seed), encoding="utf-8")


def _save(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write a PNG; noise hardly compresses, so little time is spent on trying."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
