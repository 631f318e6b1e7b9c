"""The detectors: learning, forgetting nothing, judging, storing."""

from dataclasses import replace

import numpy as np
import pytest

from evernorm.calibration.weibull import calibrate
from evernorm.data.experience import TestView
from evernorm.errors import StateError
from evernorm.evaluation.judge import TestClass, judge, report
from evernorm.memory.bank import Entry
from evernorm.methods.memory.baselines import FineTune, Joint, Separate
from evernorm.methods.memory.patchcore_cl import PatchCoreCL
from evernorm.methods.memory.remembered import Remembered
from evernorm.methods.memory.seen import StoredSeen
from evernorm.methods.presets import DETECTORS, load_bank
from evernorm.params.groups import Device, Method

NAMES = ("textile", "machined_part", "blue_textile")
NOTHING = np.empty((8, 0), np.float32)  # known of routing statistics


@pytest.fixture(scope="module")
def entries(backbone, settings, experiences):
    """Every class learned once."""
    detector = PatchCoreCL(backbone, settings)
    return {name: detector.build([experiences[name]], name) for name in NAMES}


def detector_of(kind, entries, backbone, settings, names=NAMES):
    detector = kind(backbone, settings)
    for name in names:
        entry, training = entries[name]
        detector.append(Remembered(entry, calibrate(training, settings.weibull)))
    return detector


@pytest.fixture(scope="module")
def learned(entries, backbone, settings):
    """PatchCoreCL after three classes."""
    return detector_of(PatchCoreCL, entries, backbone, settings)


def test_every_method_of_params_has_its_detector():
    """No name in params.yaml without a class behind it."""
    assert set(Method) == set(DETECTORS)


def test_images_find_their_class_and_defects_score_higher(learned, drawn):
    """Routing is right for unseen images, and large holes stand out."""
    for place, kind in enumerate(("textile", "machined_part")):
        good = learned.predict(drawn(kind, 4, seed=50 + place))
        bad = learned.predict(
            drawn(kind, 4, seed=60 + place, defect={"textile": "hole", "machined_part": "rust"}[kind])
        )
        assert {kind} == {p.routed_class for p in good}
        assert np.mean([p.score for p in bad]) > np.mean([p.score for p in good])


def test_predictions_do_not_depend_on_company_or_order(learned, drawn):
    """Alone, together, reversed: the same answers."""
    images = [*drawn("textile", 2, seed=7), *drawn("machined_part", 2, seed=8)]
    together = learned.predict(images)
    backwards = learned.predict(images[::-1])[::-1]
    for image, one, two in zip(images, together, backwards, strict=True):
        alone = learned.predict([image])[0]
        for other in (two, alone):
            assert one.routed_class == other.routed_class
            np.testing.assert_allclose(
                [one.score, one.p_value], [other.score, other.p_value], rtol=1e-4, atol=1e-4
            )
            np.testing.assert_allclose(one.map, other.map, atol=1e-3)
        assert image.shape[:2] == one.map.shape


def test_learning_more_classes_never_touches_an_entry(backbone, settings, experiences, entries):
    """Entries are append-only: the same object, the same bytes, whatever comes after."""
    detector = PatchCoreCL(backbone, settings)
    detector.learn(experiences["textile"])
    first = detector.remembered[0].entry.rows.copy()
    np.testing.assert_array_equal(first, entries["textile"][0].rows)
    detector.learn(experiences["machined_part"])
    np.testing.assert_array_equal(first, detector.remembered[0].entry.rows)
    assert [60, 60] == [len(visible.memory.rows) for visible in detector.visible]
    np.testing.assert_array_equal(first[:60], detector.visible[0].memory.rows)


def test_the_budget_holds_whatever_the_number_of_classes(learned, settings):
    """M rows in all, so the same bytes after one class and after three."""
    assert settings.knowledge.budget * 152 * 4 == learned.memory_bytes
    assert [40, 40, 40] == [len(visible.memory.rows) for visible in learned.visible]
    assert [40] * 3 == [visible.calibration.size for visible in learned.visible]


def test_rows_are_the_coreset_a_smaller_budget_would_select(backbone, settings, experiences, entries):
    """A prefix of an entry is byte-identical to learning with that budget."""
    small = settings.knowledge.model_copy(update={"budget": 40})
    detector = PatchCoreCL(backbone, replace(settings, knowledge=small))
    entry, _ = detector.build([experiences["textile"]], "textile")
    np.testing.assert_array_equal(entry.rows, entries["textile"][0].rows[:40])


def test_a_class_cannot_be_learned_twice(learned, entries, settings, experiences):
    """A bank is append-only."""
    with pytest.raises(StateError, match="'textile' is in the bank already"):
        learned.learn(experiences["textile"])


def test_an_entry_of_other_features_is_refused(learned, entries, settings):
    """Columns must be the backbone's."""
    calibrations = learned.remembered[0].calibrations
    with pytest.raises(StateError, match="has 7 columns, the backbone gives 152"):
        learned.append(Remembered(Entry("other", np.zeros((9, 7), np.float32)), calibrations))


def test_an_empty_bank_says_so(backbone, settings):
    """No class, no answer."""
    with pytest.raises(StateError, match="the bank is empty"):
        PatchCoreCL(backbone, settings).predict([np.zeros((64, 64, 3), np.uint8)])


@pytest.mark.parametrize("kind", [PatchCoreCL, Separate, FineTune])
def test_a_stored_bank_answers_the_same_and_can_go_on(kind, entries, backbone, settings, drawn, tmp_path):
    """Save, load: the same predictions, the same bytes when saved again."""
    detector = detector_of(kind, entries, backbone, settings, NAMES[:2])
    detector.save(tmp_path / "a")
    loaded = load_bank(tmp_path / "a", Device.CPU)
    assert type(loaded) is kind
    images = drawn("textile", 3, seed=9)
    for one, two in zip(detector.predict(images), loaded.predict(images), strict=True):
        assert (one.routed_class, one.score, one.probability, one.anomalous) == (
            two.routed_class,
            two.score,
            two.probability,
            two.anomalous,
        )
        np.testing.assert_array_equal(one.map, two.map)
    loaded.save(tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [
        (tmp_path / "b" / f).read_bytes() for f in files
    ]


def test_a_stored_bank_goes_on_learning_like_one_that_was_never_stored(
    learned, entries, backbone, settings, tmp_path
):
    """What lies within the budget is all that later classes need."""
    detector_of(PatchCoreCL, entries, backbone, settings, NAMES[:2]).save(tmp_path)
    resumed = load_bank(tmp_path, Device.CPU)
    entry, training = entries[NAMES[2]]
    resumed.append(Remembered(entry, calibrate(training, settings.weibull)))
    for one, two in zip(learned.visible, resumed.visible, strict=True):
        np.testing.assert_array_equal(one.memory.rows, two.memory.rows)
        assert one.calibration.to_json() == two.calibration.to_json()


def test_a_bank_of_an_unknown_method_is_refused(learned, tmp_path):
    """A bank from a later version is not guessed at."""
    learned.save(tmp_path)
    record = (tmp_path / "bank.json").read_text()
    (tmp_path / "bank.json").write_text(record.replace("patchcore_cl", "telepathy"))
    with pytest.raises(StateError, match="method 'telepathy'"):
        load_bank(tmp_path)
    with pytest.raises(StateError, match=r"bank\.json is missing"):
        load_bank(tmp_path / "nowhere")


def test_fine_tuning_keeps_only_the_last_class(entries, backbone, settings):
    """That is what it is there to show."""
    detector = detector_of(FineTune, entries, backbone, settings)
    assert ["blue_textile"] == [visible.name for visible in detector.visible]
    assert 120 * 152 * 4 == detector.memory_bytes


def test_joint_training_holds_all_classes_in_one_memory(backbone, settings, experiences):
    """One memory of M rows over the images of every class so far."""
    detector = Joint(backbone, settings)
    detector.learn(experiences["textile"])
    detector.learn(experiences["machined_part"])
    (visible,) = detector.visible
    assert (120, 152) == visible.memory.rows.shape
    both, _ = detector.build([experiences["textile"], experiences["machined_part"]], "joint")
    np.testing.assert_array_equal(both.rows, visible.memory.rows)


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
def tests(backbone, drawn):
    """Four good and four defective images of two classes, with masks."""
    from evernorm.data import synthetic

    made = []
    for kind in NAMES[:2]:
        rng = np.random.default_rng([5, len(kind)])
        defect = synthetic.DEFECTS[kind][0]
        pictures = [(*synthetic.draw(kind, rng, d), d is not None) for d in [None, defect] * 4]
        view = Pictures(kind, None, tuple(Record(p) for p in pictures))
        made.append((view, backbone.features([p[0] for p in pictures])))
    return made


def test_evaluation_says_what_predict_says(entries, backbone, settings, tests):
    """The stored features lead to the figures that serving the same images would give."""
    detector = detector_of(PatchCoreCL, entries, backbone, settings, NAMES[:2])
    classes = [TestClass(view, StoredSeen(features), NOTHING) for view, features in tests]
    outcomes, _ = judge(detector, classes, 0.3)
    for outcome, (view, _) in zip(outcomes, tests, strict=True):
        predictions = detector.predict([view.read(i) for i in range(8)])
        np.testing.assert_allclose(outcome.scores, [p.score for p in predictions], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(outcome.decisions, [p.anomalous for p in predictions])
        assert [p.routed_class for p in predictions] == [NAMES[place] for place in outcome.place]


def test_bounds_of_the_experience_before_change_nothing(entries, backbone, settings, tests):
    """Judging with the routing bounds carried over equals judging from nothing."""
    one = detector_of(PatchCoreCL, entries, backbone, settings, NAMES[:1])
    view, features = tests[0]
    before = judge(one, [TestClass(view, StoredSeen(features), NOTHING)], 0.3)[0][0]
    two = detector_of(PatchCoreCL, entries, backbone, settings, NAMES[:2])
    fresh, resumed = (
        judge(two, [TestClass(view, StoredSeen(features), known)], 0.3)[0][0]
        for known in (NOTHING, before.statistics)
    )
    np.testing.assert_array_equal(fresh.place, resumed.place)
    np.testing.assert_array_equal(fresh.scores, resumed.scores)


def test_the_report_adds_up(entries, backbone, settings, tests):
    """Means, confusion, routing accuracy and bytes follow from the outcomes; pooled uses one threshold."""
    from sklearn.metrics import roc_auc_score

    detector = detector_of(PatchCoreCL, entries, backbone, settings, NAMES[:2])
    classes = [TestClass(view, StoredSeen(features), NOTHING) for view, features in tests]
    outcomes, pooled = judge(detector, classes, 0.3)
    figures = report(detector, outcomes, pooled)
    per_class = figures["per_class"]
    assert figures["mean"]["image_auroc"] == pytest.approx(
        np.mean([v["image_auroc"] for v in per_class.values()])
    )
    assert sum(v["bytes"] for v in per_class.values()) == figures["bank_bytes"] == detector.memory_bytes
    right = sum(row[name] for name, row in figures["confusion"].items())
    assert right / 16 == figures["routing_accuracy"]
    labels, scores = (np.concatenate([getattr(o, what) for o in outcomes]) for what in ("labels", "scores"))
    assert roc_auc_score(labels, scores) == pytest.approx(figures["pooled"]["image_auroc"])
    assert per_class["textile"]["pixel_auroc"] is not None
