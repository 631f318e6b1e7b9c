"""What training a class costs over its floor: the forward and backward passes alone.

Both in seconds of the processor, in the same run, which other work on the machine changes little. The floor is
measured with inputs ready in memory and counts the images that are trained on, for as many epochs as were run; what
is above it is the first pass, optimiser, held-out images (`stopping`) and everything around.

    python benchmarks/training.py --data FOLDER [--method ucad] [--classes a,b] [--set mtrmb.prompts.epochs=5 ...]
"""

import argparse
import time
from functools import cache
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
from evernorm.prompts.params import Stopping
from evernorm.prompts.trainee import Trainee
from evernorm.structure.segmenter import build_segmenter
from evernorm.types import Arrays

METHODS: dict[str, type[PromptedLearner]] = {"ucad": Ucad, "mtrmb": Mtrmb}


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
        learner, trainees = watched(METHODS[options.method])
        began = learner(params, backbone)
        started = time.process_time()
        trained = began.train(Lesson(train, labels.__getitem__))
        seconds = time.process_time() - started
        images = trained_on(trainees[0], len(train))
        epochs = len(trained["history.loss"])
        floor = epochs * images * passes(trainees[0], train)
        print(
            f"{name}: {epochs} epochs of {images} images, {seconds:.0f} s, {seconds / floor:.2f} x its floor",
            flush=True,
        )


def watched(method: type[PromptedLearner]) -> tuple[type[PromptedLearner], list[Trainee]]:
    """The method, and where it leaves what it trains."""
    trainees: list[Trainee] = []

    class Watched(method):
        def fit(self, trainee: Trainee, *others: object) -> Arrays:
            trainees.append(trainee)
            return super().fit(trainee, *others)

    return Watched, trainees


def trained_on(trainee: Trainee, count: int) -> int:
    """Training images that are not held out."""
    params = trainee.network.params
    return count if params.stopping is Stopping.LAST else count - max(2, round(params.held_out * count))


def passes(trainee: Trainee, train: Experience, images: int = 40, size: int = 4) -> float:
    """Processor seconds an image of the forward and backward passes alone: network and loss."""
    read = cache(train.read)
    with torch.inference_mode():
        begun = trainee.network.enter(trainee.network.backbone.inputs([read(i) for i in range(size)]))
    begun = type(begun)(begun.state.clone(), {level: kept.clone() for level, kept in begun.levels.items()})
    started = 0.0
    for turn in range(1 + images // size):
        if turn == 1:  # the first is for warming up
            started = time.process_time()
        terms = list(trainee.terms(np.arange(size), begun).values())
        sum(terms[1:], terms[0]).backward()
    return (time.process_time() - started) / images


if __name__ == "__main__":
    main()
