"""Milliseconds an image: a bank of several classes, not told which, beside anomalib's PatchCore of one class.

anomalib's model is exported and asked as its documentation says, by `TorchInferencer` and by `OpenVINOInferencer`, with
the same frozen network, image size and images, in memory; each in a process of its own, one image at a time. The reference
is anomalib by torch. Its model is that of a class which `evernorm learn --set method=anomalib` has learned; its
export to OpenVINO asks for `pip install onnxscript`.

    python benchmarks/beside_anomalib.py --bank WORKSPACE/models/CLASS --trained WORKSPACE/bank/CLASS/prompts/trained.safetensors \
        --images FOLDER [--number 40] [--repeats 3]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.engines import MEDIAN
from flows.commands.environment import SERVING

HEAD = (
    """
import json, statistics, sys, time
from pathlib import Path
from evernorm import read_image
images = [read_image(Path(path)) for path in sys.argv[4:]]
"""
    + MEDIAN
)
OURS = """
from evernorm import load_bank
from evernorm.params.groups import Device, PassEngine
bank = load_bank(sys.argv[1], Device.CPU, PassEngine(sys.argv[2]))
print(json.dumps([median_of(lambda image: bank.predict([image])), median_of(lambda image: bank.learner.backbone.features([image]))]))
"""
THEIRS = """
import torch
from anomalib.deploy import OpenVINOInferencer, TorchInferencer
from PIL import Image
if sys.argv[2] == "torch":
    asked = TorchInferencer(sys.argv[1], device="cpu")
else:
    exact = {"INFERENCE_PRECISION_HINT": "f32"} if sys.argv[2] == "float32" else {}
    asked = OpenVINOInferencer(sys.argv[1], device="CPU", config=exact)
with torch.inference_mode():
    print(json.dumps([median_of(lambda image: asked.predict(Image.fromarray(image))), None]))
"""
EXPORT = """
import sys
from pathlib import Path
from evernorm.features.engine import silence_openvino
silence_openvino()
from evernorm.files import read_arrays
from evernorm.methods.registry import learner_of
from evernorm.params.file import parse_params
params = parse_params({"method": "anomalib", "anomalib": {"prompts": {"settings": {"coreset_sampling_ratio": 0.02, "num_neighbors": 1}}}})
model = learner_of(params).model_of(read_arrays(Path(sys.argv[1])))
model.module.to_torch(sys.argv[2])
model.module.to_openvino(sys.argv[2], input_size=(int(sys.argv[3]), int(sys.argv[4])), onnx_kwargs={"dynamic_shapes": None})
"""


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--number", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    bank, trained = options.bank.resolve(), options.trained.resolve()
    paths = sorted(options.images.resolve().rglob("*.[jp][pn]g"))[: options.number]
    with tempfile.TemporaryDirectory() as folder:
        from PIL import Image

        width, height = Image.open(paths[0]).size
        run(folder, EXPORT, str(trained), folder, str(height), str(width))
        torch_model, openvino_model = (str(next(Path(folder).rglob(f"*.{kind}"))) for kind in ("pt", "xml"))
        asked = {
            "anomalib's PatchCore, one class, torch": (THEIRS, torch_model, "torch"),
            "anomalib's PatchCore, one class, OpenVINO": (THEIRS, openvino_model, "openvino"),
            "the same, in float32 and not as it comes": (THEIRS, openvino_model, "float32"),
            "evernorm, torch": (OURS, str(bank), "torch"),
            "evernorm, OpenVINO": (OURS, str(bank), "openvino"),
        }
        found = {name: [] for name in asked}
        for _ in range(options.repeats):
            for name, (code, *arguments) in asked.items():
                found[name].append(
                    json.loads(run(folder, HEAD + code, *arguments, "-", *map(str, paths)).split("\n")[-1])
                )
    classes = len(json.loads((bank / "bank.json").read_text())["classes"])
    reference = middle([whole for whole, _ in next(iter(found.values()))])
    print(
        f"{len(paths)} images of {width} x {height} pixels, one at a time; middle of {options.repeats} runs in turn; evernorm: {classes} classes"
    )
    for name, its in found.items():
        whole, alone = middle([each[0] for each in its]), [each[1] for each in its if each[1]]
        share = f"   all / frozen pass {whole / middle(alone):.2f}" if alone else ""
        print(f"{name:44}{whole:8.1f} ms {reference / whole:6.2f} x{share}")


def middle(values: list[float]) -> float:
    """Of an odd number of values."""
    return sorted(values)[len(values) // 2]


def run(folder: str, code: str, *arguments: str) -> str:
    """What a new process says; anomalib leaves OpenVINO's cache where it is asked, so that is a folder of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    # anomalib's files are pickles; this one was just made.
    env = {**os.environ, **SERVING, "TRUST_REMOTE_CODE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env, cwd=folder)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
