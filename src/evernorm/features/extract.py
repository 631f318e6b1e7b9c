"""Many images to a few arrays of what a backbone makes of them, in bounded memory."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.features.backbone import Backbone
from evernorm.types import Arrays, Floats, Image, Progress, Read

MEMORY_LIMIT = 2 << 30  # bytes of an array held in memory; more goes to an unlinked file, memory-mapped


def extract(
    backbone: Backbone,
    read: Read,
    count: int,
    *,
    batch_size: int = 4,
    progress: Progress | None = None,
) -> Floats:
    """Run the backbone once over `count` images.

    Memory: `count` · patches · dim · 4 bytes, held in memory up to `MEMORY_LIMIT` and memory-mapped
    beyond it, plus one batch. The next batch is decoded while the backbone works on this one.

    Args:
        backbone: The feature extractor.
        read: Image number → uint8 ``[H, W, 3]``; must be safe to call from another thread.
        count: Number of images.
        batch_size: Images a forward pass; changes speed, and results only in the last bits.
        progress: Called with (done, total) after each batch.

    Returns:
        float32 ``[count, patches, dim]``.
    """
    return collect(
        lambda images: {"features": backbone.features(images)}, read, count, batch_size, progress=progress
    )["features"]


def collect(
    see: Callable[[list[Image]], Arrays],
    read: Read,
    count: int,
    batch_size: int,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Look at `count` images in batches and put the arrays that each gives together.

    Memory of each array as in `extract`.

    Args:
        see: Images → arrays ``[n, …]`` by name.
        read: Image number → uint8 ``[H, W, 3]``; must be safe to call from another thread.
        count: Number of images.
        batch_size: Images at once.
        folder: Where to store each array as ``<name>.npy``; without it, in memory or a nameless file.
        progress: Called with (done, total) after each batch.

    Returns:
        One array ``[count, …]`` a name, of the type that it is given in.
    """

    def prepare(parts: Arrays) -> dict[str, npt.NDArray[Any]]:
        return {
            name: allocate((count, *part.shape[1:]), part.dtype, folder and folder / f"{name}.npy")
            for name, part in parts.items()
        }

    if count == 0:
        return prepare(see([np.zeros((8, 8, 3), np.uint8)]))  # for the shapes
    whole: dict[str, npt.NDArray[Any]] = {}
    for start, images in _batches(read, count, batch_size):
        parts = see(images)
        whole = whole or prepare(parts)
        for name, part in parts.items():
            whole[name][start : start + len(images)] = part
        if progress:
            progress(start + len(images), count)
    for array in whole.values():
        if isinstance(array, np.memmap):
            array.flush()
    return whole


def allocate(shape: tuple[int, ...], dtype: npt.DTypeLike, out: Path | None = None) -> npt.NDArray[Any]:
    """An array in memory, in a nameless file where it is large, or in the ``.npy`` file `out`."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        if 0 in shape:
            np.save(out, np.empty(shape, dtype))
            return np.empty(shape, dtype)
        return np.lib.format.open_memmap(out, mode="w+", dtype=dtype, shape=shape)
    if np.dtype(dtype).itemsize * int(np.prod(shape)) <= MEMORY_LIMIT:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as nameless:
        return np.memmap(nameless, dtype=np.dtype(dtype), mode="w+", shape=shape)


def _batches(read: Read, count: int, size: int) -> Iterator[tuple[int, list[Image]]]:
    """Batches with the number of their first image; the next one is decoded meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as decoder:

        def load(start: int) -> list[Image]:
            return [read(i) for i in range(start, min(start + size, count))]

        upcoming = decoder.submit(load, 0)
        for start in range(0, count, size):
            images = upcoming.result()
            upcoming = decoder.submit(load, start + size)
            yield start, images
