"""Whether asking few classes finds what asking all finds: 7 real classes, and made ones that lie close together.

A made class is a real one whose features are all shifted the same way, with noise. How far is said in standard deviations
of a column over all classes; the smaller, the harder. Its test images are those of the real class, shifted with it, with
noise of their own. Asked are the lowest mean patch distance with 10,000 rows in all (PatchCoreCL), and UCAD's keys, 196 a class.
The reference is exhaustive routing: on the share of images that go to the same class, and on the accuracy.

    python benchmarks/routing.py --data FOLDER_OF_CLASSES [--classes 7,50,200,1000] [--shifts 0.5,0.15] [--images 300]
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evernorm.data.image import read_image
from evernorm.features.frozen import frozen_backbone
from evernorm.memory.budget import shares
from evernorm.memory.candidates import Candidates, descriptors_of
from evernorm.memory.entry import farthest_points
from evernorm.memory.keys import key_distances, leave_one_out_key_distances
from evernorm.memory.params import Routing
from evernorm.memory.projection import project
from evernorm.memory.routing import route
from evernorm.memory.search import NearestRows
from evernorm.memory.unknown import UnknownRule
from evernorm.params.groups import FeatureParams

BUDGET, KEYS, MOST = 10_000, 196, 8
NOISE = 0.05  # of a column's standard deviation


@dataclass(frozen=True)
class RealClass:
    """Features of a class's images, and what is kept of the normal ones."""

    test: np.ndarray
    rows: np.ndarray
    keys: np.ndarray
    descriptors: np.ndarray
    tail: float  # routing distance that one in a hundred of its own images exceeds


def main() -> None:
    """Print a line a number of classes, a shift, and a way of routing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--classes", default="7,50,200,1000")
    parser.add_argument("--shifts", default="0.5,0.15")
    parser.add_argument("--images", type=int, default=300, help="of made classes; all of the real ones")
    options = parser.parse_args()
    backbone = frozen_backbone(FeatureParams())
    real = [learned(folder, backbone) for folder in sorted(options.data.iterdir()) if folder.is_dir()]
    print(
        "classes  shift  asked by   same class  accuracy: all   few   classes asked: mean  most   ms an image: all   few"
    )
    for count in map(int, options.classes.split(",")):
        for shift in map(float, options.shifts.split(",")) if count > len(real) else [0.0]:
            told(count, shift, real, options.images)
    strangers(real)


def learned(folder: Path, backbone) -> RealClass:
    """A class of a folder."""
    train, test = (
        np.concatenate(
            [backbone.features([read_image(path)]) for path in sorted((folder / part).rglob("*.[jp][pn]g"))]
        )
        for part in ("train", "test")
    )
    flat = train.reshape(-1, train.shape[2])
    points = farthest_points(flat, KEYS)
    keys = np.ascontiguousarray(flat[points])
    inside = leave_one_out_key_distances(train, keys, points // train.shape[1])
    rows = np.ascontiguousarray(flat[farthest_points(project(flat, 256, 0), BUDGET // 7)])
    return RealClass(test, rows, keys, descriptors_of(train), float(np.quantile(inside, 0.99)))


def told(count: int, shift: float, real: list[RealClass], images: int) -> None:
    """The two lines of a bank."""
    rng, kinds = np.random.default_rng(0), len(real)
    spread = np.concatenate([each.rows for each in real]).std(axis=0)

    def noise(shape: tuple[int, ...]) -> np.ndarray:
        return (NOISE * spread * rng.standard_normal(shape)).astype(np.float32)

    moved = (shift * spread * rng.standard_normal((count, len(spread)))).astype(np.float32)
    moved[:kinds] = 0
    rows, keys = (
        [
            (array := part(real[c % kinds])) + moved[c] + (noise(array.shape) if c >= kinds else 0)
            for c in range(count)
        ]
        for part in (lambda it: it.rows[: BUDGET // count], lambda it: it.keys)
    )
    finder = Candidates([real[c % kinds].descriptors + moved[c] for c in range(count)], MOST)
    if count == kinds:
        truth = np.repeat(range(kinds), [len(each.test) for each in real])
        asked = np.concatenate([each.test for each in real])
    else:
        truth = rng.integers(0, count, images)
        asked = np.stack(
            [
                (test := real[c % kinds].test)[rng.integers(len(test))] + moved[c] + noise(test.shape[1:])
                for c in truth
            ]
        )
    memories = [NearestRows(each) for each in rows]
    assert shares(BUDGET, [BUDGET] * count)[-1] == BUDGET // count

    def by_rows(image: np.ndarray, few: bool) -> int:
        return int(route(image, memories, Routing.MEAN, asked=finder.of(image) if few else None).place[0])

    def by_keys(image: np.ndarray, few: bool) -> int:
        return int(key_distances(image, keys, finder.of(image) if few else None)[0].argmin())

    width = np.array([finder.of(image[None])[0].sum() for image in asked])
    for name, find in (("rows", by_rows), ("keys", by_keys)):
        found, took = {}, {}
        for few in (False, True):
            find(asked[:1], few)
            started = time.perf_counter()
            found[few] = np.array([find(image[None], few) for image in asked])
            took[few] = 1000 * (time.perf_counter() - started) / len(asked)
        print(
            f"{count:7}{shift:7.2f}  {name:8}{(found[True] == found[False]).mean():13.4f}"
            f"{(found[False] == truth).mean():16.4f}{(found[True] == truth).mean():7.4f}"
            f"{width.mean():21.2f}{width.max():6}{took[False]:19.1f}{took[True]:7.1f}",
            flush=True,
        )


def strangers(real: list[RealClass]) -> None:
    """The rule of unknown products by few classes and by all, on the real ones."""
    keys = [each.keys for each in real]
    tails = np.array([each.tail for each in real])
    home = np.repeat(range(len(real)), [len(each.test) for each in real])
    for name, most in (("all", 0), ("few", MOST)):
        finder = Candidates([each.descriptors for each in real], most)
        near = np.array([finder.beside(place) for place in range(len(real))])
        between = [
            key_distances(each[None], keys, near[None, :, place])[0] for place, each in enumerate(keys)
        ]
        rule = UnknownRule(tails, np.array(between).T, 0.5)
        known, without = [], []
        for place, each in enumerate(real):
            statistics = key_distances(each.test, keys, finder.of(each.test))
            known.append(rule.applies(statistics, statistics.argmin(axis=1)))
            of = np.full(len(each.test), place)
            without.append(
                rule.left_out(key_distances(each.test, keys, finder.of(each.test, without=of)), of)
            )
        print(
            f"unknown, {name} asked: {np.concatenate(known).mean():.4f} of {len(home)} images of known classes,"
            f" {np.concatenate(without).mean():.4f} of those of a class left out"
        )


if __name__ == "__main__":
    main()
