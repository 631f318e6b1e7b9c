"""Linear discriminants of embeddings, against scikit-learn and worked by hand."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from evernorm.methods.diffcont.detector import pooled
from evernorm.methods.discriminant import Discriminants, covariance


def test_an_embedding_is_averaged_over_its_places():
    """Channel by channel."""
    grid = np.arange(8.0, dtype=np.float32).reshape(1, 8)
    np.testing.assert_array_equal([[1.5, 5.5]], pooled(grid, 2))
    np.testing.assert_array_equal(
        [[1.0, 1.0], [1.0, 1.0]], covariance(pooled(np.array([[0, 0, 4, 4], [2, 2, 6.0, 6]]), 2))
    )


def test_classes_are_told_apart_as_scikit_learn_tells_them():
    """With the same shrinkage and equal priors."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    classes = [
        (rng.normal(size=(60, 12)) @ mixing + 2 * rng.normal(size=12)).astype(np.float32) for _ in range(3)
    ]
    means = np.stack([each.mean(axis=0) for each in classes])
    shared = np.mean([covariance(each) for each in classes], axis=0, dtype=np.float32)
    reference = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3)
    reference.fit(np.concatenate(classes), np.repeat(range(3), 60))
    # Its own shrinkage is taken after the features are scaled; this is the plain one.
    level = np.trace(shared) / 12
    inverse = np.linalg.inv(shared.astype(np.float64) + 0.1 * level * np.eye(12))
    reference.coef_ = means @ inverse
    reference.intercept_ = -0.5 * np.einsum("td,dc,tc->t", means, inverse, means)
    seen = rng.normal(size=(200, 12)).astype(np.float32) @ mixing.astype(np.float32) * 2
    found = Discriminants(means, shared).nearest(seen)
    np.testing.assert_array_equal(reference.predict(seen), found)
    assert {0, 1, 2} == set(found)


@pytest.mark.parametrize("count", [1, 7])
def test_an_answer_depends_on_no_other_embedding(count):
    """To the bit, also on the border between two classes."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=(2, 4)).astype(np.float32)
    spread = covariance(rng.normal(size=(9, 4)).astype(np.float32))
    border = (means[0] + means[1]) / 2 + 1e-7 * rng.normal(size=(20, 4)).astype(np.float32)
    whole = Discriminants(means, spread).nearest(border)
    parts = [Discriminants(means, spread).nearest(border[i : i + count]) for i in range(0, 20, count)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
