"""What a stream of experiences did to the metric: the accuracy matrix, and forgetting by its several names.

``R[i, j]`` is the metric on class j after learning experience i, for j ≤ i: a lower triangle. Functions take
it as a list of rows, row i with i + 1 values and None where the metric is undefined, or as a float array
[T, T] with NaN above the diagonal. Undefined values are left out of every mean; a mean of nothing is None.
Forgetting is positive where the metric fell, and 0 after a single experience.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from evernorm.errors import DataError

Matrix: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = Sequence[Sequence[float | None]] | Matrix


def matrix_rows(rows: Rows) -> Matrix:
    """Check a lower triangle and make it a square array.

    Args:
        rows: Row i with i + 1 values (None or NaN where undefined), or T values that end in None or NaN.

    Returns:
        float64 [T, T], NaN above the diagonal and where the metric is undefined.

    Raises:
        DataError: There is no row, a row has another length or values above the diagonal, or a value is
            infinite.
    """
    table = [_floats(row) for row in rows]
    if not table:
        raise DataError("the accuracy matrix has no rows; expected one per experience learned")
    faults = []
    for i, row in enumerate(table):
        if row.size not in {i + 1, len(table)}:
            faults.append(f"row {i} has {row.size} values, expected {i + 1}")
        elif not np.isnan(row[i + 1 :]).all():
            faults.append(f"row {i} has values for classes after {i}, which were not learned yet")
        if np.isinf(row).any():
            faults.append(f"row {i} has an infinite value")
    if faults:
        raise DataError("the accuracy matrix is no lower triangle; give row i the classes 0 to i", faults)
    matrix = np.full((len(table), len(table)), np.nan)
    for i, row in enumerate(table):
        matrix[i, : i + 1] = row[: i + 1]
    return matrix


def final_mean(R: Rows) -> float | None:
    """Mean of the last row: the metric over all classes once the stream has ended.

    Raises:
        DataError: `R` is no lower triangle.
    """
    return _mean(matrix_rows(R)[-1])


def chaudhry(R: Rows) -> float | None:
    """Forgetting measure of Chaudhry et al. (ECCV 2018), as in UCAD Eq. 7.

    Mean over j < T of max over j ≤ i < T of R[i, j], minus R[T, j]. In the units of R; negative where a class
    gained.

    Raises:
        DataError: `R` is no lower triangle.
    """
    matrix = matrix_rows(R)
    if len(matrix) == 1:
        return 0.0
    best = np.fmax.reduce(matrix[:-1, :-1])  # fmax passes over NaN
    return _mean(best - matrix[-1, :-1])


def relative_percent(R: Rows) -> float | None:
    """Average forgetting of PatchCoreCL (section 5.2), in percent.

    Mean over j < T of (R[j, j] − R[T, j]) / R[j, j] · 100: from the value just after learning a class, not the
    best one, to the value after the last experience. Those are the two quantities the paper defines, although
    its prose speaks of the drop with each new task. It says nothing of R[j, j] = 0, where the quotient is
    undefined: such a class is left out.

    Raises:
        DataError: `R` is no lower triangle.
    """
    matrix = matrix_rows(R)
    if len(matrix) == 1:
        return 0.0
    learned = np.diagonal(matrix)[:-1]
    learned = np.where(learned == 0, np.nan, learned)
    return _mean(100 * (learned - matrix[-1, :-1]) / learned)


def mtrmb(R: Rows) -> float | None:
    """Forgetting measure as MTRMB prints it (Eq. 12): `chaudhry` with an extra factor 1 / T.

    The paper names Chaudhry's measure as its source, so the factor 1 / ((k − 1) k) is probably a slip. It is
    followed to the letter to compare with its tables; it shrinks as a stream grows and suits nothing else.

    Raises:
        DataError: `R` is no lower triangle.
    """
    forgotten = chaudhry(R)
    return None if forgotten is None else forgotten / len(R)


def forgetting(R: Rows) -> dict[str, float | None]:
    """All three definitions by name: ``chaudhry`` (the headline), ``relative_percent``, ``mtrmb``.

    Raises:
        DataError: `R` is no lower triangle.
    """
    return {"chaudhry": chaudhry(R), "relative_percent": relative_percent(R), "mtrmb": mtrmb(R)}


def forgetting_since(
    learned: Sequence[float | None], best: Sequence[float | None], last: Sequence[float | None]
) -> dict[str, float | None]:
    """`forgetting` from what can be carried from experience to experience, without the matrix.

    Args:
        learned: Metric of each of T classes when it was learned, R[j, j].
        best: Its highest value before the last experience, max over i < T of R[i, j]; what is given for the last
            class does not count.
        last: Metric of each class after the last experience, R[T, j].
    """
    count = len(last)
    first, top, now = (_floats(row)[: count - 1] for row in (learned, best, last))
    if count == 1:
        return {"chaudhry": 0.0, "relative_percent": 0.0, "mtrmb": 0.0}
    first = np.where(first == 0, np.nan, first)
    forgotten = _mean(top - now)
    return {
        "chaudhry": forgotten,
        "relative_percent": _mean(100 * (first - now) / first),
        "mtrmb": None if forgotten is None else forgotten / count,
    }


def gap_to_joint(R: Rows, joint: Sequence[float | None] | Matrix) -> float | None:
    """Relative gap to joint training (PatchCoreCL section 5.2): (joint − final) / joint, of class means.

    The paper defines it in words as a difference from the joint bound, and the gaps it prints (.11, .02, .01)
    are plain differences of image F1; the quotient follows the name and compares across metrics.

    Args:
        R: Accuracy matrix of the continual method; its last row counts.
        joint: float [T], the metric of one model trained on all classes together, class by class.

    Returns:
        A fraction, 0 where the stream cost nothing; over the classes where both are defined. None without
        such a class or with a joint mean of 0.

    Raises:
        DataError: `R` is no lower triangle, or `joint` has another number of classes.
    """
    final, bound = matrix_rows(R)[-1], _floats(joint)
    if final.shape != bound.shape:
        raise DataError(f"joint has {bound.size} classes and the accuracy matrix {final.size}; give one each")
    both = ~np.isnan(final - bound)
    upper, reached = _mean(bound[both]), _mean(final[both])
    return None if reached is None or not upper else (upper - reached) / upper


def _floats(row: Sequence[float | None] | Matrix) -> Matrix:
    return np.array([np.nan if value is None else value for value in row], np.float64)


def _mean(values: Matrix) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None
