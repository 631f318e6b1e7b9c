"""Greedy k-centre selection: each pick is the row farthest from all rows picked before.

It selects PatchCore's coreset (Roth et al., 2022, Algorithm 1) and is farthest point sampling by another
name (Gonzalez, 1985), so UCAD's keys (Liu et al., 2024) come from here too.

The selection is exact, yet most distances are never computed:

* Picks only ever lower a row's distance to its nearest pick, so a distance that misses the latest picks is
  an upper bound. A row meets the picks it missed only once its bound comes close to the largest; then many
  rows meet many picks in one matrix product.
* The few rows that still lie above that threshold form a *tier*. No other row can outdo them, so picks are
  taken from the tier alone until its largest distance falls below the threshold.
* Matrix products are float32 and round differently from machine to machine. They only rule rows out, by a
  bound on their error; in the tier, differences in float64 decide.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evernorm.errors import DataError, ParamsError

_DEPTH = 0.95
"""A tier reaches down to this part of the largest squared distance."""
_TIER_ROWS = 4096
"""Rows a tier holds at most, exact ties aside: it should stay in the processor's cache."""
_BLOCK = 512
"""Rows, and picks, that meet in one matrix product, whose result should stay in the cache too."""
_PAIRS = 128
"""Pairs whose differences are formed at once."""


def greedy_k_centre(
    rows: npt.NDArray[np.float32],
    k: int,
    *,
    start: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.int64]:
    """Select `k` rows, each the one farthest (Euclidean) from those selected before.

    The squared distance of two rows is the float64 sum of their squared differences. Rows equally far are
    taken in index order, so duplicates of selected rows come last, in index order. The selection depends on
    the values of `rows` and on `start` alone: not on threads, and not on `k`, so the first indices of a
    longer selection are the shorter one.

    Besides `rows`, memory holds a float32 copy of them with two more columns, at most 48 bytes a row,
    12 bytes a feature of each pick, and blocks of some 10 MB. Only where more than 4096 rows are exactly
    equally far are those copied once more.

    Args:
        rows: float32 [n, d], n and d at least 1, all finite; may be a read-only memory map.
        k: How many rows to select, at least 1; where it exceeds n, all n are.
        start: Index of the first row selected. PatchCore draws it; a fixed one is reproducible.
        progress: Called with the number of rows selected so far and in all, some hundred times.

    Returns:
        int64 [min(k, n)], indices into `rows` in the order of selection, `start` first.

    Raises:
        DataError: `rows` are of another type or shape, empty, or not finite.
        ParamsError: `k` or `start` is out of range.
    """
    rows = np.asarray(rows)
    mean = _checked_mean(rows)
    faults = [] if k >= 1 else [f"k is {k}, expected at least 1"]
    if not 0 <= start < len(rows):
        faults.append(f"start is {start}, expected the index of a row, 0 to {len(rows) - 1}")
    if faults:
        raise ParamsError("a coreset cannot be selected; correct the arguments", faults)
    search = _Search(rows, mean, min(k, len(rows)), start)
    while search.done < len(search.picks):
        threshold = search.refresh()
        if threshold > 0:
            search.pick_down_to(threshold)
        else:
            search.pick_duplicates()
        if progress is not None:
            progress(search.done, len(search.picks))
    return search.picks


def _checked_mean(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Check `rows` and return their mean [d], which is finite exactly if they are."""
    if rows.ndim != 2 or rows.dtype != np.float32 or 0 in rows.shape:
        raise DataError(
            f"rows to select from are {rows.dtype} {list(rows.shape)}; "
            "give float32 [n, d] with at least one row and one column"
        )
    with np.errstate(invalid="ignore"):
        mean: npt.NDArray[np.float64] = rows.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        raise DataError(
            f"{len(bad)} of {len(rows)} rows are not finite, the first is row {bad[0]}; "
            "find the image it comes from and remove or repair it"
        )
    return mean


class _Search:
    """State of one selection.

    `bound` is never below a row's squared distance to its nearest pick, and takes the first `seen` picks
    into account. Picked rows have -1. Distances are in units that make the largest value of a row about 1.
    """

    def __init__(
        self, rows: npt.NDArray[np.float32], mean: npt.NDArray[np.float64], k: int, start: int
    ) -> None:
        n, d = rows.shape
        self.rows = rows
        self.picks = np.empty(k, np.int64)
        self.done = 0
        self.bound = np.full(n, np.inf)
        self.seen = np.zeros(n, np.int32)

        # |x - y|² = x² + y² - 2xy is one product if rows are lifted to (x, 1, x²) and picks to (-2y, y², 1).
        # Centred, little cancels; scaled, nothing overflows, and a power of two changes no rounding.
        exponent = int(np.frexp(max(-float(rows.min()), float(rows.max())))[1])
        self.scale = 2.0 ** min(max(-exponent, -126), 126)
        self.lifted = np.empty((n, d + 2), np.float32)
        centred = self.lifted[:, :d]
        np.multiply(rows, np.float32(self.scale), out=centred)
        centred -= (mean * self.scale).astype(np.float32)
        squares = np.einsum("nd,nd->n", centred, centred)

        # A float32 sum of m products errs by at most m 2⁻²⁴ times the sum of their magnitudes (Higham, 2002,
        # §3.1), here 2 (x² + y²) at most; the squares err likewise, centring and rounding by a few units.
        # Added beforehand, the error makes every product an upper bound, too large by no more than the
        # slack of the row and that of the pick.
        error = (3 * (d + 2) + 16) * 2.0**-24
        underflow = 2.0**-100
        self.lifted[:, d] = 1
        self.lifted[:, d + 1] = squares * (1 + error) + underflow
        self.slack = (squares * (2.01 * error) + 3 * underflow).astype(np.float32)
        self.lifted_picks = np.empty((k, d + 2), np.float32)
        self.slack_picks = np.empty(k, np.float32)
        self.exact_picks = np.empty((k, d), np.float64)
        self._pick(start)
        self.bound[start] = -1

    def refresh(self) -> float:
        """Let rows whose bound is close to the largest meet the picks they missed; return the threshold."""
        threshold = float(self.bound.max()) * _DEPTH
        stale = np.flatnonzero(self.bound >= threshold)
        while True:
            stale = stale[(self.bound[stale] >= threshold) & (self.seen[stale] < self.done)]
            if not len(stale):
                return threshold
            stale = stale[np.argsort(self.seen[stale], kind="stable")]
            for first in range(0, len(stale), _BLOCK):
                block = stale[first : first + _BLOCK]
                low = int(self.seen[block[0]])
                # Ending at whole blocks keeps rows together that have seen equally many picks.
                high = min((low // _BLOCK + 1) * _BLOCK, self.done)
                product = self.lifted.take(block, axis=0) @ self.lifted_picks[low:high].T
                self.bound[block] = np.minimum(self.bound[block], product.min(axis=1))
                self.seen[block] = np.maximum(self.seen[block], high)

    def pick_down_to(self, threshold: float) -> None:
        """Pick rows until no distance reaches `threshold`; rows whose bound does must be refreshed."""
        tier = np.flatnonzero(self.bound >= threshold)
        if len(tier) > _TIER_ROWS:
            threshold = float(np.partition(self.bound[tier], -_TIER_ROWS)[-_TIER_ROWS])
            tier = tier[self.bound[tier] >= threshold]
        lifted, distance = self.lifted[tier], self.bound[tier]
        for first in range(0, len(tier), _BLOCK):
            block = slice(first, first + _BLOCK)
            for low in range(0, self.done, _BLOCK):
                high = min(low + _BLOCK, self.done)
                self._lower(distance[block], tier[block], lifted[block], low, high)
        while len(tier) and self.done < len(self.picks):
            farthest = int(distance.argmax())
            if distance[farthest] < threshold:
                break
            self._pick(int(tier[farthest]))
            distance[farthest] = -1
            self._lower(distance, tier, lifted, self.done - 1, self.done)
        self.bound[tier] = distance
        self.seen[tier] = self.done

    def pick_duplicates(self) -> None:
        """Fill up with rows at distance zero, where nothing else is left."""
        self.picks[self.done :] = np.flatnonzero(self.bound == 0)[: len(self.picks) - self.done]
        self.done = len(self.picks)

    def _pick(self, row: int) -> None:
        d = self.rows.shape[1]
        self.picks[self.done] = row
        self.lifted_picks[self.done, :d] = -2 * self.lifted[row, :d]
        self.lifted_picks[self.done, d] = self.lifted[row, d + 1]
        self.lifted_picks[self.done, d + 1] = 1
        self.slack_picks[self.done] = self.slack[row]
        self.exact_picks[self.done] = self.rows[row]
        self.done += 1

    def _lower(
        self,
        distance: npt.NDArray[np.float64],
        tier: npt.NDArray[np.int64],
        lifted: npt.NDArray[np.float32],
        low: int,
        high: int,
    ) -> None:
        """Lower `distance` of the rows `tier`, in place, to that of the nearest pick from `low` to `high`."""
        reach = np.nextafter((distance + self.slack[tier]).astype(np.float32), np.float32(np.inf))
        product = lifted @ self.lifted_picks[low:high].T
        near = np.flatnonzero(product <= reach[:, None] + self.slack_picks[low:high])
        row, pick = np.divmod(near, high - low)
        np.minimum.at(distance, row, self._distances(tier[row], low + pick))

    def _distances(self, row: npt.NDArray[np.int64], pick: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Squared distances of the pairs (`row`, `pick`) from their differences, in float64."""
        squared = np.empty(len(row))
        for first in range(0, len(row), _PAIRS):
            pairs = slice(first, first + _PAIRS)
            difference = self.rows.take(row[pairs], axis=0) - self.exact_picks.take(pick[pairs], axis=0)
            # Not einsum: beyond 8192 features its order of summation depends on how many pairs there are.
            squared[pairs] = np.square(difference, out=difference).sum(axis=1)
        return squared * self.scale**2
