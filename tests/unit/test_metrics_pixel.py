"""Binned pixel metrics against scikit-learn, and AUPRO against brute force over all thresholds."""

import tracemalloc
from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from evernorm.errors import DataError, ParamsError
from evernorm.metrics import PixelMetrics, average_precision
from evernorm.metrics.pixel import _bins

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
# Neighbours that share a bin, both zeros, subnormals, and values across zero.
CLOSE = st.sampled_from([1.0, 1.0001, 1.0002, -1.0001, -1.0, 0.0, -0.0, 1e-45, -1e-45, 1e-40, 3e38])
PIXELS = st.lists(st.tuples(st.booleans(), FLOATS | CLOSE), min_size=2, max_size=60).filter(
    lambda pixels: len({label for label, _ in pixels}) == 2
)


def measure(maps, masks, fpr_limit=0.3):
    metrics = PixelMetrics(fpr_limit)
    for score_map, mask in zip(maps, masks, strict=True):
        metrics.update(score_map, mask)
    return metrics.compute()


def assert_within_stated_error(maps, masks):
    """AUROC and AP are no farther from scikit-learn's than the result itself admits."""
    result = measure(maps, masks)
    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([score_map.ravel() for score_map in maps]).astype(np.float64)
    assert abs(result.auroc - sk.roc_auc_score(labels, scores)) <= result.auroc_error + 1e-12
    assert abs(result.ap - sk.average_precision_score(labels, scores)) <= result.ap_error + 1e-12
    return result


def regions_by_flooding(mask):
    """8-connected components, one list of pixels each, found by walking from pixel to pixel."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    regions = []
    while left:
        border, region = [left.pop()], []
        while border:
            row, column = border.pop()
            region.append((row, column))
            around = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= around
            border += around
        regions.append(region)
    return regions


def aupro_by_brute_force(maps, masks, limit):
    """Threshold at every score, measure each region's overlap, integrate the polyline up to the limit."""
    regions = [
        np.array([score_map[pixel] for pixel in region])
        for score_map, mask in zip(maps, masks, strict=True)
        for region in regions_by_flooding(mask)
    ]
    normal = np.concatenate([score_map[~mask] for score_map, mask in zip(maps, masks, strict=True)])
    area, rate, overlap = 0.0, 0.0, 0.0
    for threshold in sorted(
        {float(score) for score_map in maps for score in score_map.ravel()}, reverse=True
    ):
        next_rate = float(np.mean(normal >= threshold))
        next_overlap = float(np.mean([np.mean(region >= threshold) for region in regions]))
        if next_rate > limit:
            at_limit = overlap + (next_overlap - overlap) * (limit - rate) / (next_rate - rate)
            return (area + (limit - rate) * (overlap + at_limit) / 2) / limit
        area += (next_rate - rate) * (overlap + next_overlap) / 2
        rate, overlap = next_rate, next_overlap
    return area / limit


def blobs(rng, shape=(32, 32), share=0.2):
    """A mask of ragged regions and a map in which they are brighter."""
    mask = rng.random(shape) < share
    return (rng.gamma(4.0, 0.5, shape) + mask).astype(np.float32), mask


@given(st.lists(FLOATS | CLOSE, min_size=2, max_size=50))
def test_bins_keep_the_order(values):
    """A larger float never lands in a lower bin, over negatives, zeros, subnormals and the largest floats."""
    scores = np.sort(np.array(values, np.float32))

    bins = _bins(scores)

    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < 2**20


def test_bins_are_narrow_and_zeros_are_equal():
    """Scores farther apart than 2⁻¹¹ of their size differ in bin; minus zero is zero."""
    scores = np.geomspace(1e-30, 1e30, 1000, dtype=np.float32)

    for sign in (1, -1):
        assert (_bins(sign * scores) != _bins(sign * scores * np.float32(1 + 2**-11))).all()
    assert _bins(np.float32([0.0])) == _bins(np.float32([-0.0]))
    assert _bins(np.float32([-1e-30])) < _bins(np.float32([0.0])) < _bins(np.float32([1e-30]))


@given(PIXELS)
@settings(max_examples=200)
def test_errors_hold_for_any_floats(pixels):
    """The stated errors hold for whatever Hypothesis finds, one row of pixels."""
    labels, scores = zip(*pixels, strict=True)

    assert_within_stated_error([np.float32([scores])], [np.array([labels])])


@pytest.mark.parametrize(
    "transform",
    [
        pytest.param(lambda score: score, id="plain"),
        pytest.param(np.round, id="heavily tied"),
        pytest.param(lambda score: 1 + score * np.float32(1e-4), id="tiny range"),
        pytest.param(lambda score: 1 + score * np.float32(1e-7), id="neighbouring floats"),
        pytest.param(lambda score: -score, id="negative and reversed"),
        pytest.param(lambda score: score - 2, id="across zero"),
        pytest.param(lambda score: score * np.float32(1e-42), id="subnormal"),
        pytest.param(lambda score: (score - 2) * np.float32(1e37), id="huge"),
        pytest.param(np.zeros_like, id="constant"),
    ],
)
def test_errors_hold_on_difficult_maps(transform):
    """The stated errors hold where many scores share a bin, whatever the reason."""
    maps, masks = zip(*(blobs(np.random.default_rng(seed)) for seed in range(4)), strict=True)

    assert_within_stated_error([transform(score_map).astype(np.float32) for score_map in maps], masks)


def test_errors_are_small_on_ordinary_maps():
    """On maps of ordinary spread the binning costs less than a thousandth, and is seen to be nonzero."""
    maps, masks = zip(*(blobs(np.random.default_rng(seed), (128, 128)) for seed in range(3)), strict=True)

    result = assert_within_stated_error(maps, masks)

    assert 0 < result.auroc_error < 1e-3
    assert 0 < result.ap_error < 1e-3


def test_auroc_error_is_reached_by_the_worst_order_in_a_bin():
    """With all normals above all anomalies in one bin, AUROC is off by the whole stated error."""
    scores = np.float32([1 + 1e-6 * np.arange(160)])
    labels = np.arange(160) < 60

    result = measure([scores], [labels[None]])

    assert sk.roc_auc_score(labels, scores[0]) == 0
    assert (result.auroc, result.auroc_error) == (0.5, 0.5)


@pytest.mark.parametrize("kinds", ["101", "1011", "0011", "11110"])
@pytest.mark.parametrize("before", ["", "0", "1", "0000", "100010", "1111111", "0" * 30 + "1" * 10])
def test_ap_error_is_the_worst_of_all_orders_in_a_bin(before, kinds):
    """Trying every order of one bin's pixels, ties included, finds the stated error and nothing beyond."""
    scores = np.arange(2.0 + len(before) + len(kinds), 2 + len(kinds), -1)
    labels = np.array([kind == "1" for kind in before + kinds])
    binned = measure([np.append(scores, np.ones(len(kinds)))[None]], [labels[None]])

    exact = [
        average_precision(labels, np.append(scores, 1 + 2.0**-23 * np.array(levels)))
        for levels in product(range(len(kinds)), repeat=len(kinds))
    ]

    worst = max(max(exact) - binned.ap, binned.ap - min(exact))
    assert worst - 1e-12 <= binned.ap_error <= worst + 0.02


def test_bins_of_one_value_are_exact():
    """Where every bin holds pixels of one kind the errors vanish and the metrics are scikit-learn's."""
    maps = np.float32([[1, 2, 3, 4, 5, 6]])
    labels = np.array([False, True, False, False, True, True])

    result = measure([maps], [labels[None]])

    assert result.auroc_error == 0
    assert result.ap_error < 1e-2
    assert result.auroc == pytest.approx(sk.roc_auc_score(labels, maps[0]))
    assert result.ap == pytest.approx(sk.average_precision_score(labels, maps[0]))


def test_f1_max_agrees_with_the_precision_recall_curve():
    """On scores that fill one bin each, F1-max is the best point of scikit-learn's curve."""
    rng = np.random.default_rng(5)
    maps, mask = rng.integers(1, 60, (40, 40)).astype(np.float32), rng.random((40, 40)) < 0.1
    maps += 10 * mask

    precision, recall, _ = sk.precision_recall_curve(mask.ravel(), maps.ravel())

    expected = (2 * precision * recall / (precision + recall)).max()
    assert measure([maps], [mask]).f1_max == pytest.approx(expected)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("levels", [3, 20, 2000])
def test_aupro_is_brute_force_over_all_thresholds(levels, limit):
    """On scores that fill one bin each, AUPRO equals thresholding at every one of them."""
    rng = np.random.default_rng(levels)
    maps = [rng.integers(0, levels, (12, 9)).astype(np.float32) / 4 - 100 for _ in range(4)]
    masks = [rng.random((12, 9)) < 0.15 for _ in range(3)] + [np.zeros((12, 9), bool)]
    for score_map, mask in zip(maps, masks, strict=True):
        score_map[mask] += np.float32(levels // 12)

    assert measure(maps, masks, limit).aupro == pytest.approx(aupro_by_brute_force(maps, masks, limit))


def test_aupro_by_hand():
    """Regions {9, 1} and {8} among six normals: the overlap is ¾ up to four of six false alarms, then 1."""
    score_map = np.float32([[9, 5, 8], [1, 4, 3], [2, 0, 0]])
    mask = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0]], bool)

    assert measure([score_map], [mask], 0.5).aupro == pytest.approx(0.75)
    assert measure([score_map], [mask], 1.0).aupro == pytest.approx((4 * 0.75 + 2 * 1.0) / 6)


def test_aupro_is_interpolated_and_divided_by_the_limit_once():
    """A constant map has the curve (0, 0) to (1, 1): the area up to .3 is .045, and .045 / .3 = .15."""
    score_map, mask = np.ones((10, 10), np.float32), np.eye(10, dtype=bool)

    assert measure([score_map], [mask], 0.3).aupro == pytest.approx(0.15)


def test_regions_are_eight_connected():
    """Two pixels that touch at a corner are one region: finding one of them is ½ of one of two regions."""
    mask = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 1]], bool)
    score_map = np.where(mask, 0, 1).astype(np.float32)
    score_map[0, 0] = 2

    assert measure([score_map], [mask], 1.0).aupro == pytest.approx(0.25)


def test_false_positive_rate_counts_good_images():
    """False alarms on a good image lower AUPRO, and its quiet pixels dilute the rate."""
    score_map = np.float32([[1, 3], [0, 0]])
    mask = np.array([[True, False], [False, False]])
    good = np.zeros((1, 7), np.float32)

    alone = measure([score_map], [mask], 0.5).aupro
    diluted = measure([score_map, good], [mask, good > 1], 0.5).aupro
    alarmed = measure([score_map, good + 2], [mask, good > 9], 0.5).aupro

    assert alone == pytest.approx((0.5 - 1 / 3) / 0.5)
    assert diluted == pytest.approx((0.5 - 1 / 10) / 0.5)
    assert alarmed == pytest.approx(0)


def test_small_regions_weigh_as_much_as_large_ones():
    """Finding 100 pixels and missing the one-pixel region halves AUPRO, hardly AUROC."""
    mask = np.zeros((40, 40), bool)
    mask[:10, :10] = mask[30, 30] = True
    score_map = np.where(mask, 2, 1).astype(np.float32)
    score_map[30, 30] = 0

    result = measure([score_map], [mask])

    assert result.aupro == pytest.approx(0.5)
    assert result.auroc == pytest.approx(100 / 101)


def test_perfect_map():
    """Anomalies above all normals give 1.0 everywhere, without error."""
    rng = np.random.default_rng(0)
    mask = rng.random((64, 64)) < 0.1
    score_map = (rng.random((64, 64)) + 2 * mask).astype(np.float32)

    result = measure([score_map, rng.random((20, 30)).astype(np.float32)], [mask, np.zeros((20, 30), bool)])

    assert (result.auroc, result.ap, result.f1_max, result.aupro, result.auroc_error) == (1, 1, 1, 1, 0)


@pytest.mark.parametrize("transform", [np.exp, np.log, lambda score: 40 * score - 90, lambda score: score**5])
def test_a_monotone_transform_changes_little(transform):
    """Metrics depend on the ranking alone, up to the binning."""
    maps, masks = zip(*(blobs(np.random.default_rng(seed), (64, 64), 0.05) for seed in range(3)), strict=True)

    expected = asdict(measure(maps, masks))
    actual = asdict(measure([transform(score_map).astype(np.float32) for score_map in maps], masks))

    for name in ("auroc", "ap", "f1_max", "aupro"):
        assert actual[name] == pytest.approx(expected[name], abs=2e-3), name


def test_merging_is_seeing_it_all_at_once():
    """Three partial results, merged in another order, give the same bits; region weights to rounding."""
    images = [blobs(np.random.default_rng(seed), (17 + seed, 23)) for seed in range(6)]
    whole = PixelMetrics()
    parts = [PixelMetrics() for _ in range(3)]
    for index, image in enumerate(images):
        whole.update(*image)
        parts[index % 3].update(*image)

    merged = PixelMetrics()
    for part in reversed(parts):
        merged.merge(part)

    expected, actual = asdict(whole.compute()), asdict(merged.compute())
    assert actual.pop("aupro") == pytest.approx(expected.pop("aupro"), rel=1e-12)
    assert expected == actual


def test_memory_does_not_grow():
    """Thirty more images of many values leave no more memory in use than the first."""
    metrics, rng = PixelMetrics(), np.random.default_rng(0)
    images = [blobs(rng, (64, 64)) for _ in range(3)]
    metrics.update(*images[0])
    tracemalloc.start()
    try:
        for _ in range(10):
            for image in images:
                metrics.update(*image)
        metrics.compute()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 64 * 1024


def test_large_images_work():
    """A 3000 × 4000 image is counted whole, and compute leaves the state alone."""
    score_map = np.linspace(0, 1, 12_000_000, dtype=np.float32).reshape(3000, 4000)
    mask = np.zeros((3000, 4000), bool)
    mask[2000:, 1000:1500] = True
    metrics = PixelMetrics()
    metrics.update(score_map, mask)

    first = metrics.compute()

    assert first.prevalence == pytest.approx(1 / 24)
    assert first.auroc_error < 1e-3
    assert first == metrics.compute()


def test_many_pixels_do_not_overflow():
    """Counting the same pixels 2⁴⁰ times over, by doubling, leaves the metrics as they were."""
    metrics = PixelMetrics()
    metrics.update(*blobs(np.random.default_rng(1)))
    expected = asdict(metrics.compute())

    for _ in range(40):
        metrics.merge(metrics)

    actual = asdict(metrics.compute())
    assert actual.pop("ap_error") >= expected.pop("ap_error")  # more pixels in a bin have more orders
    assert actual == pytest.approx(expected, rel=1e-9)


def test_one_kind_alone_is_undefined():
    """Without anomalous or without normal pixels everything but the prevalence is None."""
    score_map = np.ones((4, 4), np.float32)

    for mask, share in ((np.zeros((4, 4), bool), 0.0), (np.ones((4, 4), bool), 1.0)):
        result = asdict(measure([score_map], [mask]))
        assert result.pop("prevalence") == share
        assert set(result.values()) == {None}
    assert set(asdict(PixelMetrics().compute()).values()) == {None}


def test_prevalence_is_the_share_over_all_images():
    """Five anomalous pixels in two images of 10 and 40 pixels."""
    masks = [np.arange(10).reshape(2, 5) < 5, np.zeros((4, 10), bool)]

    assert measure([np.zeros(mask.shape, np.float32) for mask in masks], masks).prevalence == 0.1


def test_shapes_that_differ_are_named():
    """Both shapes stand in the message; a stack of maps is no map."""
    metrics = PixelMetrics()

    with pytest.raises(DataError, match=r"score map has shape \(4, 5\) and mask \(5, 4\)"):
        metrics.update(np.zeros((4, 5), np.float32), np.zeros((5, 4), bool))
    with pytest.raises(DataError, match=r"score map has shape \(1, 4, 5\)"):
        metrics.update(np.zeros((1, 4, 5), np.float32), np.zeros((1, 4, 5), bool))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_scores_that_are_not_finite_are_refused_whole(bad):
    """NaN, infinity and what float32 cannot hold are refused, and the image leaves no trace."""
    metrics, score_map = PixelMetrics(), np.zeros((3, 3))
    score_map[1, 2] = bad

    with pytest.raises(DataError, match="1 of 9 pixel scores are NaN or infinite"):
        metrics.update(score_map, np.eye(3, dtype=bool))
    assert metrics.compute() == PixelMetrics().compute()


def test_masks_must_be_bool():
    """A mask of grey values is refused rather than read as true where nonzero."""
    with pytest.raises(DataError, match="mask pixels have dtype uint8"):
        PixelMetrics().update(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("limit", [0, -0.1, 1.01, float("nan")])
def test_limit_must_be_a_rate(limit):
    """A limit outside (0, 1] is named."""
    with pytest.raises(ParamsError, match="aupro_fpr_limit is"):
        PixelMetrics(limit)


def test_different_limits_do_not_merge():
    """Results that integrate up to different limits are kept apart."""
    with pytest.raises(DataError, match=r"up to 0\.1 into AUPRO up to 0\.3"):
        PixelMetrics(0.3).merge(PixelMetrics(0.1))
