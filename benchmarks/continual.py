"""What a method with gradients learns, forgets and costs, in memory: each class as it was new and after the last.

Beside it what is trivial; it ends with forgetting, routing, one threshold for all without and with alignment, seconds a class
and an image's time as a multiple of the backbone's pass. Variants are those of VARIANTS below, all without --variants.

    python benchmarks/continual.py --method diffcont --data FOLDER [--classes a,b] [--variants gated,none] [--set ...]
"""

import argparse
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from evernorm.data.experience import Experience, TestView
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.evaluation.judge import Outcome, TestClass, judge
from evernorm.evaluation.report import report
from evernorm.features.backbone import build_backbone
from evernorm.features.extract import collect
from evernorm.methods.detector import Detector, Seen
from evernorm.methods.diffcont import diffcont, replay
from evernorm.methods.learner import NOTHING, ClassState, Learner
from evernorm.methods.lesson import Lesson
from evernorm.methods.registry import learner_of
from evernorm.metrics.continual import chaudhry
from evernorm.metrics.image import auroc, average_precision, f1_max, prevalence, trivial_f1
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params
from evernorm.types import Floats

RECONSTRUCTION = {
    name: f"prompts.continual={kind}"
    for name, kind in {
        "buffer": "buffer",
        "finetune": "finetune",
        "separate": "separate",
        "unified": "joint",  # trained once, for all classes
    }.items()
}
VARIANTS = {
    "diffcont": {
        "gated": "prompts.replay.kind=samples",
        "ungated": "prompts.replay.gate=1",  # the first samples drawn
        "none": "prompts.replay.kind=none",  # fine-tuning
        "joint": "prompts.replay.kind=images",  # the images of the classes before instead of samples of them
    },
    "revdist": RECONSTRUCTION,
    "recontrast": RECONSTRUCTION,
    "uniad": RECONSTRUCTION,
}


class Decoded(Experience):
    """Images that are decoded once."""

    read = cache(Experience.read)


def main() -> None:
    """Print a table a variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--classes", help="a,b,c; all without it")
    parser.add_argument("--method", choices=VARIANTS, default="diffcont")
    parser.add_argument("--variants", help="a,b; all without it")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    names = options.classes.split(",") if options.classes else sorted(read_classes(options.data))
    manifests = validate(options.data, names)
    trains = [Decoded.of(manifests[name], options.data / name) for name in names]
    lessons = [Lesson(train, earlier=tuple(trains[:place])) for place, train in enumerate(trains)]
    views = [TestView.of(manifests[name], options.data / name) for name in names]
    variants = VARIANTS[options.method]
    for variant in options.variants.split(",") if options.variants else variants:
        settings = [f"method={options.method}", *options.settings, f"{options.method}.{variants[variant]}"]
        params = parse_params(override(default_params().model_dump(mode="json"), settings))
        print(f"\n{variant}: {' '.join(settings)}", flush=True)
        stream(learner_of(params), lessons, views, variant == "unified")


def stream(learner: Learner, lessons: Sequence[Lesson], views: Sequence[TestView], unified: bool) -> None:
    """Learn the classes one after another, judge all that are known after each, and print what came of it."""
    params = learner.params
    made: list[float] = []
    watched(made)
    tests = [TestClass(view, seen_once(learner, view)) for view in views]
    states: list[ClassState] = []
    rows: list[list[float | None]] = []
    started = time.perf_counter()
    trained = learner.train(lessons[-1]) if unified else None
    for number, lesson in enumerate(lessons, 1):
        before = states[-1].carry if states else NOTHING
        states.append(learner.learn(lesson, before, trained=trained))
        seconds = time.perf_counter() - started
        if unified and number < len(lessons):
            continue
        detector = learner.detector_of(states)
        outcomes, pixels = judge(detector, tests[:number], params.evaluate.aupro_fpr_limit)
        found = report(detector, outcomes, pixels)
        rows.append([found["per_class"][name]["image_auroc"] for name in detector.classes])
        print(
            f"  {lesson.name}: {seconds:.0f} s, routing {found['routing_accuracy']:.3f}, AUROC {shown(rows[-1])}"
            f"{accepted(states[-1])}",
            flush=True,
        )
        started = time.perf_counter()
    if unified:
        rows = [rows[-1][: number + 1] for number in range(len(lessons))]
    table(rows, outcomes, found)
    raw, labels = unaligned(detector, tests), np.concatenate([each.labels for each in outcomes])
    print(f"  one threshold for all without alignment {auroc(labels, raw):.3f}")
    passed = sum(int(state.trained.get("replay.accepted", np.zeros(1)).sum()) for state in states)
    if made:
        print(f"  {sum(made):.0f} s for samples, {sum(made) / max(1, passed):.2f} s an accepted one")
    print(
        f"  {detector.shared_bytes / 1e6:.1f} MB, and {max(detector.bytes_by_class.values()):,} bytes a class"
    )
    images = [views[0].read(place) for place in range(16)]
    backbone = build_backbone(params.features)
    seconds = best(lambda: [detector.judge(detector.see([image])) for image in images])
    floor = best(lambda: [backbone.features([image]) for image in images])
    print(f"  {seconds / 16 * 1e3:.1f} ms an image alone, {seconds / floor:.2f} x the backbone's pass")


def unaligned(detector: Detector, tests: Sequence[TestClass]) -> Floats:
    """The method's own scores of all test images, not divided by what they have grown."""
    found = [detector.judge(each.see(np.arange(len(each.view)))) for each in tests]
    drift = detector.states[-1].carry.get("drift", np.ones(len(tests)))
    return np.concatenate([each.raw * drift[each.place] for each in found])


def table(rows: Sequence[Sequence[float | None]], outcomes: Sequence[Outcome], found: dict[str, Any]) -> None:
    """Each class when it was new and at the end, beside the trivial answer."""
    print(f"  {'class':12} new   AUROC  AP    F1    | all anomalous: AP, F1 | pixel AP")
    for place, each in enumerate(outcomes):
        labels, scores = each.labels, each.scores
        figures = [
            rows[place][place],
            rows[-1][place],
            average_precision(labels, scores),
            f1_max(labels, scores),
        ]
        trivial = [prevalence(labels), trivial_f1(labels)]
        pixel = found["per_class"][each.name]["pixel_ap"]
        print(f"  {each.name:12} {shown(figures)} | {shown(trivial)} | {shown([pixel])}")
    means, pooled = found["mean"], found["pooled"]
    print(
        f"  mean AUROC {shown([means['image_auroc']])}, AP {shown([means['image_ap']])}, one threshold for all "
        f"{shown([pooled['image_auroc']])}, forgetting {shown([chaudhry(rows)])}, routing {found['routing_accuracy']:.3f}"
    )


def watched(made: list[float]) -> None:
    """Note the seconds that samples take."""
    generate = replay.generate

    def timed(*given: Any) -> replay.Replay:
        started = time.perf_counter()
        result = generate(*given)
        made.append(time.perf_counter() - started)
        return result

    diffcont.generate = timed


def seen_once(learner: Learner, view: TestView) -> Any:
    """What test images are seen as, computed once."""
    eye, size = learner.eye(NOTHING), learner.params.features.batch_size
    arrays = collect(eye, view.read, len(view), size)
    return lambda numbers: Seen(arrays).some(numbers)


def best(run: Any) -> float:
    """The seconds of the quickest of three."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def accepted(state: ClassState) -> str:
    """How many samples of each class passed, of how many."""
    if "replay.accepted" not in state.trained:
        return ""
    pairs = zip(state.trained["replay.accepted"], state.trained["replay.tried"], strict=True)
    return ", accepted " + " ".join(f"{passed}/{tried}" for passed, tried in pairs)


def shown(values: Sequence[float | None]) -> str:
    """Three digits of each."""
    return "  ".join("  -  " if value is None else f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
