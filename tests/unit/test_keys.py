"""Keys: UCAD's Eq. 4 and its leave-one-image-out form against brute force."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from evernorm.memory.keys import key_distances, leave_one_out_key_distances

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(5, 1, (6, 20, 12)).astype(np.float32)
KEYS = [RNG.normal(5 + 0.3 * i, 1, (count, 12)).astype(np.float32) for i, count in enumerate((9, 30, 1, 17))]


def by_hand(image, keys):
    """The mean over the keys of the distance to the nearest patch."""
    return cdist(keys.astype(float), image.astype(float)).min(axis=1).mean()


def test_distances_equal_the_equation_written_out():
    """For classes with different numbers of keys."""
    expected = [[by_hand(image, keys) for keys in KEYS] for image in FEATURES]
    found = key_distances(FEATURES, KEYS)
    assert ((6, 4), np.float32) == (found.shape, found.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_class_is_that_of_the_printed_sum():
    """With equal numbers of keys, mean and sum (Eq. 4) choose the same class."""
    keys = [RNG.normal(5, 1, (15, 12)).astype(np.float32) for _ in range(5)]
    sums = [[cdist(rows, image).min(axis=1).sum() for rows in keys] for image in FEATURES]
    np.testing.assert_array_equal(np.argmin(sums, axis=1), key_distances(FEATURES, keys).argmin(axis=1))


def test_a_class_with_few_keys_is_not_favoured():
    """Each key twice is the same class, twice as many keys."""
    twice = [KEYS[0], np.repeat(KEYS[0], 2, axis=0)]
    found = key_distances(FEATURES, twice)
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-6)


def test_an_image_is_not_influenced_by_other_images_or_classes():
    """Alone, in any company and order: the same bits, so what is known from an earlier bank stays exact."""
    whole = key_distances(FEATURES, KEYS)
    for number in range(6):
        np.testing.assert_array_equal(whole[[number]], key_distances(FEATURES[[number]], KEYS))
    for place, keys in enumerate(KEYS):
        np.testing.assert_array_equal(whole[:, [place]], key_distances(FEATURES, [keys]))
    np.testing.assert_array_equal(whole[::-1, ::-1], key_distances(FEATURES[::-1], KEYS[::-1]))


def test_more_keys_than_are_searched_at_once(monkeypatch):
    """Where a block of keys ends changes nothing."""
    whole = key_distances(FEATURES, KEYS)
    monkeypatch.setattr("evernorm.memory.search._AT_ONCE", 7 * FEATURES.shape[1])  # seven keys
    np.testing.assert_array_equal(whole, key_distances(FEATURES, KEYS))


def test_no_class_gives_no_column_and_no_image_no_row():
    """A bank whose statistics are all known asks for nothing."""
    assert (6, 0) == key_distances(FEATURES, []).shape
    assert (0, 4) == key_distances(FEATURES[:0], KEYS).shape


def test_features_may_be_a_read_only_memory_map(tmp_path):
    """Stored features are read where they lie."""
    np.save(tmp_path / "f.npy", FEATURES)
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
    np.testing.assert_array_equal(key_distances(FEATURES, KEYS), key_distances(mapped, KEYS))


def test_left_out_images_equal_a_class_that_never_had_them():
    """Each training image against the keys that come from the others."""
    picks = RNG.permutation(120)[:40]
    keys, source = FEATURES.reshape(-1, 12)[picks], picks // 20
    expected = [by_hand(FEATURES[i], keys[source != i]) for i in range(6)]
    found = leave_one_out_key_distances(FEATURES, keys, source)
    assert ((6,), np.float32) == (found.shape, found.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for i in range(6):  # on the scale of a test image
        assert found[i] == pytest.approx(key_distances(FEATURES[[i]], [keys[source != i]])[0, 0], rel=1e-6)


def test_an_image_that_owns_every_key_has_no_distance():
    """Nothing is left to compare it with; the others keep theirs."""
    keys = np.ascontiguousarray(FEATURES[2, :8])
    found = leave_one_out_key_distances(FEATURES, keys, np.full(8, 2))
    assert [False, False, True, False, False, False] == np.isnan(found).tolist()
