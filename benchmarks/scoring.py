"""What judging an image costs as classes are added: backbone, routing, score and map, memory.

Banks of 7, 50 and 200 classes are made from one class's coreset, shifted and with noise. Three kinds are
measured: a fixed budget (PatchCoreCL: the rows of all classes together stay at M), one that grows with the
classes (one model per class, M rows each), and UCAD's keys and knowledge of 196 rows each a class. The reference in every run is the backbone's own pass.

    python benchmarks/scoring.py [--data FOLDER_OF_CLASSES] [--budget 10000] [--images 16]
"""

import argparse
import os
import resource
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from evernorm.data import synthetic
from evernorm.data.image import read_image
from evernorm.features.backbone import build_backbone
from evernorm.maps import anomaly_map
from evernorm.memory.coreset import greedy_k_centre
from evernorm.memory.keys import key_distances
from evernorm.memory.params import Routing
from evernorm.memory.routing import Routed, route, search
from evernorm.memory.scoring import image_scores
from evernorm.memory.search import NearestRows
from evernorm.params.groups import FeatureParams

CLASSES = (7, 50, 200)
KEYS = 196


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder of classes; drawn images without it")
    parser.add_argument("--budget", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    images = load_images(options.data, options.images + 20)
    backbone = build_backbone(FeatureParams())
    queries, training = images[: options.images], images[options.images :]
    features = np.concatenate([backbone.features(queries[i : i + 4]) for i in range(0, len(queries), 4)])
    flat = np.concatenate([backbone.features(training[i : i + 4]) for i in range(0, 20, 4)]).reshape(
        -1, backbone.dim
    )
    rows = flat[greedy_k_centre(flat, min(options.budget, len(flat)))]
    reference = timed(lambda: [backbone.features([image]) for image in queries], options.repeats) / len(
        queries
    )
    print(
        f"{len(queries)} images, grid {backbone.grid}, {backbone.dim} columns, budget {options.budget} rows"
    )
    print(
        f"reference: backbone alone {reference:.1f} ms an image (weights {backbone_bytes(backbone) / 1e6:.1f} MB)\n"
    )
    head = (
        "memory",
        "classes",
        "rows/class",
        "routing ms",
        "score+map ms",
        "all/backbone",
        "bank MB",
        "peak RSS MB",
    )
    print(("{:>14}" * len(head)).format(*head))
    alone = [features[i : i + 1] for i in range(len(features))]
    for kind in ("fixed budget", "M per class"):
        for classes in CLASSES:
            share = options.budget // classes if kind == "fixed budget" else min(options.budget, 1000)
            memories = copies(rows[:share], classes)
            routing = timed(
                lambda m=memories: [route(f, m, Routing.MEAN) for f in alone], options.repeats
            ) / len(alone)
            routed = route(features, memories, Routing.MEAN)
            scoring = timed(
                lambda m=memories, r=routed: finish(features, r, m, backbone), options.repeats
            ) / len(alone)
            ratio = (reference + routing + scoring) / reference
            size = sum(memory.rows.nbytes for memory in memories) / 1e6
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(
                f"{kind:>14}{classes:>14}{share:>14}{routing:>14.1f}{scoring:>14.1f}{ratio:>14.2f}{size:>14.1f}{peak:>14.0f}"
            )
    for classes in CLASSES:
        memories = copies(rows[:KEYS], classes)  # as many keys as rows of knowledge
        keys = [memory.rows for memory in memories]
        routing = timed(lambda k=keys: [key_distances(f, k) for f in alone], options.repeats) / len(alone)
        found, nearest = (part.reshape(features.shape[:2]) for part in search(features, memories[0]))
        routed = Routed(np.zeros(len(features), int), found, nearest, features[:0, 0])
        scoring = timed(lambda m=memories, r=routed: finish(features, r, m, backbone), options.repeats) / len(
            alone
        )
        ratio = (reference + routing + scoring) / reference
        size = 2 * sum(each.nbytes for each in keys) / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"{'UCAD keys':>14}{classes:>14}{KEYS:>14}{routing:>14.1f}{scoring:>14.1f}{ratio:>14.2f}{size:>14.1f}{peak:>14.0f}"
        )
    print("UCAD's prompted pass is not in these figures: at most one more backbone.")
    print("\n'M per class' is measured with 1,000 rows a class; it grows in proportion to them.")


def finish(features, routed, memories, backbone) -> None:
    """Image score and a map of 256 × 256, image by image."""
    for i, place in enumerate(routed.place):
        image_scores(
            features[i : i + 1], routed.distances[i : i + 1], routed.nearest[i : i + 1], memories[place], 9
        )
        anomaly_map(routed.distances[i], backbone.grid, backbone.preprocess.size, (256, 256))


def copies(rows: np.ndarray, classes: int) -> list[NearestRows]:
    """Memories that differ like classes do: each shifted its own way, with noise."""
    rng = np.random.default_rng(0)
    spread = rows.std()
    shifted = (rows + spread * (rng.standard_normal((1, rows.shape[1])) * (c > 0)) for c in range(classes))
    return [
        NearestRows((r + 0.05 * spread * rng.standard_normal(rows.shape)).astype(np.float32)) for r in shifted
    ]


def load_images(data: Path | None, count: int) -> list[np.ndarray]:
    """Training images of the first class of a folder, or drawn ones."""
    if data is None:
        rng = np.random.default_rng(0)
        return [synthetic.draw("textile", rng)[0] for _ in range(count)]
    paths = sorted(sorted(data.glob("*/train/good"))[0].iterdir())
    return [read_image(path) for path in (paths * count)[:count]]


def backbone_bytes(backbone) -> int:
    """Bytes of the weights that are loaded."""
    return sum(array.nbytes for array in backbone.weights().values())


def timed(call, repeats: int) -> float:
    """Median wall time in milliseconds, after one warm-up."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


if __name__ == "__main__":
    main()
