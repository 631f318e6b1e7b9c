"""What an image's score is best made of, paired over coreset starts: its farthest patch re-weighted, or its highest 1 %.

The class is given, and each class's training (prompts, fusion) is done once: only the first row of the coreset differs from
start to start. Image AUROC of both scores in the same memory, and the mean and spread of their paired differences.

    python benchmarks/scores.py --data FOLDER --method patchcore_cl [--rows 1428] [--starts 5] [--classes a,b] [--set ...]
"""

import argparse
from pathlib import Path

import numpy as np

from evernorm.data.experience import Experience, TestView
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.features.extract import collect
from evernorm.memory.coreset import greedy_k_centre
from evernorm.memory.projection import project
from evernorm.memory.scoring import image_scores, top_scores
from evernorm.memory.search import NearestRows
from evernorm.methods.learner import Learner
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.base import MemoryLearner
from evernorm.methods.registry import learner_of
from evernorm.metrics.image import auroc
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Device
from evernorm.params.model import default_params
from evernorm.structure.segmenter import build_segmenter
from evernorm.types import Floats


def main() -> None:
    """Print a line a class, then the paired difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--classes", help="a,b,c; all without it")
    parser.add_argument("--method", default="patchcore_cl")
    parser.add_argument("--rows", type=int, default=1428, help="rows of a class")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    settings = [f"method={options.method}", *options.settings]
    params = parse_params(override(default_params().model_dump(mode="json"), settings))
    learner = learner_of(params)
    if not isinstance(learner, MemoryLearner):
        raise SystemExit(f"{options.method} keeps no memory of patches")
    names = options.classes.split(",") if options.classes else sorted(read_classes(options.data))
    manifests, differences = validate(options.data, names), []
    for name in names:
        train = Experience.of(manifests[name], options.data / name)
        test = TestView.of(manifests[name], options.data / name)
        seen, asked = features(learner, train, test)
        found = np.array(
            [
                measured(learner, seen, asked, test.labels, options.rows, start)
                for start in range(options.starts)
            ]
        )
        differences.append(found[:, 1] - found[:, 0])
        farthest, highest = found.mean(axis=0)
        print(f"{name:14} max {farthest:.3f}  top {highest:.3f}  {said(differences[-1])}", flush=True)
    by_start = np.mean(differences, axis=0)
    print(f"{'mean':14} {said(by_start)}, over {options.starts} starts; better in {better(differences)}")


def features(learner: MemoryLearner, train: Experience, test: TestView) -> tuple[Floats, Floats]:
    """Of the training and of the test images, as the class's own training has them seen: float32 ``[n, P, d]``."""
    segmenter = build_segmenter(learner.params.masks, train.name, Device.AUTO)
    lesson = Lesson(train, lambda number: segmenter.segment(train.read(number)).labels)
    eye, size = learner.eye(learner.train(lesson)), learner.params.features.batch_size
    return tuple(next(reversed(collect(eye, each.read, len(each), size).values())) for each in (train, test))


def measured(
    learner: Learner, seen: Floats, asked: Floats, labels: np.ndarray, rows: int, seed: int
) -> list[float]:
    """Image AUROC of both scores in the memory that a random first row gives."""
    flat = seen.reshape(-1, seen.shape[2])
    start = int(np.random.default_rng(seed).integers(len(flat)))
    chosen = greedy_k_centre(project(flat, 256, 0), rows, start=start)
    memory = NearestRows(np.ascontiguousarray(flat[chosen]))
    distances, nearest = (
        part.reshape(asked.shape[:2]) for part in memory.nearest(asked.reshape(-1, flat.shape[1]))
    )
    neighbours = learner.own.knowledge.neighbours
    scores = (image_scores(asked, distances, nearest, memory, neighbours), top_scores(distances))
    return [auroc(labels, each) for each in scores]


def said(values: np.ndarray) -> str:
    """Mean and standard deviation of differences."""
    return f"top - max {values.mean():+.4f} +- {values.std(ddof=1):.4f}"


def better(differences: list[np.ndarray]) -> str:
    """In how many classes the mean difference is above 0."""
    means = [each.mean() for each in differences]
    return f"{sum(mean > 0 for mean in means)} of {len(means)} classes"


if __name__ == "__main__":
    main()
