"""Whether words help MTRMB find defects: fusion, and its losses, in pairs with each left out; and whose words they are.

Per class and seed the same images, parts, order and starts of the coreset; the true class is given. Variants:

    none       frozen features                           wrong      fused with what is said of the next class
    RSCL       prompts, no words                         noise      fused with random tokens of the same lengths
    fused      prompts and words, all losses (Eq. 8)     no RSCL    prompts and words without Eq. 6

If `wrong` and `noise` do as well as `fused`, what the words say carries nothing.

    python benchmarks/text.py --data FOLDER [--seeds 3] [--starts 5] [--epochs 25] [--classes a,b]
        [--variants RSCL,fused] [--set features.backbone=... ...] [--out FILE]
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from prompts import over_starts

from evernorm.data.experience import Experience, TestView
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.features.backbone import build_backbone
from evernorm.features.extract import collect
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.mtrmb import Mtrmb, MtrmbParams
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Params
from evernorm.params.model import default_params
from evernorm.structure.segmenter import build_segmenter
from evernorm.text.encoder import Tokens
from evernorm.types import Arrays

VARIANTS = {
    "none": ("mtrmb.prompts.kind=none", "mtrmb.prompts.fusion_width=0", "mtrmb.prompts.epochs=1"),
    "RSCL": ("mtrmb.prompts.fusion_width=0",),
    "fused": (),
    "no RSCL": ("mtrmb.prompts.weights.structure=0",),
    "wrong": (),
    "noise": (),
}


class Decoded(Experience):
    """Images that are decoded once."""

    read = cache(Experience.read)


class Other(Mtrmb):
    """MTRMB that is told something else of a class."""

    tokens: Tokens

    def words_on(self, lesson: Lesson) -> Tokens:
        """What it was told."""
        return self.tokens


def main() -> None:
    """Print a line a class, seed and variant, then the means of the differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--classes", help="a,b,c; all without it")
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    parser.add_argument("--out", type=Path, help="append every figure here, one JSON object a line")
    options = parser.parse_args()
    names = options.classes.split(",") if options.classes else sorted(read_classes(options.data))
    manifests = validate(options.data, names)
    every = sorted(read_classes(options.data))
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    backbone = None
    for name in names:
        train = Decoded.of(manifests[name], options.data / name)
        test = TestView.of(manifests[name], options.data / name)
        segmenter = build_segmenter(with_settings(options.settings).masks, name)
        lesson = Lesson(
            train, cache(lambda number, see=segmenter, of=train: see.segment(of.read(number)).labels)
        )
        for seed in range(options.seeds):
            for variant in options.variants.split(","):
                own = (f"mtrmb.prompts.epochs={options.epochs}", *options.settings, *VARIANTS[variant])
                params = with_settings([f"seed={seed}", *own])
                backbone = backbone or build_backbone(params.features)
                learner = Other(params, backbone)
                if params.own(MtrmbParams).prompts.fusion_width:
                    learner.tokens = words(learner, lesson, variant, every)
                started = time.process_time()
                trained = learner.train(lesson)
                seconds = time.process_time() - started
                figures = measured(learner, trained, train, test, options.starts)
                kept_epoch = int(trained["history.kept"][0])
                print(
                    f"{name} seed {seed} {variant}: "
                    + ", ".join(f"{figure} {np.mean(each):.4f}" for figure, each in figures.items())
                    + f" (epoch {kept_epoch}, {seconds:.0f} s)",
                    flush=True,
                )
                for figure, each in figures.items():
                    found[f"{variant}/{figure}"][name].append(float(np.mean(each)))
                if options.out is not None:
                    line = {"class": name, "seed": seed, "variant": variant, "kept": kept_epoch, **figures}
                    with options.out.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps(line) + "\n")
    for figure in ("image AUROC", "pixel AP"):
        for variant in options.variants.split(","):
            differences(found, variant, "RSCL", figure)
            if variant in {"wrong", "noise", "no RSCL"}:
                differences(found, variant, "fused", figure)


def with_settings(settings: list[str]) -> Params:
    """The defaults of MTRMB, and these."""
    return parse_params(override(default_params().model_dump(mode="json"), ["method=mtrmb", *settings]))


def words(learner: Mtrmb, lesson: Lesson, variant: str, names: list[str]) -> Tokens:
    """What a variant is told of a class."""
    other = names[(names.index(lesson.name) + 1) % len(names)]
    told = replace(lesson.experience, name=other) if variant == "wrong" else lesson.experience
    tokens = Mtrmb.words_on(learner, Lesson(told, lesson.parts))
    if variant != "noise":
        return tokens
    drawn = np.random.default_rng(learner.params.seed).normal(0, 1, tokens.features.shape)
    lengths = np.linalg.norm(tokens.features, axis=1, keepdims=True)
    drawn *= lengths / np.linalg.norm(drawn, axis=1, keepdims=True)
    return Tokens(tokens.words, drawn.astype(np.float32))


def measured(
    learner: Mtrmb, trained: Arrays, train: Experience, test: TestView, starts: int
) -> dict[str, list[float]]:
    """Image AUROC, and pixel AP where there are masks, of coresets from several starts."""
    see = learner.eye(trained)
    normal, seen = (collect(see, view.read, len(view), 4)["adapted"] for view in (train, test))
    rows = learner.own.knowledge.rows
    return over_starts(
        learner.backbone, normal, seen, test, rows, starts, lambda distances, *_: distances.max(axis=1)
    )


def differences(found: dict[str, dict[str, list[float]]], variant: str, reference: str, figure: str) -> None:
    """Print by how much a variant differs from another, in pairs."""
    one, two = found.get(f"{variant}/{figure}"), found.get(f"{reference}/{figure}")
    if variant == reference or not one or not two:
        return
    means = [float(np.mean(np.subtract(one[name], two[name]))) for name in one if name in two]
    # Seeds and starts of a class share its images: the classes are what is independent.
    error = np.std(means, ddof=1) / len(means) ** 0.5 if len(means) > 1 else np.nan
    print(
        f"{figure}: {variant} − {reference} {np.mean(means):+.4f} (standard error {error:.4f} over classes)"
    )


if __name__ == "__main__":
    main()
