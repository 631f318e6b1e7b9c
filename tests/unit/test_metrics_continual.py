"""Forgetting in its several definitions, each worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.errors import DataError
from evernorm.metrics import (
    chaudhry,
    final_mean,
    forgetting,
    gap_to_joint,
    matrix_rows,
    mtrmb,
    relative_percent,
)

# Class 0 is best after experience 1, class 1 falls, class 2 gains at the end.
ROWS = [
    [0.8],
    [0.9, 0.5],
    [0.7, 0.4, 0.6],
    [0.6, 0.45, 0.7, 1.0],
]

triangles = st.integers(1, 6).flatmap(
    lambda size: st.tuples(
        *(st.lists(st.floats(0.01, 1.0), min_size=i, max_size=i) for i in range(1, size + 1))
    ).map(list)
)


def test_final_mean_by_hand():
    """The mean of the last row."""
    assert final_mean(ROWS) == pytest.approx((0.6 + 0.45 + 0.7 + 1.0) / 4)


def test_chaudhry_by_hand():
    """Best before the end minus the end: .9 − .6, .5 − .45 and .6 − .7, over three classes."""
    assert chaudhry(ROWS) == pytest.approx((0.3 + 0.05 - 0.1) / 3)


def test_relative_percent_by_hand():
    """Just learned minus the end, relative: .2 / .8, .05 / .5 and −.1 / .6, over three classes, times 100."""
    assert relative_percent(ROWS) == pytest.approx(100 * (0.25 + 0.1 - 1 / 6) / 3)


def test_mtrmb_by_hand():
    """Eq. 12 divides the same sum by (k − 1) k = 12."""
    assert mtrmb(ROWS) == pytest.approx((0.3 + 0.05 - 0.1) / 12)


def test_forgetting_names_each_definition():
    """The dictionary has the three values under their names."""
    expected = {"chaudhry": chaudhry(ROWS), "relative_percent": relative_percent(ROWS), "mtrmb": mtrmb(ROWS)}

    assert expected == forgetting(ROWS)


def test_gap_to_joint_by_hand():
    """Joint mean .75 against a final mean of .6875."""
    assert gap_to_joint(ROWS, [0.8, 0.7, 0.5, 1.0]) == pytest.approx((0.75 - 0.6875) / 0.75)


def test_one_experience_forgets_nothing():
    """With T = 1 there is no earlier class: 0 in every definition."""
    assert forgetting([[0.9]]) == {"chaudhry": 0.0, "relative_percent": 0.0, "mtrmb": 0.0}


def test_undefined_values_are_left_out():
    """None in the last row drops the class; None earlier drops that value from its maximum."""
    rows = [[0.8], [None, 0.5], [0.9, None, 0.7], [0.6, 0.4, None, 1.0]]

    assert chaudhry(rows) == pytest.approx(((0.9 - 0.6) + (0.5 - 0.4)) / 2)
    assert relative_percent(rows) == pytest.approx(100 * (0.2 / 0.8 + 0.1 / 0.5) / 2)
    assert mtrmb(rows) == pytest.approx(((0.9 - 0.6) + (0.5 - 0.4)) / 2 / 4)
    assert final_mean(rows) == pytest.approx((0.6 + 0.4 + 1.0) / 3)
    # Joint is undefined for class 0: only classes 1 and 3 are compared.
    assert gap_to_joint(rows, [None, 0.8, 0.9, 1.0]) == pytest.approx((0.9 - 0.7) / 0.9)


def test_means_of_nothing_are_none():
    """Where no class has a value there is no mean, and no warning."""
    rows = [[None], [None, None]]

    assert forgetting(rows) == {"chaudhry": None, "relative_percent": None, "mtrmb": None}
    assert final_mean(rows) is None
    assert gap_to_joint(rows, [0.9, 0.9]) is None
    assert gap_to_joint([[0.5]], [0.0]) is None


def test_a_class_learned_at_zero_has_no_relative_forgetting():
    """R[j, j] = 0 has no quotient; the other classes keep theirs."""
    assert relative_percent([[0.0], [0.1, 0.5], [0.2, 0.4, 0.9]]) == pytest.approx(20.0)
    assert relative_percent([[0.0], [0.1, 0.5]]) is None


@given(triangles)
def test_rows_and_arrays_agree(rows):
    """A list of rows and its NaN-padded array give the same numbers."""
    matrix = matrix_rows(rows)

    assert forgetting(rows) == forgetting(matrix)
    assert final_mean(rows) == final_mean(matrix)
    assert matrix.shape == (len(rows), len(rows))
    assert np.isnan(matrix[np.triu_indices(len(rows), 1)]).all()


@given(triangles)
def test_definitions_agree_with_plain_loops(rows):
    """Each definition equals its formula written out as loops."""
    last = len(rows) - 1
    if last == 0:
        return

    best = [max(rows[i][j] for i in range(j, last)) - rows[last][j] for j in range(last)]
    relative = [(rows[j][j] - rows[last][j]) / rows[j][j] * 100 for j in range(last)]

    assert chaudhry(rows) == pytest.approx(sum(best) / last, abs=1e-12)
    assert relative_percent(rows) == pytest.approx(sum(relative) / last, abs=1e-9)
    assert mtrmb(rows) == pytest.approx(sum(best) / (last * (last + 1)), abs=1e-12)


@given(triangles)
def test_keeping_every_value_forgets_nothing(rows):
    """If the classes stay where they were learned, nothing is forgotten and nothing is lost to joint."""
    kept = [[rows[j][j] for j in range(i + 1)] for i in range(len(rows))]

    assert forgetting(kept) == {"chaudhry": 0.0, "relative_percent": 0.0, "mtrmb": 0.0}
    assert gap_to_joint(kept, kept[-1]) == 0


def test_every_faulty_row_is_named():
    """All faults come at once: a wrong length, a value for a class not learned yet, an infinite value."""
    with pytest.raises(DataError) as caught:
        matrix_rows([[0.5, None, 0.2, None], [0.5], [0.5, float("inf"), 0.5], [0.5] * 4])

    assert caught.value.faults == (
        "row 0 has values for classes after 0, which were not learned yet",
        "row 1 has 1 values, expected 2",
        "row 2 has an infinite value",
    )


def test_a_matrix_without_rows_is_refused():
    """No experience, no matrix."""
    with pytest.raises(DataError, match="no rows"):
        final_mean([])


def test_joint_needs_one_value_per_class():
    """Both numbers of classes stand in the message."""
    with pytest.raises(DataError, match="joint has 2 classes and the accuracy matrix 4"):
        gap_to_joint(ROWS, [0.9, 0.8])
