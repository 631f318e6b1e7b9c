"""Greedy k-centre selection against a brute-force selection in float64."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_limits

from evernorm.errors import DataError, ParamsError
from evernorm.memory import coreset
from evernorm.memory.coreset import greedy_k_centre

Rows = npt.NDArray[np.float32]


def brute_force(rows: Rows, k: int, start: int = 0) -> npt.NDArray[np.int64]:
    """Every distance from differences in float64, the first of the farthest rows each time."""
    exact = rows.astype(np.float64)
    nearest = np.full(len(rows), np.inf)
    picks = [start]
    while len(picks) < min(k, len(rows)):
        nearest = np.minimum(nearest, np.square(exact - exact[picks[-1]]).sum(axis=1))
        nearest[picks[-1]] = -1
        picks.append(int(nearest.argmax()))
    return np.array(picks)


def gaussian(n: int, d: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).standard_normal((n, d), np.float32)


def clustered(n: int, d: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    centres = 10 * rng.standard_normal((20, d))
    spread = rng.lognormal(-1, 1, (n, 1))
    return (centres[rng.integers(0, 20, n)] + spread * rng.standard_normal((n, d))).astype(np.float32)


def crowded(n: int, d: int, seed: int = 0) -> Rows:
    """Six tight crowds whose inner distances vanish in a float32 product of vectors of this length."""
    rng = np.random.default_rng(seed)
    return (100 * rng.integers(1, 7, (n, 1)) + 1e-3 * rng.standard_normal((n, d))).astype(np.float32)


@pytest.mark.parametrize(
    "rows",
    [
        gaussian(3000, 1),
        gaussian(3000, 40),
        clustered(6000, 24),
        crowded(700, 30),
        gaussian(2000, 12) + np.float32(1e4),
        np.repeat(clustered(500, 8), 4, axis=0),
        np.asfortranarray(gaussian(900, 17)),
        gaussian(1800, 16)[::2],
        gaussian(40, 9000),
    ],
    ids=["line", "gaussian", "clustered", "crowded", "offset", "repeated", "columns", "strided", "wide"],
)
def test_picks_are_those_of_brute_force(rows: Rows) -> None:
    """Whatever the rows look like, bounds and blocks change nothing about the picks."""
    assert np.array_equal(brute_force(rows, 600), greedy_k_centre(rows, 600))


def test_more_picks_than_one_block_are_those_of_brute_force() -> None:
    """Rows that missed several blocks of picks catch up with all of them."""
    rows = clustered(4000, 6)
    assert np.array_equal(brute_force(rows, 1700, start=7), greedy_k_centre(rows, 1700, start=7))


@pytest.mark.parametrize("make", [gaussian, clustered, crowded])
def test_sizes_of_tiers_and_blocks_do_not_show(
    make: Callable[[int, int], Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiny tiers and blocks, which split everything that can be split, give the same picks."""
    rows = make(400, 7)
    expected = brute_force(rows, 150)
    for name, size in {"_TIER_ROWS": 6, "_BLOCK": 5, "_PAIRS": 3}.items():
        monkeypatch.setattr(coreset, name, size)
    assert np.array_equal(expected, greedy_k_centre(rows, 150))


@pytest.mark.parametrize("rows", [clustered(3000, 6), gaussian(2000, 12) + np.float32(1e4)])
def test_bounds_hold_everywhere_and_are_tight_above_the_threshold(rows: Rows) -> None:
    """No bound is below its distance, and those a tier is made of exceed it by their slack at most."""
    search = coreset._Search(rows, rows.mean(axis=0, dtype=np.float64), 700, 0)
    true = np.full(len(rows), np.inf)
    known = 0
    while search.done < 700:
        threshold = search.refresh()
        for pick in search.picks[known : search.done]:
            squared = np.square(rows.astype(np.float64) - rows[pick]).sum(axis=1) * search.scale**2
            true = np.minimum(true, squared)
        known = search.done
        open_rows = search.bound >= 0
        assert (search.bound >= true)[open_rows].all()
        tier = search.bound >= threshold
        slack = search.slack[tier] + search.slack_picks[:known].max()
        assert (search.bound[tier] <= true[tier] + slack).all()
        assert (search.seen[tier] == known).all()
        assert slack.max(initial=0) < 0.01 * true.max()
        search.pick_down_to(threshold)


def test_more_equally_far_rows_than_a_tier_holds_are_taken_in_index_order() -> None:
    """The corners of a cube that are all equally far are picked first to last."""
    corners = np.tile(np.eye(8, dtype=np.float32), (800, 1))
    expected = np.concatenate([np.arange(8), np.arange(8, 100)])
    assert np.array_equal(expected, greedy_k_centre(corners, 100))
    grid = np.stack(np.meshgrid(*[np.arange(20)] * 3), axis=-1).reshape(-1, 3).astype(np.float32)
    assert np.array_equal(brute_force(grid, 300), greedy_k_centre(grid, 300))


@settings(max_examples=300, deadline=None)
@given(
    rows=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 40), st.integers(1, 5)),
        elements=st.integers(-3, 3).map(float),
        fill=st.nothing(),
    ),
    k=st.integers(1, 50),
    data=st.data(),
)
def test_ties_on_an_integer_grid_go_to_the_lowest_index(rows: Rows, k: int, data: st.DataObject) -> None:
    """On a coarse grid, where almost all distances tie, every pick is that of brute force."""
    start = data.draw(st.integers(0, len(rows) - 1))
    assert np.array_equal(brute_force(rows, k, start), greedy_k_centre(rows, k, start=start))


@settings(max_examples=300, deadline=None)
@given(
    rows=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    k=st.integers(1, 40),
)
@example(rows=np.array([[0], [1e-45], [3e-45]], np.float32), k=3)
@example(rows=np.array([[3.4e38], [-3.4e38], [0], [1e-45], [1]], np.float32), k=5)
def test_any_finite_values_are_selected_exactly(rows: Rows, k: int) -> None:
    """Neither the largest float32 nor the smallest subnormal overflows, vanishes or changes a pick."""
    assert np.array_equal(brute_force(rows, k), greedy_k_centre(rows, k))


def test_squares_below_the_smallest_float32_still_count() -> None:
    """Rows 1e-23 apart are told apart beside rows at a distance of 1."""
    rows = np.array([[-1], [1], [0], [1e-23], [3e-23]], np.float32)
    assert np.array_equal([2, 0, 1, 4, 3], greedy_k_centre(rows, 5, start=2))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 300))
def test_a_shorter_selection_begins_a_longer_one(seed: int, short: int, long: int) -> None:
    """Stored in selection order, a coreset is shrunk by cutting it off."""
    rows = clustered(250, 4, seed)
    short, long = sorted((short, long))
    assert np.array_equal(greedy_k_centre(rows, long)[:short], greedy_k_centre(rows, short))


@pytest.mark.parametrize("k", [60, 61, 10_000])
def test_k_of_all_rows_or_more_returns_each_row_once(k: int) -> None:
    """A class with fewer rows than its share keeps all of them, in selection order."""
    rows = gaussian(60, 3)
    assert np.array_equal(brute_force(rows, 60), greedy_k_centre(rows, k))
    assert np.array_equal(np.arange(60), np.sort(greedy_k_centre(rows, k)))


def test_duplicates_of_picks_come_last_in_index_order() -> None:
    """Rows 1, 3 and 4 repeat row 0 or 2, so they follow once 0, 2 and 5 are picked."""
    rows = np.array([[0], [0], [4], [4], [0], [1]], np.float32)
    assert np.array_equal([0, 2, 5, 1, 3, 4], greedy_k_centre(rows, 6))


@pytest.mark.parametrize("value", [0, 7.3, -1e30])
def test_constant_rows_are_taken_from_the_start_then_in_index_order(value: float) -> None:
    """With nothing to tell rows apart, the start row leads and index order decides."""
    rows = np.full((10_000, 3), value, np.float32)
    assert np.array_equal([5, 0, 1, 2, 3, 4, 6, 7], greedy_k_centre(rows, 8, start=5))


def test_the_start_row_is_the_first_pick() -> None:
    """The first index belongs to the coreset, and the rest follows from it."""
    rows = clustered(400, 5)
    assert np.array_equal(brute_force(rows, 50, 123), greedy_k_centre(rows, 50, start=123))
    assert greedy_k_centre(rows, 1).tolist() == [0]


def test_result_is_int64_indices() -> None:
    """Indices have one type on every platform."""
    assert greedy_k_centre(gaussian(9, 2), 3).dtype == np.int64


def test_a_read_only_memory_map_gives_the_same_picks(tmp_path: Path) -> None:
    """Features may stay on disk; they are read, never written."""
    rows = clustered(1500, 20)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert np.array_equal(greedy_k_centre(rows, 200), greedy_k_centre(mapped, 200))
    assert np.array_equal(rows, np.load(tmp_path / "rows.npy"))


@pytest.mark.parametrize("make", [gaussian, clustered, crowded])
def test_one_thread_and_two_pick_the_same(make: Callable[[int, int], Rows]) -> None:
    """How a matrix product is shared among threads never shows in the picks."""
    rows = make(5000, 65)
    with threadpool_limits(limits=1):
        alone = greedy_k_centre(rows, 300)
    with threadpool_limits(limits=2):
        shared = greedy_k_centre(rows, 300)
    assert np.array_equal(alone, shared)


def test_progress_rises_to_the_total_in_fewer_calls_than_picks() -> None:
    """A progress bar ends full, and is not moved for every pick."""
    calls: list[tuple[int, int]] = []
    greedy_k_centre(clustered(3000, 10), 500, progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert calls[-1] == (500, 500)
    assert len(calls) < 250


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((4, 2)), r"float64 \[4, 2\]"),
        (np.zeros((4, 2), np.float16), r"float16 \[4, 2\]"),
        (np.zeros(4, np.float32), r"float32 \[4\]"),
        (np.zeros((0, 2), np.float32), r"float32 \[0, 2\]"),
        (np.zeros((4, 0), np.float32), r"float32 \[4, 0\]"),
        (np.array([[0], [np.nan], [1], [np.inf]], np.float32), r"2 of 4 rows .* first is row 1"),
        (np.array([[np.inf], [-np.inf]], np.float32), r"2 of 2 rows .* first is row 0"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(rows: Rows, message: str) -> None:
    """The error names the type, the shape or the first row at fault."""
    with pytest.raises(DataError, match=message):
        greedy_k_centre(rows, 2)


def test_all_arguments_out_of_range_are_named_at_once() -> None:
    """Both k and start are reported in one error."""
    with pytest.raises(ParamsError) as caught:
        greedy_k_centre(gaussian(5, 2), 0, start=5)
    assert caught.value.faults == (
        "k is 0, expected at least 1",
        "start is 5, expected the index of a row, 0 to 4",
    )
    with pytest.raises(ParamsError, match="start is -1"):
        greedy_k_centre(gaussian(5, 2), 1, start=-1)
