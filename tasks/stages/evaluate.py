"""Stage `evaluate`: assemble the bank, measure R[t, ·] on every class learned so far, store the model."""

from typing import Any

import numpy as np

from evernorm.calibration.weibull import Calibrations
from evernorm.data.experience import TestView
from evernorm.data.manifest import Manifest
from evernorm.evaluation.judge import Outcome, TestClass, judge, report
from evernorm.features.backbone import build_backbone
from evernorm.files import START, read_arrays, read_json, sha256_file, write_arrays, write_json
from evernorm.memory.bank import Entry
from evernorm.methods.memory.base import MemoryDetector
from evernorm.methods.memory.remembered import Remembered, Settings
from evernorm.methods.presets import DETECTORS
from evernorm.metrics.continual import forgetting
from evernorm.params.groups import Params
from evernorm.prompts.prompt import Prompt
from tasks.stages.stage import Paths, before, main, progress_bar

EXAMPLES = 8  # test images whose maps are kept for pictures


def evaluate(name: str, params: Params, paths: Paths) -> None:
    """Measure the bank after learning `name`."""
    previous = before(name, params)
    chain: dict[str, Any] = read_json(paths.bank(previous, "evaluation") / "chain.json")
    names = [*(link["class"] for link in chain["links"]), name]
    detector = assemble(names, params, paths)
    view = TestView.of(Manifest.load(paths.manifest(name)), paths.data(name))
    with progress_bar(f"{name}: test features") as progress:
        detector.store(view, paths.features(name), progress)
    tests = _tests(names, previous, detector, paths)
    limit = params.evaluate.aupro_fpr_limit
    with progress_bar(f"{name}: scores") as progress:
        outcomes, pooled = judge(detector, tests, limit, progress)
    figures = report(detector, outcomes, pooled)
    row = [figures["per_class"][each]["image_auroc"] for each in names]
    matrix = [*chain["matrix"], row]
    metrics = {
        "class": name,
        "classes": names,
        **figures,
        "matrix": {"image_auroc": matrix},
        "forgetting": forgetting(matrix),
    }
    folder = paths.bank(name, "evaluation")
    # The links pin what this stage read of earlier classes without declaring it to DVC, which cannot name
    # "all classes before this one": whatever changes there changes the chain, and so reaches this stage.
    links = [*chain["links"], _link(name, paths)]
    write_json(folder / "chain.json", {"links": links, "matrix": matrix})
    write_arrays(folder / "statistics.safetensors", {each.name: each.statistics for each in outcomes})
    write_arrays(folder / "outcomes.safetensors", _arrays(outcomes))
    write_arrays(folder / "thresholds.safetensors", _thresholds(detector))
    write_arrays(folder / "examples.safetensors", _examples(detector, tests[-1], outcomes[-1]))
    detector.save(paths.model(name))
    write_json(paths.metrics(name), metrics)


def assemble(names: list[str], params: Params, paths: Paths) -> MemoryDetector:
    """The bank of these classes, reading no more rows than the method reads of each."""
    detector = DETECTORS[params.method]
    entries = names[-1:] if detector.cumulative else names
    folders = [paths.bank(each, "knowledge") for each in entries]
    sizes = [read_json(folder / "entry.json")["rows"] for folder in folders]
    rows = detector.rows_read(params.knowledge.budget, sizes)
    remembered = [
        Remembered(
            Entry.load(folder, limit),
            Calibrations.load(paths.bank(each, "weibull")),
            Prompt.find(paths.bank(each, "prompts")),
        )
        for each, folder, limit in zip(entries, folders, rows, strict=True)
    ]
    return detector(build_backbone(params.features, params.seed), Settings.of(params), remembered)


def _tests(names: list[str], previous: str, detector: MemoryDetector, paths: Paths) -> list[TestClass]:
    """The test classes with stored features and, where memories only shrink, the statistics of the experience before."""
    known = {}
    if previous != START and detector.only_shrinks:
        known = read_arrays(paths.bank(previous, "evaluation") / "statistics.safetensors")
    tests = []
    for each in names:
        view = TestView.of(Manifest.load(paths.manifest(each)), paths.data(each))
        seen = detector.stored(view, paths.features(each))
        tests.append(TestClass(view, seen, known.get(each, np.empty((len(view), 0), np.float32))))
    return tests


def _link(name: str, paths: Paths) -> dict[str, Any]:
    folders = {
        "prompt": paths.bank(name, "prompts"),
        "entry": paths.bank(name, "knowledge"),
        "calibration": paths.bank(name, "weibull"),
        "features": paths.features(name),
    }
    hashes = {
        what: {
            file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.name != "lineage.json"
        }
        for what, folder in folders.items()
    }
    return {"class": name, "manifest": sha256_file(paths.manifest(name)), **hashes}


def _arrays(outcomes: list[Outcome]) -> dict[str, Any]:
    """Labels, scores and decisions of every test image, named ``class/what``."""
    kinds = ("labels", "place", "scores", "oracle_scores", "probabilities", "decisions")
    return {f"{outcome.name}/{kind}": getattr(outcome, kind) for outcome in outcomes for kind in kinds}


def _thresholds(detector: MemoryDetector) -> dict[str, Any]:
    """Standardised decision threshold of each class."""
    return {
        visible.name: np.array([visible.calibration.standardise(visible.calibration.threshold)])
        for visible in detector.visible
    }


def _examples(detector: MemoryDetector, test: TestClass, outcome: Outcome) -> dict[str, Any]:
    """A few test images of the new class with map and ground truth: the anomalous ones spread over the scores."""
    anomalous, good = np.flatnonzero(outcome.labels), np.flatnonzero(~outcome.labels)
    ranked = anomalous[np.argsort(-outcome.scores[anomalous], kind="stable")]
    spread = (
        ranked[np.unique(np.linspace(0, max(len(ranked) - 1, 0), EXAMPLES - 2).astype(int))]
        if len(ranked)
        else ranked
    )
    arrays: dict[str, Any] = {}
    for place, number in enumerate([*spread, *good[:2]]):
        image = test.view.read(int(number))
        scored = detector.score(test.seen.block(slice(number, number + 1)))
        mask = test.view.mask(int(number))
        arrays[f"{place}/image"] = image
        arrays[f"{place}/map"] = detector.map_of(scored.distances[0], int(scored.place[0]), image.shape[:2])
        arrays[f"{place}/score"] = outcome.scores[number : number + 1]
        arrays[f"{place}/label"] = outcome.labels[number : number + 1]
        if mask is not None:
            arrays[f"{place}/mask"] = mask
    return arrays


if __name__ == "__main__":
    main(evaluate)
