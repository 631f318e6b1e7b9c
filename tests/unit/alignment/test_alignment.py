"""Scores of two drawn classes, one with maps of three times the other's size, brought to one scale."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from evernorm.alignment.alignment import Alignment, align
from evernorm.calibration.evidence import Evidence
from evernorm.calibration.reading import Reading
from evernorm.calibration.weibull import calibrate
from evernorm.errors import StateError
from evernorm.metrics.image import auroc
from evernorm.params.groups import CalibrationParams, Engine, HeadParams, WeibullParams
from evernorm.types import Floats

WEIBULL = WeibullParams(engine=Engine.SCIPY, false_alarm_rate=0.1)
UNITS = (1.0, 3.0)
ANYWHERE = np.zeros(40, np.int64)  # where it does not matter


def params(kind: str, **settings) -> CalibrationParams:
    head = HeadParams(iterations=300, width=32, dropout=0.25)
    return CalibrationParams.model_validate({"alignment": kind, "head": head, **settings})


def drawn(seed: int, images: int = 40) -> tuple[list[Floats], list[Floats]]:
    """Patch scores ``[n, 50]`` of each class, and what an encoder sees of the images."""
    rng = np.random.default_rng(seed)
    maps = [(unit * rng.gamma(9, 1 / 9, (images, 50))).astype(np.float32) for unit in UNITS]
    seen = [
        (direction + 0.2 * rng.standard_normal((images, 6, 3, 3))).astype(np.float32)
        for direction in np.eye(6)[:2, :, None, None]
    ]
    return maps, seen


def evidence(seed: int = 0) -> list[Evidence]:
    maps, seen = drawn(seed)
    return [
        replace(
            Evidence.of_maps(each.max(axis=1), each),
            shown=np.arange(40),
            encoded=of.astype(np.float16),
        )
        for each, of in zip(maps, seen, strict=True)
    ]


def own() -> list[Reading]:
    return [calibrate(each, WEIBULL).steps[0] for each in evidence()]


@cache
def fitted(kind: str, **settings) -> tuple[Alignment, list[Reading]]:
    """Fitted once for all tests: they may look, not touch."""
    return align(evidence(), own(), params(kind, **settings), WEIBULL, seed=0)


def test_without_alignment_nothing_changes():
    """Each class by its own scores; evidence is not even asked for."""
    before = own()
    alignment, readings = align(iter(()), before, params("weibull"), WEIBULL, seed=0)
    assert not alignment.measures
    assert before == readings


def test_none_reads_all_classes_together():
    """One reading, of the scores of both."""
    alignment, (one, other) = fitted("none")
    assert not alignment.measures
    assert 80 == len(one.scores)
    assert one.threshold == other.threshold
    expected = calibrate(Evidence.joined(evidence()), WEIBULL).steps[0]
    assert expected.mean == one.mean


def test_the_statistics_are_mean_and_mean_of_the_peaks():
    """Section 3.2: u is the mean of all normal patch scores, γ the mean over images of the highest."""
    maps, _ = drawn(0)
    expected = [(each.mean(), each.max(axis=1).mean()) for each in maps]
    np.testing.assert_allclose(fitted("cada_b")[0].statistics, expected, rtol=1e-5)


def test_the_spread_may_be_three_deviations():
    """Table 5."""
    maps, _ = drawn(0)
    expected = [(each.mean(), each.mean() + 3 * each.std(axis=1).mean()) for each in maps]
    np.testing.assert_allclose(fitted("cada_b", spread="deviation")[0].statistics, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["cada_a", "cada_b"])
def test_scores_and_patches_are_measured_alike(kind):
    """Eq. 1: (s - u) / (γ - u), with the class given."""
    alignment, _ = fitted(kind)
    maps, _ = drawn(1)
    for place in range(2):
        given = np.full(40, place)
        scores, patches = alignment.applied(maps[place].max(axis=1), maps[place], None, given, given=True)
        u, gamma = alignment.statistics[place]
        np.testing.assert_allclose(patches, (maps[place] - u) / (gamma - u), rtol=1e-5)
        np.testing.assert_allclose(scores, patches.max(axis=1), rtol=1e-5)


def test_a_classifier_names_the_class():
    """CaDA-B: of images that were not learned from; a class that is given is believed."""
    alignment, _ = fitted("cada_b")
    _, seen = drawn(1)
    for place in range(2):
        other = np.full(40, 1 - place)
        low, _ = alignment.expected(seen[place], other)
        np.testing.assert_allclose(low, alignment.statistics[place, 0])
        low, _ = alignment.expected(seen[place], other, given=True)
        np.testing.assert_allclose(low, alignment.statistics[1 - place, 0])


@pytest.mark.parametrize(
    "structure", [{}, {"convolutions": 0, "layers": 1}, {"convolutions": 2, "layers": 3}]
)
def test_a_regressor_expects_what_normal_images_of_the_class_have(structure):
    """CADA: u and γ of images that were not learned from, in different units, without a class."""
    head = HeadParams(iterations=400, width=32, dropout=0, **structure)
    alignment, _ = align(evidence(), own(), params("cada", head=head), WEIBULL, seed=0)
    _, seen = drawn(1)
    for place in range(2):
        low, spread = alignment.expected(seen[place], ANYWHERE)
        u, gamma = alignment.statistics[place]
        np.testing.assert_allclose(low.mean(), u, rtol=0.25)
        np.testing.assert_allclose(spread.mean(), gamma - u, rtol=0.25)
        assert low.shape == spread.shape == (40,)


@pytest.mark.parametrize("kind", ["cada_a", "cada_b", "cada", "both", "cada_weibull"])
def test_one_threshold_serves_both_classes(kind):
    """Defects of the small class score below normal images of the large one, until they are aligned."""
    alignment, readings = fitted(kind)
    labels, raw, aligned, alarms = [], [], [], []
    for place, (maps, seen) in enumerate(zip(*drawn(2), strict=True)):
        maps[20:, :3] *= 4
        raw.append(maps.max(axis=1))
        scores, _ = alignment.applied(raw[-1], maps, seen, np.full(40, place), given=False)
        aligned.append(readings[place].standardise(scores))
        alarms.append(scores > readings[place].threshold)
        labels.append(np.arange(40) >= 20)
    every = np.concatenate(labels)
    before, after = (auroc(every, np.concatenate(each)) for each in (raw, aligned))
    assert before < 0.85
    assert after > 0.95
    found = np.concatenate(alarms)
    assert found[~every].mean() < 0.2  # 10 % were asked for
    assert found[every].mean() > 0.7


def test_both_is_the_mean_of_what_the_class_and_the_regressor_say():
    """Of scores and of maps."""
    of_class, of_image, both = (fitted(kind)[0] for kind in ("cada_a", "cada", "both"))
    maps, seen = (each[1] for each in drawn(1))
    scores, place = maps.max(axis=1), np.ones(40, np.int64)
    one, other, mean = (
        each.applied(scores, maps, seen, place, given=False) for each in (of_class, of_image, both)
    )
    for first, second, together in zip(one, other, mean, strict=True):
        np.testing.assert_allclose(together, (first + second) / 2, rtol=1e-4, atol=1e-4)


def test_a_class_keeps_its_rate():
    """What a person set for it, also where one reading serves all."""
    one, other = own()
    _, readings = align(evidence(), [one.at_rate(0.02), other], params("none"), WEIBULL, seed=0)
    assert [0.02, 0.1] == [each.rate for each in readings]
    assert readings[0].threshold == readings[1].score_at(0.02) > readings[1].threshold


def test_a_class_of_small_scores_keeps_its_own_measure():
    """However much larger the others' are: statistics are never bounded."""
    small = drawn(0)[0][0] / 100
    parts = [Evidence.of_maps(small.max(axis=1), small), *evidence()]
    readings = [calibrate(each, WEIBULL).steps[0] for each in parts]
    alignment, _ = align(parts, readings, params("cada_a"), WEIBULL, seed=0)
    low, spread = alignment.expected(None, ANYWHERE)
    np.testing.assert_allclose(
        [low[0], spread[0]], [small.mean(), small.max(axis=1).mean() - small.mean()], rtol=1e-5
    )


def test_what_the_encoder_never_saw_move_is_not_read():
    """A channel that was dead in all images that were kept, and is not in a new one."""
    seeing = [
        np.concatenate([each.encoded, np.zeros_like(each.encoded[:, :1])], axis=1) for each in evidence()
    ]
    dead = [replace(each, encoded=of) for each, of in zip(evidence(), seeing, strict=True)]
    alignment, _ = align(dead, own(), params("cada"), WEIBULL, seed=0)
    woken = seeing[0].astype(np.float32)
    before = alignment.expected(woken, ANYWHERE)
    woken[:, -1] = 5
    np.testing.assert_array_equal(before, alignment.expected(woken, ANYWHERE))


def test_a_damaged_alignment_is_refused():
    """Without statistics, or without a part of the head."""
    whole = dict(fitted("cada")[0].arrays())
    for lost in ("statistics", "head.mean", "head.network.0.weight"):
        with pytest.raises(StateError, match="stored alignment cada is damaged"):
            Alignment.of({name: array for name, array in whole.items() if name != lost}, params("cada"))


def test_an_odd_image_is_not_measured_by_nothing():
    """Whatever the regressor says, the spread stays above a tenth of the smallest class's."""
    alignment, _ = fitted("cada")
    odd = np.random.default_rng(3).normal(0, 100, (50, 6, 3, 3)).astype(np.float32)
    usual = np.diff(alignment.statistics, axis=1).min()
    assert (alignment.expected(odd, np.zeros(50, np.int64))[1] >= 0.0999 * usual).all()


def test_the_same_evidence_gives_the_same_bytes():
    """And survives the disk."""
    few = params("cada", head=HeadParams(iterations=20, width=32))
    one, other = (align(evidence(), own(), few, WEIBULL, seed=0)[0] for _ in range(2))
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])
    _, seen = drawn(1)
    back = Alignment.of(one.arrays(), one.params)
    np.testing.assert_array_equal(one.expected(seen[0], ANYWHERE), back.expected(seen[0], ANYWHERE))
    assert one.nbytes == back.nbytes > 0


def test_what_was_not_stored_is_missed_with_a_word():
    """No maps, or nothing of what the encoder saw."""
    bare = [replace(each, shown=None, encoded=None) for each in evidence()]
    with pytest.raises(StateError, match="to weibull, or learn the class again"):
        align(bare, own(), params("cada"), WEIBULL, seed=0)
    blind = [replace(each, means=None) for each in evidence()]
    with pytest.raises(StateError, match="scores without maps cannot be aligned"):
        align(blind, own(), params("cada"), WEIBULL, seed=0)
    seeing, _ = fitted("cada")
    with pytest.raises(StateError, match="without a frozen encoder"):
        seeing.applied(np.ones(1), np.ones((1, 3)), None, np.zeros(1, np.int64), given=False)


def test_images_without_a_score_take_no_part():
    """NaN, as the only image of its kind gets."""
    whole = evidence()
    scores = whole[0].scores.copy()
    scores[0, [0, 3]] = np.nan
    _, readings = align(
        [replace(whole[0], scores=scores), whole[1]], own(), params("cada_weibull"), WEIBULL, 0
    )
    assert [38, 40] == [len(each.scores) for each in readings]
