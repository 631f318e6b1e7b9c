"""Many images to one array of patch features, in bounded memory."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evernorm.features.backbone import Backbone

Progress = Callable[[int, int], None]

MEMORY_LIMIT = 2 << 30  # bytes of features held in memory; more goes to an unlinked file, memory-mapped


def extract(
    backbone: Backbone,
    read: Callable[[int], npt.NDArray[np.uint8]],
    count: int,
    *,
    batch_size: int = 4,
    out: Path | None = None,
    progress: Progress | None = None,
) -> npt.NDArray[np.float32]:
    """Run the backbone once over `count` images.

    Memory: `count` · patches · dim · 4 bytes, held in memory up to `MEMORY_LIMIT` and memory-mapped
    beyond it, plus one batch. The next batch is decoded while the backbone works on this one.

    Args:
        backbone: The feature extractor.
        read: Image number → uint8 ``[H, W, 3]``; must be safe to call from another thread.
        count: Number of images.
        batch_size: Images a forward pass; changes speed, and results only in the last bits.
        out: Where to store the array as ``.npy``; kept in memory or a nameless file without it.
        progress: Called with (done, total) after each batch.

    Returns:
        float32 ``[count, patches, dim]``.
    """
    shape = (count, backbone.grid[0] * backbone.grid[1], backbone.dim)
    features = _allocate(shape, out)
    with ThreadPoolExecutor(max_workers=1) as decoder:

        def load(start: int) -> list[npt.NDArray[np.uint8]]:
            return [read(i) for i in range(start, min(start + batch_size, count))]

        upcoming = decoder.submit(load, 0)
        for start in range(0, count, batch_size):
            images = upcoming.result()
            upcoming = decoder.submit(load, start + batch_size)
            features[start : start + len(images)] = backbone.features(images)
            if progress:
                progress(start + len(images), count)
    if isinstance(features, np.memmap):
        features.flush()
    return features


def _allocate(shape: tuple[int, int, int], out: Path | None) -> npt.NDArray[np.float32]:
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        if 0 in shape:
            np.save(out, np.empty(shape, np.float32))
            return np.empty(shape, np.float32)
        return np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=shape)
    if 4 * int(np.prod(shape)) <= MEMORY_LIMIT:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile() as nameless:
        return np.memmap(nameless, dtype=np.float32, mode="w+", shape=shape)
