"""R[t, ·]: evaluation says what serving would say, and its figures add up."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evernorm.data import synthetic
from evernorm.data.experience import TestView
from evernorm.evaluation.judge import Outcome, TestClass, judge
from evernorm.evaluation.report import answered, report
from evernorm.methods.detector import Seen
from evernorm.methods.learner import Traits
from evernorm.metrics.pixel import PixelMetrics

NAMES = ("textile", "machined_part")


class Pictures(TestView):
    """A test view over images in memory."""

    def read(self, index):
        return self.records[index][0]

    def mask(self, index):
        return self.records[index][1]

    @property
    def labels(self):
        return np.array([record[2] for record in self.records])


class Record(tuple):
    """Image, mask, label; `mask` is what evaluation asks of a record."""

    @property
    def mask(self):
        return "known" if self[2] else None


@pytest.fixture(scope="module")
def states(learner_for, lessons):
    """PatchCoreCL's of two classes."""
    learner = learner_for("patchcore_cl")
    return [learner.learn(lessons[name]) for name in NAMES]


@pytest.fixture(scope="module")
def detector(learner_for, states):
    """PatchCoreCL after two classes."""
    return learner_for("patchcore_cl").detector_of(states)


@pytest.fixture(scope="module")
def tests(backbone):
    """Four good and four defective images of two classes, with masks, and their stored features."""
    made = []
    for kind in NAMES:
        rng = np.random.default_rng([5, len(kind)])
        defect = synthetic.DEFECTS[kind][0]
        pictures = [(*synthetic.draw(kind, rng, d), d is not None) for d in [None, defect] * 4]
        view = Pictures(kind, None, tuple(Record(p) for p in pictures))
        seen = Seen({"features": backbone.features([p[0] for p in pictures])}, kind)
        made.append(TestClass(view, seen.some))
    return made


@pytest.fixture(scope="module")
def judged(detector, tests):
    """Outcomes, and the pixels of all classes."""
    return judge(detector, tests, 0.3)


# -- judging ------------------------------------------------------------------------------------------


def test_evaluation_says_what_predict_says(detector, judged, tests):
    """The stored features lead to the figures that serving the same images would give."""
    for outcome, test in zip(judged[0], tests, strict=True):
        predictions = detector.predict([test.view.read(i) for i in range(8)])
        np.testing.assert_allclose(outcome.scores, [p.score for p in predictions], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(outcome.decisions, [p.anomalous for p in predictions])
        assert [p.routed_class for p in predictions] == [NAMES[place] for place in outcome.place]
        assert not outcome.unknown.any()


def test_hints_of_the_experience_before_change_nothing(learner_for, states, detector, tests):
    """Judging with what an earlier bank knows of the images equals judging from nothing."""
    one = learner_for("patchcore_cl").detector_of(states[:1])
    before = judge(one, tests[:1], 0.3)[0][0]
    assert (8, 1) == before.hints["statistics"].shape
    hinted = TestClass(tests[0].view, tests[0].see, before.hints)
    fresh, resumed = (judge(detector, [test], 0.3)[0][0] for test in (tests[0], hinted))
    np.testing.assert_array_equal(fresh.place, resumed.place)
    np.testing.assert_array_equal(fresh.scores, resumed.scores)


@pytest.mark.parametrize("at_once", [1, 3])
def test_where_a_block_of_images_ends_changes_nothing(detector, judged, tests, monkeypatch, at_once):
    """Every image once, in order, and progress over all classes."""
    monkeypatch.setattr(type(detector), "images_at_once", at_once)
    steps = []
    outcomes, pooled = judge(detector, tests, 0.3, lambda *step: steps.append(step))
    assert (16, 16) == steps[-1]
    assert [(min(at_once * k, 8), 16) for k in range(1, -(-8 // at_once) + 1)] == steps[: len(steps) // 2]
    for one, other in zip(judged[0], outcomes, strict=True):
        np.testing.assert_array_equal(one.place, other.place)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-4)
        assert one.pixels.auroc == pytest.approx(other.pixels.auroc, abs=1e-4)
    assert judged[1].compute().auroc == pytest.approx(pooled.compute().auroc, abs=1e-4)


def test_a_class_without_masks_has_no_figures_of_pixels(detector, tests):
    """And does not count among all pixels."""
    view = Pictures(NAMES[0], None, tuple(r for r in tests[0].view.records if r.mask is None))
    (outcome,), pooled = judge(detector, [TestClass(view, tests[0].see)], 0.3)
    assert (None, None, None) == (outcome.pixels, outcome.oracle_pixels, pooled.compute().auroc)


# -- the report ---------------------------------------------------------------------------------------


def test_the_report_adds_up(detector, judged):
    """Means, confusion, routing accuracy and bytes follow from the outcomes; pooled uses one threshold."""
    outcomes, pooled = judged
    figures = report(detector, outcomes, pooled)
    per_class = figures["per_class"]
    assert figures["mean"]["image_auroc"] == pytest.approx(
        np.mean([v["image_auroc"] for v in per_class.values()])
    )
    kept = sum(v["bytes"] for v in per_class.values()) + detector.alignment.nbytes
    assert kept == figures["bank_bytes"] == detector.bank_bytes
    assert [8, 8] == [sum(row.values()) for row in figures["confusion"].values()]
    right = sum(row[name] for name, row in figures["confusion"].items())
    assert right / 16 == figures["routing_accuracy"]
    labels, scores = (np.concatenate([getattr(o, what) for o in outcomes]) for what in ("labels", "scores"))
    assert roc_auc_score(labels, scores) == pytest.approx(figures["pooled"]["image_auroc"])
    assert per_class["textile"]["pixel_auroc"] is not None
    for figures_of in per_class.values():
        assert figures_of["image_auroc"] == figures_of["image_auroc_scored"]
    assert figures["unknown"] is None  # PatchCoreCL calls nothing unknown


def test_a_method_that_does_not_route_has_no_figures_of_routing(learner_for, states, tests):
    """Nor bytes of a class; the class that is given is the only one."""
    finetune = learner_for("finetune").detector_of(states)
    outcomes, pooled = judge(finetune, tests, 0.3)
    figures = report(finetune, outcomes, pooled)
    assert (None, None, None) == tuple(figures[what] for what in ("routing_accuracy", "confusion", "unknown"))
    assert {None} == {each["bytes"] for each in figures["per_class"].values()}
    assert finetune.bank_bytes == figures["bank_bytes"] > 0
    for outcome in outcomes:
        np.testing.assert_array_equal(outcome.scores, outcome.oracle_scores)


def outcome_of(name, labels, scores, unknown, place=None, left_out=None):
    """An outcome by hand; an unknown image is an alarm."""
    labels, scores, unknown = np.array(labels, bool), np.array(scores, float), np.array(unknown, bool)
    places = np.zeros(len(labels), np.int64) if place is None else np.array(place)
    return Outcome(
        name=name,
        labels=labels,
        place=places,
        unknown=unknown,
        left_out=None if left_out is None else np.array(left_out, bool),
        raw=scores,
        scores=scores,
        oracle_scores=scores,
        probabilities=np.zeros(len(labels)),
        decisions=unknown | (scores > 3),
        threshold=3.0,
        hints={},
        pixels=None,
        oracle_pixels=None,
    )


def reported(*outcomes, **traits):
    names = tuple(outcome.name for outcome in outcomes)
    detector = SimpleNamespace(
        traits=Traits(open_set=True, **traits), classes=names, bytes_by_class={}, bank_bytes=7
    )
    return report(detector, outcomes, PixelMetrics(0.3))


def test_unknown_images_rank_above_all_scores():
    """As they are answered: alarms without a score. One figure ranks them by the score they would have had."""
    # A defect that is called unknown although it scores low; a good image that scores high.
    figures = reported(outcome_of("a", [0, 0, 1, 1], [1.0, 4.0, 0.5, 5.0], [0, 0, 1, 0]))
    each = figures["per_class"]["a"]
    assert (1.0, 0.5) == (each["image_auroc"], each["image_auroc_scored"])
    assert 1.0 == each["image_ap"] == each["image_f1max"] == figures["pooled"]["image_auroc"]
    assert (0.5, 1.0) == (each["false_alarm_rate"], each["detection_rate"])
    assert 0.5 == figures["oracle"]["per_class"]["a"]["image_auroc"]
    # A good image that is called unknown ranks with the defects that are.
    wrong = reported(outcome_of("a", [0, 0, 1, 1], [1.0, -4.0, 0.5, 5.0], [0, 1, 1, 0]))
    assert 0.625 == wrong["per_class"]["a"]["image_auroc"]


def test_the_top_of_the_ranking_is_above_the_highest_score_and_shared():
    """Also where every score is negative, and where there is none."""
    np.testing.assert_array_equal([1, 9, 10, 10], answered(np.array([1.0, 9, 0, -5]), np.array([0, 0, 1, 1])))
    np.testing.assert_array_equal([-3, 1], answered(np.array([-3.0, -2]), np.array([False, True])))
    assert (0,) == answered(np.empty(0), np.empty(0, bool)).shape


def test_confusion_names_only_the_places_where_images_went():
    """It grows with the classes, not with their square."""
    figures = reported(
        outcome_of("a", [0, 1, 1], [0, 1, 2], [0, 0, 0], place=[0, 2, 2]),
        outcome_of("b", [0], [0], [0], place=[1]),
        outcome_of("c", [], [], [], place=np.empty(0, np.int64)),
    )
    assert {"a": {"a": 1, "c": 2}, "b": {"b": 1}, "c": {}} == figures["confusion"]
    assert 0.5 == figures["routing_accuracy"]


def test_shares_of_unknown_images_are_told_per_class_and_as_means():
    """Rightly and wrongly; what cannot be measured is None and does not count."""
    rates = ("recognised", "good_rate", "defective_rate")
    figures = reported(
        outcome_of("a", [0, 0, 1, 1], [0] * 4, [1, 0, 1, 1], left_out=[1, 1, 1, 0]),
        outcome_of("b", [0, 0], [0] * 2, [0, 0], left_out=[1, 0]),
        outcome_of("c", [], [], []),
    )["unknown"]
    expected = {"a": (0.75, 0.5, 1.0), "b": (0.5, 0.0, None), "c": (None, None, None)}
    assert {name: dict(zip(rates, values, strict=True)) for name, values in expected.items()} == figures[
        "per_class"
    ]
    assert (0.625, 0.25, 1.0) == tuple(figures[rate] for rate in rates)
    alone = reported(outcome_of("a", [0, 0], [0, 0], [0, 0]))["unknown"]
    assert (None, 0.0, None) == tuple(alone[rate] for rate in rates)
