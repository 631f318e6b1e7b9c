"""The nearest row of each patch of an image: `NearestRows` against FAISS' flat index, the reference.

python benchmarks/search.py [--columns 152] [--patches 784] [--rows 196,1428,10000]

Rows and patches are drawn: what a product costs does not depend on them.
"""

import argparse
import time

import faiss
import numpy as np

from evernorm.memory.search import NearestRows


def main() -> None:
    """Print a line a number of rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=152)
    parser.add_argument("--patches", type=int, default=784)
    parser.add_argument("--rows", default="196,1428,10000")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(options.patches, options.columns)).astype(np.float32)
    for count in map(int, options.rows.split(",")):
        rows = rng.normal(size=(count, options.columns)).astype(np.float32)
        index, search = faiss.IndexFlatL2(options.columns), NearestRows(rows)
        index.add(rows)
        same = (index.search(queries, 1)[1][:, 0] == search.nearest(queries)[1]).mean()
        reference = quickest(lambda index=index: index.search(queries, 1))
        ours = quickest(lambda search=search: search.nearest(queries))
        print(
            f"{count:7} rows  FAISS {reference:7.2f} ms  NearestRows, exact distances too {ours:7.2f} ms  "
            f"{reference / ours:5.2f} x  the same row for {same:.2%}"
        )


def quickest(call) -> float:
    """Milliseconds of the quickest of nine calls, after one for warming up."""
    call()
    taken = []
    for _ in range(9):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return min(taken) * 1e3


if __name__ == "__main__":
    main()
