"""One threshold for all classes, by every alignment: classes that were learned once are read in each way.

Mean over classes (each alike; each by its test images, as the pooled figure weighs them) and pooled (all classes as one test
set, one threshold): image AUROC, pixel AP; false alarms on good test
images and defects found, at the rate that params.yaml asks for; seconds to fit, and what an image costs more, as a share
of the backbone's pass. Of each image the method's own scores are computed once. The classes are those of a workspace, or are
learned first, in memory.

    python benchmarks/alignment.py --workspace WORKSPACE [--kinds none,weibull,cada] [--seeds 3] [--set calibration.spread=deviation]
    python benchmarks/alignment.py --data FOLDER --unified --set method=uniad --set uniad.prompts.continual=joint
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evernorm.data.experience import Experience, TestView
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.evaluation.judge import Outcome, TestClass, judge
from evernorm.evaluation.report import report
from evernorm.features.backbone import build_backbone
from evernorm.files import START
from evernorm.methods.detector import Detector, Found, Seen
from evernorm.methods.learner import NOTHING, ClassState
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learner_of
from evernorm.metrics.image import auroc, average_precision
from evernorm.params.file import load_params, override, parse_params
from evernorm.params.groups import AlignmentKind, Params
from evernorm.params.model import default_params
from evernorm.types import Arrays, Doubles, Indices

TRAINED = (
    AlignmentKind.CADA,
    AlignmentKind.BOTH,
    AlignmentKind.CADA_WEIBULL,
)  # whose regressor depends on a seed
TITLE = f"{'':14} {'mean':>6} {'by im.':>6} {'pooled':>6} {'p. AP':>6} | pixel AP: {'mean':>6} {'pooled':>6} | alarms  found | fit    more"


def main() -> None:
    """Print a line an alignment, and a seed where one counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workspace", type=Path, help="its classes")
    source.add_argument("--data", type=Path, help="a folder of classes, learned first")
    parser.add_argument("--classes", help="a,b,c of the folder; all without it")
    parser.add_argument("--unified", action="store_true", help="trained once, for all (continual=joint)")
    parser.add_argument("--kinds", default=",".join(AlignmentKind))
    parser.add_argument("--seeds", type=int, default=1, help="of the regressor")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    if options.workspace:
        params, states, tests = stored(options.workspace.resolve(), options.settings)
    else:
        params, states, tests = learned(options.data, options.classes, options.unified, options.settings)
    found: dict[tuple[int, bool], Found] = {}
    print(f"{params.method}, {len(states)} classes\n{TITLE}", flush=True)
    for kind in options.kinds.split(","):
        for seed in range(params.seed, params.seed + (options.seeds if kind in TRAINED else 1)):
            chosen = changed(params, [f"calibration.alignment={kind}", f"seed={seed}"])
            title = f"{kind}, {seed}" if kind in TRAINED else kind
            line(title, chosen, states, tests, found)


def stored(root: Path, settings: Sequence[str]) -> tuple[Params, list[ClassState], list[TestClass]]:
    """The classes of a workspace."""
    from tasks.stages.evaluate import state_of, tests_of
    from tasks.workspace.paths import Paths

    paths = Paths(root)
    params = changed(load_params(root / "params.yaml"), settings)
    states = [state_of(name, paths) for name in params.order]
    detector = learner_of(params).detector_of(states)
    return params, states, [once(test) for test in tests_of([*params.order], START, detector, paths)]


def learned(
    data: Path, classes: str | None, unified: bool, settings: Sequence[str]
) -> tuple[Params, list[ClassState], list[TestClass]]:
    """The classes of a folder, learned one after another as the stages would."""
    names = classes.split(",") if classes else sorted(read_classes(data))
    manifests = validate(data, names)
    params = changed(default_params(), settings)
    learner = learner_of(params)
    trains = [Experience.of(manifests[name], data / name) for name in names]
    lessons = [Lesson(train, earlier=tuple(trains[:place])) for place, train in enumerate(trains)]
    states: list[ClassState] = []
    started = time.perf_counter()
    of_all = learner.train(lessons[-1]) if unified else None
    for lesson in lessons:
        before = states[-1].carry if states else NOTHING
        states.append(learner.learn(lesson, before, trained=of_all))
        print(f"{lesson.name}: {time.perf_counter() - started:.0f} s", flush=True)
    views = [TestView.of(manifests[name], data / name) for name in names]
    detector = learner.detector_of(states)
    return params, states, [once(TestClass(view, seeing(detector, view))) for view in views]


def seeing(detector: Detector, view: TestView) -> Callable[[Indices], Seen]:
    """Image numbers → those images as the detector sees them."""
    return lambda numbers: detector.see([view.read(int(number)) for number in numbers])


def changed(params: Params, settings: Sequence[str]) -> Params:
    """With other values."""
    return parse_params(override(params.model_dump(mode="json"), settings))


def line(
    title: str,
    params: Params,
    states: Sequence[ClassState],
    tests: Sequence[TestClass],
    found: dict[tuple[int, bool], Found],
) -> None:
    """Read all classes in one way."""
    kind = params.calibration.alignment
    started = time.perf_counter()
    detector = learner_of(params).detector_of(states)
    seconds = time.perf_counter() - started
    remember(detector, found)
    outcomes, pixels = judge(detector, tests, params.evaluate.aupro_fpr_limit)
    figures = report(detector, outcomes, pixels)
    pooled, mean = figures["pooled"], figures["mean"]
    images = (mean["image_auroc"], by_image(figures, outcomes), pooled["image_auroc"], pooled["image_ap"])
    cost = f"{seconds:5.1f} s {overhead(detector, params, tests):5.1%}"
    shown(title, [*images, mean["pixel_ap"], pooled["pixel_ap"]], mean, cost)
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
