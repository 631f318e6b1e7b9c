"""The budget that classes share, and routing with bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evernorm.errors import StateError
from evernorm.memory.budget import prefixes, shares
from evernorm.memory.params import Routing
from evernorm.memory.routing import route
from evernorm.memory.search import NearestRows


@given(st.integers(10, 5000), st.lists(st.integers(1, 800), min_size=1, max_size=10))
def test_shares_keep_the_budget_and_are_fair(budget, sizes):
    """Never more than M in all, never more than a class has, at most one row apart otherwise."""
    kept = shares(budget, sizes)
    assert sum(kept) <= budget
    assert all(k <= size for k, size in zip(kept, sizes, strict=True))
    full = [k for k, size in zip(kept, sizes, strict=True) if k < size]
    assert not full or max(full) - min(full) <= 1


def test_left_over_rows_go_to_the_first_classes():
    """10 rows over 3 classes: 4, 3, 3; a small class keeps all it has."""
    assert shares(10, [99, 99, 99]) == [4, 3, 3]
    assert shares(10, [99, 2, 99]) == [4, 2, 3]


def test_more_classes_than_rows_is_an_error():
    """A class with no row at all cannot be recognised."""
    with pytest.raises(StateError, match=r"11 classes cannot share 10 rows; raise the budget"):
        shares(10, [5] * 11)


@given(st.integers(10, 100_000), st.integers(1, 100_000))
def test_prefixes_hold_every_size_the_first_32_classes_need(budget, size):
    """Descending, each once, exact for streams of up to 32 classes."""
    steps = prefixes(budget, size)
    assert steps == sorted(set(steps), reverse=True)
    assert all(min(budget // classes, size) in steps for classes in range(1, 33) if budget // classes)


def brute_route(features: np.ndarray, memories: list[np.ndarray], statistic: Routing) -> np.ndarray:
    """The statistic of every image in every memory."""
    values = []
    for rows in memories:
        distances = np.linalg.norm(features[:, :, None] - rows[None, None], axis=3).min(axis=2)
        values.append(distances.mean(axis=1) if statistic is Routing.MEAN else distances.max(axis=1))
    return np.stack(values, axis=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(Routing), st.integers(1, 6))
def test_routing_with_bounds_equals_searching_everything(seed, statistic, classes):
    """Bounds from an earlier, larger memory change the work, never the answer."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, 4)) * rng.choice([0.2, 3.0])
    memories = [(c + rng.standard_normal((24, 4))).astype(np.float32) for c in centres]
    features = (centres[rng.integers(classes, size=7)][:, None] + rng.standard_normal((7, 9, 4))).astype(
        np.float32
    )
    larger = route(features, [NearestRows(rows) for rows in memories], statistic)
    shrunk = [rows[:6] for rows in memories]
    exact = brute_route(features, shrunk, statistic)
    bounded = route(features, [NearestRows(rows) for rows in shrunk], statistic, larger.bounds)
    np.testing.assert_array_equal(exact.argmin(axis=1), bounded.place)
    assert (bounded.bounds <= exact * (1 + 1e-4)).all()
    place = bounded.place
    expected = np.stack(
        [
            np.linalg.norm(f[:, None] - shrunk[p][None], axis=2).min(axis=1)
            for f, p in zip(features, place, strict=True)
        ]
    )
    np.testing.assert_allclose(bounded.distances, expected, rtol=1e-4, atol=1e-5)


def test_bounds_save_searches():
    """Memories that are far away are not searched a second time."""
    rng = np.random.default_rng(0)
    memories = [NearestRows((10 * c + rng.standard_normal((20, 4))).astype(np.float32)) for c in range(5)]
    features = (10 * 2 + rng.standard_normal((6, 9, 4))).astype(np.float32)
    first = route(features, memories, Routing.MEAN)
    calls = []
    for number, memory in enumerate(memories):
        search = memory.nearest
        memory.nearest = lambda q, number=number, search=search: (calls.append(number), search(q))[1]  # type: ignore[method-assign]
    again = route(features, memories, Routing.MEAN, first.bounds)
    assert calls == [2]
    np.testing.assert_array_equal(first.distances, again.distances)
