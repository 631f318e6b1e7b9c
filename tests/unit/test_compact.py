"""Values of a memory as they are stored, and as they come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from evernorm.errors import StateError
from evernorm.files import StoredArrays, write_arrays
from evernorm.memory.compact import Storage, names_in, packed, unpacked

RNG = np.random.default_rng(0)
PATCHES = (RNG.standard_normal((400, 12)) * np.geomspace(0.01, 100, 12) + 7).astype(np.float32)
ROWS, WHOLE = PATCHES[:50], PATCHES.reshape(40, 10, 12).mean(axis=1)
values = st.floats(-1000, 1000, width=32, allow_subnormal=False)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=values))
def test_a_value_comes_back_within_half_a_step_of_its_column(patches):
    entry = packed({"rows": patches[::2]}, Storage.INT8, patches)
    assert np.uint8 == entry["rows"].dtype
    span = patches.max(axis=0) - patches.min(axis=0)
    off = np.abs(unpacked(entry, "rows") - patches[::2])
    assert (off <= 0.501 * span / 255 + 1e-6 * np.abs(patches).max()).all()


def test_a_column_in_which_all_are_equal_comes_back_as_it_was():
    patches = np.full((5, 3), 0.1, np.float32)
    np.testing.assert_array_equal(patches, unpacked(packed({"rows": patches}, Storage.INT8, patches), "rows"))


def test_fewer_rows_lie_on_the_same_grid():
    """A smaller share of a budget is a shorter read; what is packed beside shares the grid."""
    entry = packed({"rows": ROWS, "descriptors": WHOLE}, Storage.INT8, PATCHES)
    few = packed({"rows": ROWS[:9]}, Storage.INT8, PATCHES)
    np.testing.assert_array_equal(few["rows"], entry["rows"][:9])
    np.testing.assert_array_equal(unpacked(few, "rows"), unpacked(entry, "rows", 9))
    assert ["rows", "rows_grid"] == names_in(entry, "rows")
    step = entry["rows_grid"][1]
    assert (np.abs(unpacked(entry, "descriptors", grid="rows") - WHOLE) <= 0.501 * step).all()


def test_what_is_stored_is_read_as_it_was_packed(tmp_path):
    entry = packed({"rows": ROWS}, Storage.INT8, PATCHES)
    write_arrays(tmp_path / "entry", {f"cloth/{name}": array for name, array in entry.items()})
    stored = StoredArrays(tmp_path / "entry")
    np.testing.assert_array_equal(unpacked(entry, "rows", 7), unpacked(stored, "cloth/rows", 7))


@pytest.mark.parametrize(("storage", "rtol", "each"), [(Storage.FLOAT32, 0, 4), (Storage.FLOAT16, 5e-4, 2)])
def test_floats_have_no_grid(storage, rtol, each):
    entry = packed({"rows": ROWS}, storage, PATCHES)
    assert ["rows"] == names_in(entry, "rows") == list(entry)
    assert each * ROWS.size == entry["rows"].nbytes
    assert np.float32 == unpacked(entry, "rows").dtype
    np.testing.assert_allclose(unpacked(entry, "rows"), ROWS, rtol=rtol)


def test_what_float16_cannot_hold_is_refused():
    with pytest.raises(StateError, match="features of 70000 do not fit float16"):
        packed({"rows": np.full((2, 2), 7e4, np.float32)}, Storage.FLOAT16, PATCHES)


@pytest.mark.parametrize("change", ["none", "narrow"])
def test_values_without_their_grid_are_refused(change):
    entry = packed({"rows": ROWS}, Storage.INT8, PATCHES)
    grid = entry.pop("rows_grid")
    if change == "narrow":
        entry["rows_grid"] = grid[:, 1:]
    with pytest.raises(StateError, match="the rows of an entry lack the grid they lie on"):
        unpacked(entry, "rows")
