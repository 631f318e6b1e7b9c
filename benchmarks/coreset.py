"""How fast the coreset is selected, and whether it is the one that slower code selects.

References, timed in turn with evernorm in the same run:

* a plain NumPy loop, one float32 matrix-vector product a pick;
* the same loop in float64, whose rounding is too small to swap picks;
* anomalib's KCenterGreedy, where it is installed (``pip install 'evernorm[anomalib]'``). It starts from a row
  drawn by chance and selects on a projection, so its picks cannot be compared.

    python benchmarks/coreset.py [--data FOLDER] [--picks 1568] [--images 100] [--repeats 5]
"""

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evernorm.memory.coreset import greedy_k_centre

Picks = npt.NDArray[np.int64]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="a folder of images, of a class, or of classes (the first is taken)"
    )
    parser.add_argument("--picks", type=int, default=1568)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--anomalib-picks", type=int, default=200, help="its speed hardly depends on them")
    options = parser.parse_args()
    rows = real_rows(options.data, options.images) if options.data else synthetic_rows(options.images)
    k = min(options.picks, len(rows))
    print(f"{len(rows)} × {rows.shape[1]} float32, {k} picks, {os.cpu_count()} cores\n")

    contestants: dict[str, tuple[Callable[[], Picks | None], int, int]] = {
        "evernorm": (lambda: greedy_k_centre(rows, k), k, options.repeats),
        "plain loop": (lambda: plain_loop(rows, k), k, options.repeats),
        "plain loop, float64": (lambda: plain_loop(rows.astype(np.float64), k), k, 1),
    }
    if (anomalib := anomalib_selection(rows, options.anomalib_picks)) is not None:
        contestants["anomalib"] = (anomalib, options.anomalib_picks, 3)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    picks: dict[str, Picks | None] = {}
    for turn in range(options.repeats):
        for name, (select, _, repeats) in contestants.items():
            if turn < repeats:
                started = time.perf_counter()
                picks[name] = select()
                seconds[name].append(time.perf_counter() - started)

    own = statistics.median(seconds["evernorm"]) / k
    print(f"{'':22}{'picks/s':>10}{'median s':>10}{'best s':>10}{'evernorm is':>14}  same picks")
    for name, (_, count, _) in contestants.items():
        median = statistics.median(seconds[name])
        print(
            f"{name:22}{count / median:>10.0f}{median:>10.3f}{min(seconds[name]):>10.3f}"
            f"{median / count / own:>12.1f} ×  {agreement(rows, picks['evernorm'], picks[name])}"
        )
    print(f"\npeak memory beside the rows ({rows.nbytes / 1e6:.0f} MB): {peak_memory(rows, k) / 1e6:.0f} MB")


def plain_loop(rows: npt.NDArray[np.floating], k: int) -> Picks:
    """The obvious selection: one matrix-vector product a pick."""
    squares = np.einsum("nd,nd->n", rows, rows)
    nearest = np.full(len(rows), np.inf, rows.dtype)
    picks = np.zeros(k, np.int64)
    for i in range(1, k):
        j = picks[i - 1]
        np.minimum(nearest, squares + squares[j] - 2 * (rows @ rows[j]), out=nearest)
        picks[i] = nearest.argmax()
    return picks


def anomalib_selection(rows: npt.NDArray[np.float32], k: int) -> Callable[[], None] | None:
    """Selection of `k` rows by anomalib, or None with a hint where it is not installed."""
    try:
        from anomalib.models.components import KCenterGreedy  # type: ignore[import-not-found]
    except ImportError:
        print("anomalib is not installed, so not measured: pip install 'evernorm[anomalib]'\n")
        return None
    import torch

    embedding = torch.from_numpy(rows)

    def select() -> None:
        KCenterGreedy(embedding, (k + 0.5) / len(rows)).select_coreset_idxs()

    return select


def agreement(rows: npt.NDArray[np.float32], own: Picks | None, other: Picks | None) -> str:
    """Whether two selections are the same, and if not, how close the decision was where they part."""
    if own is None or other is None:
        return "cannot be compared"
    differ = np.flatnonzero(own != other)
    if not len(differ):
        return "yes"
    first = differ[0]
    exact = rows[own[:first]].astype(np.float64)
    a, b = (np.square(exact - rows[picks[first]]).sum(axis=1).min() for picks in (own, other))
    return (
        f"{len(np.intersect1d(own, other))} of {len(own)} rows, the first {first} in the same order; "
        f"there two squared distances differ by {abs(a - b) / a:.0e} of themselves"
    )


def peak_memory(rows: npt.NDArray[np.float32], k: int) -> int:
    """Bytes that evernorm's selection allocates at most, in a run of its own."""
    tracemalloc.start()
    greedy_k_centre(rows, k)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def real_rows(data: Path, count: int) -> npt.NDArray[np.float32]:
    """Default patch features of the first `count` images found: float32 [count · patches, columns]."""
    from evernorm.data.image import read_image
    from evernorm.features.backbone import build_backbone
    from evernorm.features.extract import extract
    from evernorm.params.groups import FeatureParams

    suffixes = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
    for folder in (data, data / "train" / "good", *sorted(data.glob("*/train/good"))):
        paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in suffixes)[:count]
        if paths:
            break
    else:
        raise SystemExit(f"no images in {data}, its train/good or its */train/good")
    print(f"real features of {len(paths)} images in {folder}")
    features = extract(build_backbone(FeatureParams()), lambda i: read_image(paths[i]), len(paths))
    return features.reshape(-1, features.shape[2])


def synthetic_rows(images: int) -> npt.NDArray[np.float32]:
    """Seeded rows in clusters of unequal spread, of the size of real features: float32 [784 · images, 152]."""
    print("synthetic rows in clusters (give --data for real features)")
    rng = np.random.default_rng(0)
    n, d, clusters = 784 * images, 152, 200
    columns = np.arange(1, d + 1) ** -0.5
    centres = 30 * columns * rng.standard_normal((clusters, d))
    spread = rng.lognormal(1, 0.4, (n, 1)) * columns
    return (centres[rng.integers(0, clusters, n)] + spread * rng.standard_normal((n, d))).astype(np.float32)


if __name__ == "__main__":
    main()
