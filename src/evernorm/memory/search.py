"""Exact nearest rows: by one product with NumPy, or by FAISS on the GPU where faiss-gpu and CUDA are there."""

from functools import cache, cached_property
from typing import Any

import numpy as np

from evernorm.cuda import has_cuda
from evernorm.types import Floats, Indices

_AT_ONCE = 8 << 20  # distances held at once: 32 MiB


class NearestRows:
    """Exact Euclidean nearest-neighbour search over the rows of one class.

    A product only finds the indices. Distances are then taken from the rows themselves, because |y|² − 2xy of many
    queries at once is rounded differently in each batch.

    On a processor the nearest row is found by NumPy, whose product takes a half to an eighth of FAISS' time
    (docs/results.md, "Engines and search"); FAISS finds neighbourhoods, and everything on a GPU.

    Args:
        rows: float32 ``[k, d]``.
    """

    def __init__(self, rows: Floats) -> None:
        self.rows = np.ascontiguousarray(rows)

    def nearest(self, queries: Floats) -> tuple[Floats, Indices]:
        """The nearest row of each query.

        Args:
            queries: float32 ``[n, d]``.

        Returns:
            Euclidean distances float32 ``[n]`` and row indices int64 ``[n]``.
        """
        if _gpu_resources() is not None:
            found: Indices = self._index.search(np.ascontiguousarray(queries), 1)[1][:, 0]
        else:
            found = self._least(queries)
        return euclidean(queries, self.rows, found), found

    def neighbourhood(self, row_indices: Indices, count: int) -> Indices:
        """The `count` rows nearest to each of the given rows, itself among them: int64 ``[n, min(count, k)]``."""
        count = min(count, len(self.rows))
        neighbours: Indices = self._index.search(self.rows[row_indices], count)[1]
        return neighbours

    def _least(self, queries: Floats) -> Indices:
        found = np.empty(len(queries), np.int64)
        step = max(1, _AT_ONCE // len(self.rows))
        for start in range(0, len(queries), step):
            block = queries[start : start + step]
            lifted = np.ones((len(block), block.shape[1] + 1), np.float32)
            np.subtract(block, self._centre, out=lifted[:, :-1])
            found[start : start + step] = (lifted @ self._lifted).argmin(axis=1)
        return found

    @cached_property
    def _lifted(self) -> Floats:
        """(−2y, y²) of each row: its product with (x, 1) is the squared distance but for x²."""
        centred = self.rows - self._centre
        norms = np.einsum("kd,kd->k", centred, centred)
        return np.ascontiguousarray(np.concatenate([-2 * centred, norms[:, None]], axis=1).T)

    @cached_property
    def _centre(self) -> Floats:
        """What all rows have in common would only cost digits."""
        centre: Floats = self.rows.mean(axis=0)
        return centre

    @cached_property
    def _index(self) -> Any:
        import faiss

        index: Any = faiss.IndexFlatL2(self.rows.shape[1])
        if (resources := _gpu_resources()) is not None:
            index = faiss.index_cpu_to_gpu(resources, 0, index)
        index.add(self.rows)
        return index


@cache
def _gpu_resources() -> Any:
    """One for all memories, as each reserves memory of the GPU for itself; None without a GPU, or FAISS for it."""
    if not has_cuda():
        return None
    import faiss

    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        return faiss.StandardGpuResources()
    return None


def euclidean(queries: Floats, rows: Floats, chosen: Indices) -> Floats:
    """Distance of each query ``[n, d]`` to ``rows[chosen]``, in blocks so that memory stays small."""
    distances = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), 8192):
        block = slice(start, start + 8192)
        difference = queries[block] - rows[chosen[block]]
        distances[block] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return distances
