"""One threshold for all classes, by every alignment: a workspace that was learned once is read in each way.

Mean over classes (each alike; each by its test images, as the pooled figure weighs them) and pooled (all classes as one test
set, one threshold): image AUROC, pixel AP; false alarms on good test
images and defects found, at the rate that params.yaml asks for; seconds to fit, and what an image costs more, as a share
of the backbone's pass. Of each image the method's own scores are computed once.

    python benchmarks/alignment.py WORKSPACE [--kinds none,weibull,cada] [--set calibration.spread=deviation]
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evernorm.evaluation.judge import Outcome, TestClass, judge
from evernorm.evaluation.report import report
from evernorm.features.backbone import build_backbone
from evernorm.files import START
from evernorm.methods.detector import Detector, Found, Seen
from evernorm.methods.registry import learner_of
from evernorm.metrics.image import auroc, average_precision
from evernorm.params.file import load_params, override, parse_params
from evernorm.params.groups import AlignmentKind, Params
from evernorm.types import Arrays, Doubles, Indices
from tasks.stages.evaluate import state_of, tests_of
from tasks.workspace.paths import Paths

TITLE = f"{'':14} {'mean':>6} {'by im.':>6} {'pooled':>6} {'p. AP':>6} | pixel AP: {'mean':>6} {'pooled':>6} | alarms  found | fit    more"


def main() -> None:
    """Print a line an alignment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--kinds", default=",".join(AlignmentKind))
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    paths = Paths(options.workspace.resolve())
    params = load_params(paths.root / "params.yaml")
    states = [state_of(name, paths) for name in params.order]
    tests, found = None, {}
    print(f"{params.method}, {len(states)} classes\n{TITLE}")
    for kind in options.kinds.split(","):
        settings = [*options.settings, f"calibration.alignment={kind}"]
        chosen = parse_params(override(params.model_dump(mode="json"), settings))
        started = time.perf_counter()
        detector = learner_of(chosen).detector_of(states)
        seconds = time.perf_counter() - started
        tests = tests or [once(test) for test in tests_of([*params.order], START, detector, paths)]
        remember(detector, found)
        outcomes, pixels = judge(detector, tests, chosen.evaluate.aupro_fpr_limit)
        figures = report(detector, outcomes, pixels)
        pooled, mean = figures["pooled"], figures["mean"]
        images = (mean["image_auroc"], by_image(figures, outcomes), pooled["image_auroc"], pooled["image_ap"])
        cost = f"{seconds:5.1f} s {overhead(detector, chosen, tests):5.1%}"
        shown(kind, [*images, mean["pixel_ap"], pooled["pixel_ap"]], mean, cost)
        labels = np.concatenate([each.labels for each in outcomes])
        if kind == AlignmentKind.CADA_A:
            given(outcomes, labels)
        if kind == AlignmentKind.WEIBULL:
            p_values(detector, tests, labels)


def once(test: TestClass) -> TestClass:
    """Images that are seen once, and are the same object each time."""
    seen: dict[int, Seen] = {}

    def see(block: Indices) -> Seen:
        start = int(block[0])
        if start not in seen:
            seen[start] = test.see(block)
        return seen[start]

    return replace(test, see=see)


def remember(detector: Detector, found: dict[tuple[int, bool], Found]) -> None:
    """What a detector finds of the same images, with or without their class, is the same whatever the alignment."""
    find = detector.find

    def again(seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        key = (id(seen), given is None)
        if key not in found:
            found[key] = find(seen, given, hints)
        return found[key]

    detector.find = again  # type: ignore[method-assign]


def by_image(figures: dict[str, Any], outcomes: Sequence[Outcome]) -> float:
    """Mean image AUROC of the classes, each as often as it has test images."""
    values = [each["image_auroc"] for each in figures["per_class"].values()]
    return float(np.average(values, weights=[len(each.labels) for each in outcomes]))


def shown(name: str, figures: Sequence[float | None], mean: dict[str, float | None], cost: str) -> None:
    """A line."""
    image, weighed, pooled, precision, pixel, pooled_pixel = (
        " - " if each is None else f"{each:.4f}" for each in figures
    )
    alarms, found = mean["false_alarm_rate"], mean["detection_rate"]
    print(
        f"{name:14} {image:>6} {weighed:>6} {pooled:>6} {precision:>6} |           {pixel:>6} {pooled_pixel:>6} | "
        f"{alarms:6.3f} {found:6.3f} | {cost}",
        flush=True,
    )


def given(outcomes: Sequence[Outcome], labels: np.ndarray) -> None:
    """With the class given: the paper's CaDA-A."""
    scores = np.concatenate([each.oracle_scores for each in outcomes])
    mean = np.mean([auroc(each.labels, each.oracle_scores) for each in outcomes])
    print(
        f"{'  class given':14} {mean:.4f}      - {auroc(labels, scores):.4f} {average_precision(labels, scores):.4f}"
    )


def p_values(detector: Detector, tests: Sequence[TestClass], labels: np.ndarray) -> None:
    """Ranked by p-value and not by standardised score."""
    values: list[Doubles] = []
    for test in tests:
        for start in range(0, len(test.view), detector.images_at_once):
            block = np.arange(start, min(start + detector.images_at_once, len(test.view)))
            values.append(-detector.judge(test.see(block)).p_value)
    scores = np.concatenate(values)
    print(
        f"{'  by p-value':14}      -      - {auroc(labels, scores):.4f} {average_precision(labels, scores):.4f}"
    )


def overhead(detector: Detector, params: Params, tests: Sequence[TestClass]) -> float:
    """What alignment adds to judging one image, as a share of the backbone's pass over it; the quickest of 20."""
    if not detector.alignment.measures:
        return 0.0
    view = tests[0].view
    seen = tests[0].see(np.arange(min(16, len(view)))).some(np.array([0]))
    arrays = {name: np.asarray(each) for name, each in seen.arrays.items()}
    backbone = build_backbone(params.features, params.seed)
    image, place = view.read(0), np.zeros(1, np.int64)

    def expected() -> None:
        encoded = detector.learner.encoded(arrays) if detector.alignment.asks else None
        detector.alignment.expected(encoded, place)

    return quickest(expected) / quickest(lambda: backbone.features([image]))


def quickest(run: object) -> float:
    """Seconds."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        run()  # type: ignore[operator]
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
