"""What a bank of many classes costs: first answer, memory, bytes, and an image beside the frozen pass on the same engine.

A stored bank of a few real classes is grown with made ones: each a real class whose features are all shifted the same way,
by so many standard deviations of a column, with noise. Each bank is stored, and asked in a process of its own by images of
real classes. The reference in every line is the frozen pass.

    python benchmarks/grow.py --bank WORKSPACE/models/CLASS --images FOLDER [--classes 7,200,1000] [--shift 0.5] [--number 40] \
        [--candidates 8]
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.engines import measured
from evernorm import load_bank
from evernorm.memory.compact import Storage, packed, unpacked
from evernorm.methods.bank import save_bank
from evernorm.methods.detector import Detector
from evernorm.methods.learner import ClassState
from evernorm.params.file import override, parse_params

NOISE = 0.05  # of a column's standard deviation


def main() -> None:
    """Print a line a number of classes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--classes", default="7,200,1000")
    parser.add_argument("--shift", type=float, default=0.5)
    parser.add_argument("--number", type=int, default=40)
    parser.add_argument("--candidates", type=int, default=8, help="0: all classes are asked")
    parser.add_argument("--engine", default="openvino")
    options = parser.parse_args()
    every = sorted(options.images.rglob("*.[jp][pn]g"))
    paths = every[:: max(1, len(every) // options.number)][: options.number]
    stored = load_bank(options.bank)
    method = stored.learner.name
    print(f"{method}, {len(paths)} images one at a time, {options.engine}, shift {options.shift:g}")
    print(
        "classes   bank    a class   first answer   peak     an image   frozen pass   all / pass   stored in"
    )
    for count in map(int, options.classes.split(",")):
        bank = grown(stored, count, options.shift, options.candidates)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            save_bank(bank, Path(folder))
            seconds = time.perf_counter() - started
            its = measured(Path(folder), options.engine, paths)
        print(
            f"{count:7} {bank.bank_bytes / 1e6:5.1f} MB {bank.bank_bytes / count / 1e3:6.1f} kB {its['first']:9.2f} s {its['peak']:9.0f} MB"
            f" {its['whole']:8.1f} ms {its['alone']:9.1f} ms {its['whole'] / its['alone']:11.2f} {seconds:12.1f} s",
            flush=True,
        )


def grown(bank: Detector, count: int, shift: float, candidates: int) -> Detector:
    """The bank with made classes after its own."""
    real, rng = bank.states, np.random.default_rng(0)
    spread = {
        name: np.concatenate([unpacked(state.entry, name) for state in real]).std(axis=0)
        for name in ("rows", "keys")
        if name in real[0].entry
    }
    states = [*real]
    for place in range(len(real), count):
        direction = rng.standard_normal(len(next(iter(spread.values()))))
        moved = {name: (shift * each * direction).astype(np.float32) for name, each in spread.items()}
        states.append(made(real[place % len(real)], place, moved, spread, rng))
    learner = bank.learner
    params = parse_params(
        override(learner.params.model_dump(mode="json"), [f"{learner.name}.evaluate.candidates={candidates}"])
    )
    return type(learner)(params, learner.backbone).detector_of(states[:count], bank.alignment)


def made(state: ClassState, place: int, moved: dict, spread: dict, rng: np.random.Generator) -> ClassState:
    """A class like another, elsewhere."""
    beside, entry = ("keys" if "keys" in state.entry else "rows"), dict(state.entry)
    for name, shift in moved.items():
        rows = unpacked(state.entry, name)
        noise = (NOISE * spread[name] * rng.standard_normal(rows.shape)).astype(np.float32)
        arrays = {name: rows + shift + noise}
        if name == beside:
            arrays["descriptors"] = unpacked(state.entry, "descriptors", grid=name) + shift
        entry |= packed(arrays, Storage.INT8, arrays[name])
    return replace(state, name=f"made{place}", entry=entry)


if __name__ == "__main__":
    main()
