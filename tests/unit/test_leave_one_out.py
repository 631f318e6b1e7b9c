"""Leave-one-image-out scores against really leaving the image out."""

import numpy as np
import pytest

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.weibull import Calibration, calibrate
from evernorm.errors import FitError, StateError
from evernorm.files import read_arrays, write_arrays
from evernorm.memory.entry import farthest_points
from evernorm.memory.leave_one_out import leave_one_out
from evernorm.memory.scoring import image_scores
from evernorm.memory.search import NearestRows
from evernorm.params.groups import Engine, WeibullParams

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((12, 20, 6)).astype(np.float32)
PICKS = RNG.permutation(240)[:120]
ROWS, SOURCE = FEATURES.reshape(-1, 6)[PICKS], PICKS // 20
SIZES = [120, 60, 30, 12]


def training(neighbours: int = 4) -> Evidence:
    return leave_one_out(FEATURES, ROWS, SOURCE, SIZES, neighbours)


def rebuilt(image: int, size: int) -> np.ndarray:
    """The rows of the other images, and greedily those of their patches that are farther than any was before."""
    flat, memory = FEATURES.reshape(-1, 6).astype(np.float64), ROWS[:size].astype(np.float64)
    between = np.linalg.norm(flat[:, None] - memory, axis=2)
    radius, others = between.min(1).max(), SOURCE[:size] != image
    lost = (between.argmin(1)[:, None] == np.flatnonzero(~others)).any(1) & (np.arange(240) // 20 != image)
    filled = list(memory[others])
    while True:
        left = np.linalg.norm(flat[lost][:, None] - np.array(filled), axis=2).min(1)
        if not lost.any() or left.max() <= radius:
            return np.array(filled, np.float32)
        filled.append(flat[lost][left.argmax()])


def test_one_pass_equals_searching_each_memory_without_an_image():
    """For every size and image: the score in the prefix without the image's rows, its gaps filled one by one."""
    result = training()
    filled = 0
    for level, size in enumerate(SIZES):
        patches = []
        for image in range(12):
            rows = rebuilt(image, size)
            filled += len(rows) - (SOURCE[:size] != image).sum()
            search = NearestRows(rows)
            distances, nearest = (part[None] for part in search.nearest(FEATURES[image]))
            expected = image_scores(FEATURES[image : image + 1], distances, nearest, search, 4)
            np.testing.assert_allclose(result.scores[level, image], expected[0], rtol=1e-4)
            patches.append(distances)
        np.testing.assert_allclose(
            result.patch_moments(level), (np.mean(patches), np.std(patches)), rtol=1e-3
        )
        for found, expected in (
            (result.means, [each.mean() for each in patches]),
            (result.stds, [each.std() for each in patches]),
            (result.peaks, [each.max() for each in patches]),
        ):
            np.testing.assert_allclose(found[level], expected, rtol=1e-3)
    assert filled


def test_many_patches_are_compared_one_column_at_a_time(monkeypatch):
    """With the same result as all at once."""
    expected = training()
    monkeypatch.setattr("evernorm.memory.leave_one_out._AT_ONCE", 0)
    np.testing.assert_allclose(training().scores, expected.scores, rtol=1e-6)


def test_scores_are_those_of_memories_built_without_the_image():
    """Images alike but for noise, where hiding rows leaves gaps: within 2 % of really leaving one out, not 10 % above."""
    rng = np.random.default_rng(1)
    product = rng.standard_normal((60, 8)).astype(np.float32)
    features = product + 0.05 * rng.standard_normal((10, 60, 8)).astype(np.float32)
    flat = features.reshape(-1, 8)

    def memory(patches: np.ndarray) -> np.ndarray:
        return farthest_points(patches, 60)

    chosen = memory(flat)
    found = leave_one_out(features, flat[chosen], chosen // 60, [60], 4).scores[0]
    hidden, exact = [], []
    for image in range(10):
        rest = np.delete(features, image, 0).reshape(-1, 8)
        for rows, scores in (
            (flat[chosen[chosen // 60 != image]], hidden),
            (rest[memory(rest)], exact),
        ):
            search = NearestRows(np.ascontiguousarray(rows))
            distances, nearest = (part[None] for part in search.nearest(features[image]))
            scores.append(image_scores(features[image : image + 1], distances, nearest, search, 4)[0])
    assert np.mean(hidden) > 1.1 * np.mean(exact)
    assert np.mean(found) == pytest.approx(np.mean(exact), rel=0.02)


def test_patch_distances_only_grow_as_the_memory_shrinks():
    """A prefix is never nearer: the mean patch distance rises from size to size."""
    assert (np.diff(training().means.mean(axis=1)) >= 0).all()


def test_the_mean_of_the_highest_patches_is_a_score_too():
    """Of 20 patches 1 % is one: the farthest, not re-weighted."""
    result = leave_one_out(FEATURES, ROWS, SOURCE, SIZES, 4, top=True)
    np.testing.assert_array_equal(result.scores, result.peaks)
    assert (result.scores >= training().scores).all()
    wide = np.concatenate([FEATURES] * 10, axis=1)  # of 200, two: each patch is there ten times
    ten = leave_one_out(wide, ROWS, SOURCE, SIZES, 4, top=True)
    np.testing.assert_allclose(ten.scores, ten.peaks, rtol=1e-5)


def test_an_image_that_owns_every_row_is_scored_by_what_the_others_would_remember():
    """And the only image of a class has no score: there is nothing to compare it with."""
    result = leave_one_out(FEATURES, ROWS, np.zeros(120, np.int64), [120], 4)
    assert np.isfinite(result.scores).all()
    alone = leave_one_out(FEATURES[:1], ROWS, np.zeros(120, np.int64), [120], 4)
    assert np.isnan(alone.scores).all()


def test_scores_survive_the_disk(tmp_path):
    """What is stored is what was computed."""
    result = training()
    write_arrays(tmp_path / "t.safetensors", result.arrays())
    for name, array in vars(Evidence.of(read_arrays(tmp_path / "t.safetensors"))).items():
        np.testing.assert_array_equal(getattr(result, name), array)
    assert {"scores", "sizes", "means", "stds", "peaks"} == set(result.arrays())  # and no routing distances


def test_evidence_without_maps_or_sizes_is_calibrated_too(tmp_path):
    """A method that keeps no rows and draws no maps has scores alone; a map is then refused."""
    scores = Evidence(training().scores[:1])
    assert {"scores"} == set(scores.arrays())
    calibration = calibrate(scores, WeibullParams())
    calibration.save(tmp_path)
    reading = Calibration.load(tmp_path).at(0)
    assert calibrate(training(), WeibullParams()).at(120).threshold == reading.threshold
    assert (0, None, None) == (reading.size, reading.patch_mean, reading.patch_std)
    with pytest.raises(StateError, match="fitted without patch scores"):
        reading.standardise_patches(np.ones(3, np.float32))


def test_patch_scores_are_standardised_by_those_of_training_patches():
    """(score - mean) / std, in float32."""
    reading = calibrate(training(), WeibullParams()).at(60)
    spots = reading.standardise_patches(np.array([1.0, 2.0], np.float32))
    mean, std = training().patch_moments(1)
    expected = (np.array([1.0, 2.0]) - mean) / std
    np.testing.assert_allclose(expected, spots, rtol=1e-6)
    assert np.float32 == spots.dtype


@pytest.mark.parametrize("engine", Engine)
def test_the_threshold_has_the_p_value_that_was_asked_for(engine):
    """Within the tail and below it."""
    for rate in (0.01, 0.1, 0.5):
        calibration = calibrate(
            training(), WeibullParams(engine=engine, false_alarm_rate=rate, tail_fraction=0.5)
        ).at(120)
        p = calibration.p_value(calibration.threshold)
        assert p == pytest.approx(rate, rel=1e-6) if rate < 0.4 else p <= 0.5 + 1 / 12


def test_readings_are_ordered_like_the_scores():
    """A higher score is never less probable an outlier, nor of a higher p-value."""
    calibration = calibrate(training(), WeibullParams()).at(60)
    scores = np.linspace(0, 3 * calibration.unit, 400)
    assert (np.diff(calibration.standardise(scores)) > 0).all()
    assert (np.diff(calibration.probability(scores)) >= 0).all()
    assert (np.diff(calibration.p_value(scores)) <= 0).all()
    assert calibration.p_value(0.0) == 1


def test_the_calibration_read_is_the_largest_that_fits():
    """Between two sizes the smaller one is taken: its scores are higher, so alarms are not more."""
    calibrations = calibrate(training(), WeibullParams())
    assert [calibrations.at(rows).size for rows in (500, 119, 59, 12)] == [120, 60, 30, 12]
    assert calibrations.at(120).threshold < calibrations.at(12).threshold


def test_readings_for_larger_memories_can_be_left_out():
    """What a stored bank still needs; of a memory smaller than all, the smallest."""
    calibrations = calibrate(training(), WeibullParams())
    assert [30, 12] == [step.size for step in calibrations.within(59).steps]
    assert [12] == [step.size for step in calibrations.within(5).steps]


def test_calibrations_survive_the_disk(tmp_path):
    """Every number and every step comes back."""
    calibrations = calibrate(training(), WeibullParams())
    calibrations.save(tmp_path)
    for old, new in zip(calibrations.steps, Calibration.load(tmp_path).steps, strict=True):
        assert old.to_json() == new.to_json()
        np.testing.assert_array_equal(old.scores, new.scores)


def test_identical_training_images_cannot_be_calibrated():
    """Copies of one image have no spread; the error says so instead of fitting nothing."""
    same = np.repeat(FEATURES[:1], 12, axis=0)
    result = leave_one_out(same, same.reshape(-1, 6)[PICKS], SOURCE, [120], 4)
    with pytest.raises(FitError, match="score alike"):
        calibrate(result, WeibullParams())
