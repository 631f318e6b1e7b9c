"""What holds of a detector's answers, for every method."""

import numpy as np
import pytest

from evernorm.alignment.alignment import MEASURED
from evernorm.errors import ParamsError, StateError
from evernorm.methods.bank import bank_digest, load_bank, save_bank
from evernorm.methods.detector import UNKNOWN, Detector, Seen
from evernorm.params.file import override, parse_params
from evernorm.params.groups import AlignmentKind, Device, Params
from tests.conformance.drawn import CLASSES, draw


@pytest.fixture(scope="session")
def images():
    """Normal and defective images of the three classes."""
    return [image for name in CLASSES for image in (*draw(name, 2, seed=7), *draw(name, 1, seed=8))]


def alike(one, other, exact: bool = True) -> None:
    """The same answer."""
    assert (one.routed_class, one.unknown, one.anomalous) == (
        other.routed_class,
        other.unknown,
        other.anomalous,
    )
    compare = np.testing.assert_array_equal if exact else np.testing.assert_allclose
    options = {} if exact else {"rtol": 1e-3, "atol": 1e-3}
    for figure in ("score", "probability", "p_value"):
        compare(getattr(one, figure), getattr(other, figure), **options)
    assert (one.map is None) == (other.map is None)
    if one.map is not None:
        compare(one.map, other.map, **options)


def test_a_stored_bank_answers_alike_and_is_stored_alike(detector, images, tmp_path):
    """Saved, loaded: the same answers; saved again: the same bytes."""
    save_bank(detector, tmp_path / "a")
    loaded = load_bank(tmp_path / "a", Device.CPU)
    assert detector.classes == loaded.classes
    assert detector.bank_bytes == loaded.bank_bytes
    for one, other in zip(detector.predict(images), loaded.predict(images), strict=True):
        alike(one, other)
    save_bank(loaded, tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_loaded_bank_goes_on_learning(learner, lessons, states, images, tmp_path):
    """What is stored of two classes is all that the third needs."""
    save_bank(learner.detector_of(states[:2]), tmp_path)
    known = list(load_bank(tmp_path, Device.CPU).states)
    further = learner.learn(lessons[2], known[-1].carry)
    whole, grown = learner.detector_of(states), learner.detector_of([*known, further])
    for one, other in zip(whole.predict(images), grown.predict(images), strict=True):
        alike(one, other)


def test_an_answer_depends_on_no_other_image(detector, images):
    """Alone, together, reversed."""
    together = detector.predict(images)
    backwards = detector.predict(images[::-1])[::-1]
    for image, one, other in zip(images, together, backwards, strict=True):
        alike(one, other, exact=False)
        alike(one, detector.predict([image])[0], exact=False)


def test_hints_change_no_answer(learner, states, detector, images):
    """What a smaller bank learned of the images shortens the search, and nothing else."""
    seen = detector.see(images)
    before = learner.detector_of(states[:2]).judge(seen)
    bare, hinted = detector.judge(seen), detector.judge(seen, hints=before.hints)
    np.testing.assert_array_equal(bare.routed, hinted.routed)
    np.testing.assert_allclose(bare.raw, hinted.raw, rtol=1e-5)


def test_answers_are_what_their_names_say(detector, images):
    """Shapes, ranges, and a decision that follows from score and threshold."""
    judged = detector.judge(detector.see(images))
    count = len(images)
    for figure in (judged.routed, judged.raw, judged.score, judged.threshold):
        assert figure.shape == (count,)
    for share in (judged.probability, judged.p_value):
        assert ((share >= 0) & (share <= 1)).all()
    assert ((judged.routed == judged.place) | (judged.routed == UNKNOWN)).all()
    known = judged.routed != UNKNOWN
    np.testing.assert_array_equal(judged.anomalous[known], (judged.score > judged.threshold)[known])
    assert judged.anomalous[~known].all()


def test_traits_tell_what_answers_hold(detector, images):
    """A class where the method routes, a map where it has maps, unknown only where it may."""
    traits = detector.traits
    for image, answer in zip(images, detector.predict(images), strict=True):
        assert not answer.unknown or traits.open_set
        assert (answer.routed_class is not None) == (traits.routes and not answer.unknown)
        assert (answer.map is not None) == (traits.maps and not answer.unknown)
        if answer.map is not None:
            assert image.shape[:2] == answer.map.shape


def test_the_class_may_be_told(detector, images):
    """An image is judged where it is said to belong."""
    if not detector.traits.routes:
        pytest.skip("a method that does not route has one place")
    place = np.repeat(np.arange(3), 3)
    judged = detector.judge(detector.see(images), given=place)
    np.testing.assert_array_equal(place, judged.place)


def test_features_that_were_stored_are_judged_as_fresh_ones(learner, states, detector):
    """What `eye` gives for a class's images is what `see` and `judge` make of them."""
    if not learner.traits.fixed_features:
        assert learner.eye(states[0].trained) is None
        return
    for state in states:
        pictures = draw(state.name, 3, seed=9)
        stored = Seen(
            dict(learner.eye(state.trained)(pictures)), state.name, lambda n, p=pictures: [p[i] for i in n]
        )
        one, other = detector.judge(detector.see(pictures)), detector.judge(stored)
        np.testing.assert_array_equal(one.routed, other.routed)
        np.testing.assert_allclose(one.raw, other.raw, rtol=1e-4)


def test_bytes_are_counted(detector):
    """Every byte that is kept belongs to a class or to all."""
    assert set(detector.bytes_by_class) <= set(detector.classes)
    parts = (*detector.bytes_by_class.values(), detector.shared_bytes, detector.alignment.nbytes)
    assert detector.bank_bytes == sum(parts) > 0


def test_an_empty_bank_says_so(learner):
    """No class, no answer."""
    with pytest.raises(StateError, match="the bank is empty"):
        learner.detector_of([]).predict([np.zeros((64, 64, 3), np.uint8)])


def test_a_damaged_bank_is_refused(detector, tmp_path):
    """A file that was cut says what to do."""
    save_bank(detector, tmp_path)
    entries = tmp_path / "entries.safetensors"
    entries.write_bytes(entries.read_bytes()[:-9])
    with pytest.raises(StateError, match="is damaged"):
        load_bank(tmp_path, Device.CPU)


def params_aligned(learner, kind: AlignmentKind) -> Params:
    """The method's, with an alignment."""
    settings = [f"calibration.alignment={kind}"]
    return parse_params(override(learner.params.model_dump(mode="json"), settings))


def aligned(learner, states, kind: AlignmentKind) -> Detector:
    """The same classes, read so."""
    return type(learner)(params_aligned(learner, kind), learner.backbone).detector_of(states)


@pytest.mark.parametrize("kind", sorted({*AlignmentKind} - {AlignmentKind.WEIBULL}))
def test_an_aligned_bank_answers_alike_wherever_it_is(learner, states, detector, images, tmp_path, kind):
    """Stored and loaded, alone and together; what a method scores by itself stays, and one threshold may serve all."""
    if kind in MEASURED and not learner.traits.maps:
        with pytest.raises(StateError, match=r"cannot be aligned|without what alignment predicts from"):
            aligned(learner, states, kind)
        with pytest.raises(ParamsError, match=f"{kind}, but {learner.name} has no anomaly map"):
            type(learner)(params_aligned(learner, kind), learner.backbone).check_alignment()
        return
    as_they_are, detector = detector, aligned(learner, states, kind)
    answers = detector.predict(images)
    save_bank(detector, tmp_path / "a")
    loaded = load_bank(tmp_path / "a", Device.CPU)
    save_bank(loaded, tmp_path / "b")
    assert bank_digest(tmp_path / "a") == bank_digest(tmp_path / "b")
    assert detector.bank_bytes == loaded.bank_bytes
    for one, other in zip(answers, loaded.predict(images), strict=True):
        alike(one, other)
    for one, image in list(zip(answers, images, strict=True))[::4]:  # one a class
        alike(one, loaded.predict([image])[0], exact=False)
    seen = detector.see(images)
    judged, before = detector.judge(seen), as_they_are.judge(seen)
    np.testing.assert_array_equal(before.raw, judged.raw)
    np.testing.assert_array_equal(before.place, judged.place)
    if kind in MEASURED:
        (tmp_path / "a/alignment.safetensors").unlink()
        with pytest.raises(StateError, match=r"alignment\.safetensors"):
            load_bank(tmp_path / "a", Device.CPU)
    if kind is not AlignmentKind.CADA_WEIBULL:
        assert 1 == len({reading.threshold for reading in detector.readings})


def test_every_line_of_its_tables_can_be_asked_for(learner):
    """Settings of ablations are parameters."""
    values = learner.params.model_dump(mode="json")
    for lines in learner.ablations().values():
        names = [line.name for line in lines]
        assert len(names) == len(set(names)) > 1
        for line in lines:
            parse_params(override(values, line.settings))
