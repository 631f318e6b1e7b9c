"""What training a class costs over its floor: its forward and backward passes alone.

Both in seconds of the processor, in the same run, which other work on the machine changes little. The floor is
measured with inputs ready in memory: forward and backward of the images that are trained on, for as many epochs as were
run, and forward of those that tell when to stop (`stopping: compactness`), once before and after each. What is above it
is the first pass, optimiser, distances and everything around. A second ratio leaves the latter out of the floor.

    python benchmarks/training.py --data FOLDER [--method ucad] [--classes a,b] [--set mtrmb.prompts.epochs=5 ...]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from evernorm.data.experience import Experience
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.features.backbone import build_backbone
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.mtrmb import Mtrmb
from evernorm.methods.memory.prompted import PromptedLearner
from evernorm.methods.memory.ucad import Ucad
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params
from evernorm.prompts.trainee import Trainee
from evernorm.prompts.training import COMPARED, count_held_out
from evernorm.structure.segmenter import build_segmenter
from evernorm.types import Arrays


class Watched(PromptedLearner):
    """Keeps what it trains, so that its passes can be timed."""

    trainee: Trainee

    def fit(self, trainee: Trainee, *others: object) -> Arrays:
        """Train it as ever."""
        self.trainee = trainee
        return super().fit(trainee, *others)


class WatchedUcad(Watched, Ucad):
    """UCAD."""


class WatchedMtrmb(Watched, Mtrmb):
    """MTRMB."""


METHODS = {"ucad": WatchedUcad, "mtrmb": WatchedMtrmb}


def main() -> None:
    """Print a line a class."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--method", choices=METHODS, default="mtrmb")
    parser.add_argument("--classes", help="a,b,c; all without it")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    params = parse_params(
        override(default_params().model_dump(mode="json"), [f"method={options.method}", *options.settings])
    )
    names = options.classes.split(",") if options.classes else sorted(read_classes(options.data))
    manifests = validate(options.data, names)
    backbone = build_backbone(params.features)
    for name in names:
        train = Experience.of(manifests[name], options.data / name)
        segmenter = build_segmenter(params.masks, name)
        labels = [segmenter.segment(image).labels for image in train.images()]
        learner = METHODS[options.method](params, backbone)
        started = time.process_time()
        trained = learner.train(Lesson(train, labels.__getitem__))
        seconds = time.process_time() - started
        images = len(train) - count_held_out(learner.own.prompts, len(train))
        epochs = len(trained["history.loss"])
        learned, asked = passes(learner.trainee, train)
        trained_on = epochs * images * learned
        held_out = len(train) - images
        floor = trained_on + (epochs + 1) * asked * (held_out + min(COMPARED, images)) * (held_out > 0)
        print(
            f"{name}: {epochs} epochs of {images} images, {seconds:.0f} s, {seconds / floor:.2f} x its passes, "
            f"{seconds / trained_on:.2f} x those of the images trained on",
            flush=True,
        )


def passes(trainee: Trainee, train: Experience, images: int = 40, size: int = 4) -> tuple[float, float]:
    """Processor seconds an image: forward and backward with the loss, and forward to the features alone."""
    with torch.no_grad():
        begun = trainee.network.enter(trainee.network.backbone.inputs([train.read(i) for i in range(size)]))

    def learned() -> None:
        sum(trainee.terms(np.arange(size), begun).values()).backward()

    def asked() -> None:
        with torch.no_grad():
            trainee.features(begun)

    seconds = []
    for run in (learned, asked):
        run()  # warming up
        started = time.process_time()
        for _ in range(images // size):
            run()
        seconds.append((time.process_time() - started) / images)
    return seconds[0], seconds[1]


if __name__ == "__main__":
    main()
