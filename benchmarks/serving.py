"""What an answer over HTTP costs, compared with the bank in the same process.

Beside a server, as started by `mlflow models serve -m models:/continual-bank@champion --env-manager local --port 5002`:

    python benchmarks/serving.py --bank WORKSPACE/models/CLASS --images FOLDER [--url http://127.0.0.1:5002] [--number 50]
"""

import argparse
import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np

from evernorm.data.image import SUFFIXES
from evernorm.serve import MAPS, _load_pyfunc

T = TypeVar("T")


def main() -> None:
    """Print a line for each form of the map: median and 95th percentile, bytes, ratio to the bank in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True, help="the same bank, stored")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--url", default="http://127.0.0.1:5002")
    parser.add_argument("--number", type=int, default=50)
    options = parser.parse_args()
    paths = [path for path in sorted(options.images.rglob("*")) if path.suffix.lower() in SUFFIXES]
    texts = [base64.b64encode(path.read_bytes()).decode() for path in paths[: options.number]]
    served = _load_pyfunc(str(options.bank))
    reference, _ = timed(lambda text: served.predict([text]), texts)
    print(f"in this process, no map: median {np.median(reference) * 1e3:.0f} ms")
    with httpx.Client(timeout=120) as client:
        for wanted in MAPS:

            def ask(text: str, wanted: str = wanted) -> bytes:
                payload = {"inputs": [text], "params": {"map": wanted}}
                return client.post(f"{options.url}/invocations", json=payload).raise_for_status().content

            taken, answers = timed(ask, texts)
            sizes = [len(answer) for answer in answers]
            print(
                f"served, map {wanted}: median {np.median(taken) * 1e3:.0f} ms, 95 % within "
                f"{np.quantile(taken, 0.95) * 1e3:.0f} ms, {np.median(sizes) / 1e3:.1f} kB an answer, "
                f"{np.median(taken) / np.median(reference):.2f} x the bank in this process"
            )


def timed(call: Callable[[str], T], texts: list[str]) -> tuple[list[float], list[T]]:
    """Seconds of each call after two for warming up, and what it gave."""
    for text in texts[:2]:
        call(text)
    taken, given = [], []
    for text in texts:
        started = time.perf_counter()
        given.append(call(text))
        taken.append(time.perf_counter() - started)
    return taken, given


if __name__ == "__main__":
    main()
