"""Exact search: against brute force, and what it asks of a GPU."""

import sys
from types import SimpleNamespace

import faiss
import numpy as np

from evernorm.memory.search import NearestRows, _gpu_resources


def test_the_nearest_row_is_the_one_that_brute_force_finds():
    """Distances and indices, and a neighbourhood that begins with the row itself."""
    rng = np.random.default_rng(0)
    rows, queries = (rng.normal(size=(n, 5)).astype(np.float32) for n in (40, 30))
    search = NearestRows(rows)
    distances, found = search.nearest(queries)
    whole = np.linalg.norm(queries[:, None] - rows, axis=2)
    np.testing.assert_array_equal(whole.argmin(axis=1), found)
    np.testing.assert_allclose(whole.min(axis=1), distances, rtol=1e-5)
    np.testing.assert_array_equal(np.arange(40), search.neighbourhood(np.arange(40), 3)[:, 0])


def test_all_memories_share_one_gpu_resource(monkeypatch):
    """A resource reserves a part of the GPU's memory: a hundred classes must not take a hundred of them."""
    made: list[object] = []
    used: list[object] = []

    def resources() -> object:
        made.append(object())
        return made[-1]

    def to_gpu(resource, _device, index):
        used.append(resource)
        return index

    fake = SimpleNamespace(
        IndexFlatL2=faiss.IndexFlatL2,
        StandardGpuResources=resources,
        get_num_gpus=lambda: 1,
        index_cpu_to_gpu=to_gpu,
    )
    monkeypatch.setitem(sys.modules, "faiss", fake)
    monkeypatch.setattr("evernorm.memory.search.has_cuda", lambda: True)
    _gpu_resources.cache_clear()
    try:
        for _ in range(3):
            NearestRows(np.eye(4, dtype=np.float32)).nearest(np.eye(4, dtype=np.float32))
    finally:
        _gpu_resources.cache_clear()
    assert 1 == len(made)
    assert [made[0]] * 3 == used
