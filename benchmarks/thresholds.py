"""What the thresholds keep of the false-alarm rate asked for, and what they cost in defects found.

For each class, learned from all its images and from a few (drawn, several times): the rate of false alarms that was
achieved on good images that were not learned from, the defects found on test images, and the defects that any threshold with no more false alarms on
test images would have found (the ROC curve). What lies between the last two is the calibration's loss; what the ROC does not allow is
overlap. The class is given, so that nothing but the threshold differs.

    python benchmarks/thresholds.py --data FOLDER [--images 20] [--draws 3] [--rates 0.01 0.05] [--classes a,b]
        [--set patchcore_cl.knowledge.budget=1428 ...]
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from evernorm.data.experience import Experience, TestView
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.features.backbone import build_backbone
from evernorm.methods.detector import Detector
from evernorm.methods.learner import Learner
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learners
from evernorm.metrics.image import found_at, rates
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params
from evernorm.types import Floats, Read


def main() -> None:
    """Print a line a class and rate, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--classes", help="a,b,c; all without it")
    parser.add_argument("--images", type=int, default=20, help="the few images")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.02, 0.05])
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    params = parse_params(override(default_params().model_dump(mode="json"), options.settings))
    names = options.classes.split(",") if options.classes else sorted(read_classes(options.data))
    manifests = validate(options.data, names)
    learner = learners()[params.method](params, build_backbone(params.features))
    print(
        "false alarms on all good images that were not learned from, on those for testing; found; what the ROC allows"
    )
    print(f"{'':24}" + "".join(f"asked {rate:<20.0%}" for rate in options.rates))
    for images in (options.images, None):
        table = []
        for name in names:
            train = Experience.of(manifests[name], options.data / name)
            test = TestView.of(manifests[name], options.data / name)
            few = images is not None and images < len(train)
            lines = [
                measured(learner, *drawn(train, images if few else None, seed), train, test, options.rates)
                for seed in range(options.draws if few else 1)
            ]
            table.append(np.mean(lines, axis=0))
            print(line(f"{name} ({min(images or len(train), len(train))})", table[-1]), flush=True)
        print(line("mean", np.mean(table, axis=0)), "\n")


def drawn(train: Experience, images: int | None, seed: int) -> tuple[Experience, list[int]]:
    """Some of the training images, and the numbers of the others."""
    if images is None:
        return train, []
    order = np.random.default_rng(seed).permutation(len(train))
    chosen, left = np.sort(order[:images]), np.sort(order[images:])
    some = replace(
        train,
        paths=tuple(train.paths[i] for i in chosen),
        sha256s=tuple(train.sha256s[i] for i in chosen),
    )
    return some, left.tolist()


def measured(
    learner: Learner,
    some: Experience,
    left: Sequence[int],
    whole: Experience,
    test: TestView,
    asked: Sequence[float],
) -> list[list[float]]:
    """For each rate: false alarms on good images, on good test images, found, and what the ROC allows at the latter."""
    detector = learner.detector_of([learner.learn(Lesson(some))])
    reading = detector.readings[0]
    raw, more = scores(detector, test.read, range(len(test))), scores(detector, whole.read, left)
    result = []
    for rate in asked:
        threshold = reading.score_at(rate)
        false_alarms, found = rates(test.labels, raw > threshold)
        if false_alarms is None or found is None:
            raise SystemExit(f"{test.name}: good and defective test images are needed")
        good = np.concatenate([raw[~test.labels], more])
        result.append(
            [(good > threshold).mean(), false_alarms, found, found_at(test.labels, raw, false_alarms)]
        )
    return result


def scores(detector: Detector, read: Read, numbers: Sequence[int]) -> Floats:
    """The method's own, with the class given."""
    blocks = [
        list(numbers[i : i + detector.images_at_once])
        for i in range(0, len(numbers), detector.images_at_once)
    ]
    judged = [
        detector.judge(detector.see([read(i) for i in block]), given=np.zeros(len(block), np.int64)).raw
        for block in blocks
    ]
    return np.concatenate([np.empty(0, np.float32), *judged])


def line(name: str, figures: np.ndarray) -> str:
    """A row of the table."""
    return f"{name:24}" + "".join(f"{a:5.3f} {b:5.3f} {c:5.2f} {d:5.2f}   " for a, b, c, d in figures)


if __name__ == "__main__":
    main()
