"""Stage `evaluate`: assemble the bank, measure R[t, ·] on every class learned so far, store the model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evernorm.calibration.weibull import Calibration
from evernorm.data.experience import TestView
from evernorm.data.manifest import Manifest
from evernorm.data.profile import Profile
from evernorm.errors import StateError
from evernorm.evaluation.judge import Outcome, TestClass, judge
from evernorm.evaluation.report import report
from evernorm.files import START, StoredArrays, read_arrays, read_json, sha256_file, write_arrays, write_json
from evernorm.methods.bank import save_bank
from evernorm.methods.detector import Detector, Seen
from evernorm.methods.learner import ClassState
from evernorm.methods.registry import learner_of
from evernorm.metrics.continual import forgetting_since
from evernorm.params.groups import Params
from evernorm.types import Arrays, Image, Indices
from tasks.stages.learning import CARRY, record_lineage, trained_of
from tasks.stages.stage import main, progress_bar, result_params
from tasks.workspace.paths import Paths

EXAMPLES = 8  # test images whose maps are kept for pictures
PACKAGES = ("numpy", "faiss-cpu", "scipy", "timm", "torch")
_METRIC = "image_auroc"


def evaluate(name: str, params: Params, paths: Paths) -> None:
    """Measure the bank after learning `name`."""
    previous = params.stream[name].after
    before: dict[str, Any] = read_json(paths.bank(previous, "evaluation") / "links.json")
    names = [*(link["class"] for link in before["links"]), name]
    detector = learner_of(params).detector_of([_decided(state_of(each, paths), params) for each in names])
    tests = tests_of(names, previous, detector, paths)
    with progress_bar(f"{name}: scores") as progress:
        outcomes, pooled = judge(detector, tests, params.evaluate.aupro_fpr_limit, progress)
    figures = report(detector, outcomes, pooled)
    row = {each: figures["per_class"][each][_METRIC] for each in names}
    learned, best = {**before["learned"], name: row[name]}, before["best"]
    metrics = {
        "class": name,
        "classes": names,
        "alignment": detector.learner.params.calibration.alignment.value,
        **figures,
        "row": {_METRIC: row},
        "learned": {_METRIC: learned},
        "forgetting": forgetting_since(
            [learned[each] for each in names], [best.get(each) for each in names], list(row.values())
        ),
    }
    folder = paths.bank(name, "evaluation")
    # The links pin what this stage read of earlier classes without declaring it to DVC, which cannot name
    # "all classes before this one": whatever changes there changes the links, and so reaches this stage.
    links = [*before["links"], {**_link(name, paths), "false_alarm_rate": params.own_rates.get(name)}]
    highest = {each: _higher(best.get(each), row[each]) for each in names}
    write_json(folder / "links.json", {"links": links, "learned": learned, "best": highest})
    write_arrays(
        folder / "hints.safetensors",
        {f"{each.name}/{key}": array for each in outcomes for key, array in each.hints.items()},
    )
    write_arrays(folder / "outcomes.safetensors", _arrays(outcomes))
    write_arrays(
        folder / "thresholds.safetensors",
        {each.name: np.array([each.threshold]) for each in outcomes if each.threshold is not None},
    )
    write_arrays(folder / "examples.safetensors", _examples(detector, tests[-1], outcomes[-1]))
    record_lineage(
        "evaluate",
        detector.learner.revisions,
        folder,
        paths,
        inputs=[paths.manifest(each) for each in names],
        params=result_params(params),
        packages=(*PACKAGES, *detector.learner.packages, *detector.learner.engines),
        weights=detector.learner.weights,
    )
    save_bank(detector, paths.model(name))
    write_json(paths.metrics(name), metrics)


def state_of(name: str, paths: Paths) -> ClassState:
    """What the stages before stored of a class; arrays are read when they are needed."""
    knowledge, carry = paths.bank(name, "knowledge"), paths.bank(name, "carry") / CARRY
    return ClassState(
        name,
        Calibration.load(paths.bank(name, "weibull")),
        StoredArrays(knowledge / "entry.safetensors"),
        trained_of(name, paths),
        StoredArrays(carry) if carry.is_file() else {},
        read_json(knowledge / "entry.json")["weights"],
        Profile.of(Manifest.load(paths.manifest(name))),
        StoredArrays(knowledge / "evidence.safetensors"),
    )


def _decided(state: ClassState, params: Params) -> ClassState:
    """With the false-alarm rate that a person has set for the class, if any."""
    rate = params.own_rates.get(state.name)
    if rate is None or state.calibration is None:
        return state
    return replace(state, calibration=state.calibration.at_rate(rate))


def tests_of(names: list[str], previous: str, detector: Detector, paths: Paths) -> list[TestClass]:
    """The test classes as they were seen, and what the experience before knows of them."""
    hints: dict[str, dict[str, Any]] = {}
    if previous != START:
        for key, array in read_arrays(paths.bank(previous, "evaluation") / "hints.safetensors").items():
            of, _, what = key.partition("/")
            hints.setdefault(of, {})[what] = array
    return [_test(name, detector, hints.get(name, {}), paths) for name in names]


def _test(name: str, detector: Detector, hints: Arrays, paths: Paths) -> TestClass:
    view = TestView.of(Manifest.load(paths.manifest(name)), paths.data(name))

    def again(numbers: Indices) -> list[Image]:
        return [view.read(int(number)) for number in numbers]

    if not detector.traits.fixed_features:
        return TestClass(view, lambda numbers: detector.see(again(numbers)), hints)
    folder = paths.features(name)
    record = read_json(folder / "features.json")
    if record["weights"] != detector.learner.weights:
        raise StateError(
            f"{folder} was seen with weights {record['weights'][:12]}, the backbone has "
            f"{detector.learner.weights[:12]}; run the stage features again"
        )
    arrays = {key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in record["arrays"]}
    return TestClass(view, Seen(arrays, name, again).some, hints)


def _link(name: str, paths: Paths) -> dict[str, Any]:
    folders = {
        "prompts": paths.bank(name, "prompts"),
        "knowledge": paths.bank(name, "knowledge"),
        "weibull": paths.bank(name, "weibull"),
        "features": paths.features(name),
    }
    hashes = {
        what: {
            file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.name != "lineage.json"
        }
        for what, folder in folders.items()
    }
    return {"class": name, "manifest": sha256_file(paths.manifest(name)), **hashes}


def _higher(one: float | None, other: float | None) -> float | None:
    present = [value for value in (one, other) if value is not None]
    return max(present, default=None)


def _arrays(outcomes: list[Outcome]) -> Mapping[str, Any]:
    """Labels, scores and decisions of every test image, named ``class/what``."""
    kinds = ("labels", "place", "unknown", "raw", "scores", "oracle_scores", "probabilities", "decisions")
    return {f"{outcome.name}/{kind}": getattr(outcome, kind) for outcome in outcomes for kind in kinds}


def _examples(detector: Detector, test: TestClass, outcome: Outcome) -> Mapping[str, Any]:
    """A few test images of the new class with map and ground truth: the anomalous ones spread over the scores."""
    anomalous, good = np.flatnonzero(outcome.labels), np.flatnonzero(~outcome.labels)
    ranked = anomalous[np.argsort(-outcome.scores[anomalous], kind="stable")]
    if len(ranked):
        ranked = ranked[np.unique(np.linspace(0, len(ranked) - 1, EXAMPLES - 2).astype(int))]
    arrays: dict[str, Any] = {}
    for place, number in enumerate([*ranked, *good[:2]]):
        image = test.view.read(int(number))
        judged = detector.judge(test.see(np.array([number])))
        mask, spots = test.view.mask(int(number)), judged.map(0, (image.shape[0], image.shape[1]))
        arrays[f"{place}/image"] = image
        if spots is not None:
            arrays[f"{place}/map"] = spots
        arrays[f"{place}/score"] = outcome.scores[number : number + 1]
        arrays[f"{place}/label"] = outcome.labels[number : number + 1]
        if mask is not None:
            arrays[f"{place}/mask"] = mask
    return arrays


if __name__ == "__main__":
    main(evaluate)
