"""Exact nearest rows on FAISS: on the GPU where faiss-gpu and CUDA are there, else on the CPU."""

from functools import cache
from typing import Any

import numpy as np

from evernorm.types import Floats, Indices


class NearestRows:
    """Exact Euclidean nearest-neighbour search over the rows of one class.

    FAISS only finds the indices. Distances are then taken from the rows themselves, because FAISS
    computes many queries at once as |x|² + |y|² − 2xy, whose rounding depends on the batch.

    Args:
        rows: float32 ``[k, d]``.
    """

    def __init__(self, rows: Floats) -> None:
        import faiss

        self.rows = np.ascontiguousarray(rows)
        index: Any = faiss.IndexFlatL2(self.rows.shape[1])
        if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
            index = faiss.index_cpu_to_gpu(_gpu_resources(), 0, index)
        index.add(self.rows)
        self._index = index

    def nearest(self, queries: Floats) -> tuple[Floats, Indices]:
        """The nearest row of each query.

        Args:
            queries: float32 ``[n, d]``.

        Returns:
            Euclidean distances float32 ``[n]`` and row indices int64 ``[n]``.
        """
        found: Indices = self._index.search(np.ascontiguousarray(queries), 1)[1][:, 0]
        return euclidean(queries, self.rows, found), found

    def neighbourhood(self, row_indices: Indices, count: int) -> Indices:
        """The `count` rows nearest to each of the given rows, itself among them: int64 ``[n, min(count, k)]``."""
        count = min(count, len(self.rows))
        neighbours: Indices = self._index.search(self.rows[row_indices], count)[1]
        return neighbours


@cache
def _gpu_resources() -> Any:
    """One for all memories: each reserves memory of the GPU for itself."""
    import faiss

    return faiss.StandardGpuResources()


def euclidean(queries: Floats, rows: Floats, chosen: Indices) -> Floats:
    """Distance of each query ``[n, d]`` to ``rows[chosen]``, in blocks so that memory stays small."""
    distances = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), 8192):
        block = slice(start, start + 8192)
        difference = queries[block] - rows[chosen[block]]
        distances[block] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return distances
