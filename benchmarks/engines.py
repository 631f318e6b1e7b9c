"""What a stored bank costs on each engine: first answer, memory, an image, and the frozen pass alone; torch is the reference.

Each engine gets a process of its own, as a served bank has.

    python benchmarks/engines.py --bank WORKSPACE/models/CLASS --images FOLDER [--number 20] [--engines openvino,torch]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from flows.commands.environment import SERVING

MEDIAN = """
def median_of(call):
    for image in images[:2]:
        call(image)
    taken = []
    for image in images:
        started = time.perf_counter()
        call(image)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e3
"""
MEASURED = (
    """
import json, resource, statistics, sys, time
began = float(sys.argv[1])
from pathlib import Path
from evernorm import load_bank, read_image
from evernorm.params.groups import Device, PassEngine
bank = load_bank(sys.argv[2], Device.CPU, PassEngine(sys.argv[3]))
images = [read_image(Path(path)) for path in sys.argv[4:]]
bank.predict(images[:1])
first = time.time() - began
"""
    + MEDIAN
    + """whole = median_of(lambda image: bank.predict([image]))
alone = median_of(lambda image: bank.learner.backbone.features([image]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
answers = [[p.routed_class, p.anomalous, float(p.score)] for p in bank.predict(images)]
print(json.dumps({"first": first, "whole": whole, "alone": alone, "peak": peak, "answers": answers,
                  "torch": "torch" in sys.modules}))
"""
)


def main() -> None:
    """Print a line an engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--number", type=int, default=20)
    parser.add_argument("--engines", default="torch,onnxruntime,openvino")
    options = parser.parse_args()
    paths = sorted(options.images.rglob("*.[jp][pn]g"))[: options.number]
    found = {name: measured(options.bank, name, paths) for name in options.engines.split(",")}
    reference = next(iter(found.values()))
    print(f"{len(paths)} images, one at a time; the first line is the reference")
    print(f"{'':12} first answer   peak    an image           frozen pass        all / pass   scores off by")
    for name, its in found.items():
        off = max(
            abs(one[2] - other[2]) for one, other in zip(its["answers"], reference["answers"], strict=True)
        )
        other = sum(one[:2] != two[:2] for one, two in zip(its["answers"], reference["answers"], strict=True))
        print(
            f"{name:12} {its['first']:8.2f} s {its['peak']:7.0f} MB {its['whole']:7.1f} ms {reference['whole'] / its['whole']:5.2f} x"
            f" {its['alone']:7.1f} ms {reference['alone'] / its['alone']:5.2f} x {its['whole'] / its['alone']:8.2f}"
            f"      {off:.1e}, {other} decided otherwise{', with torch' if its['torch'] else ''}"
        )


def measured(bank: Path, engine: str, paths: list[Path]) -> dict:
    """What a new process finds."""
    command = [sys.executable, "-c", MEASURED, str(time.time()), str(bank), engine, *map(str, paths)]
    served = {**os.environ, **SERVING}
    return json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=served).stdout
    )


if __name__ == "__main__":
    main()
