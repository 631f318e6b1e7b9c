"""Whether trained prompts find more defects than none at the same number of rows.

A coreset of 196 rows depends on the row it starts from by more than prompts change it. So prompts and no prompts
are compared in pairs: the same class, images and starts, over several starts and several seeds of the training.
The true class is given, so that nothing but prompt and rows differs.

    python benchmarks/prompts.py --data FOLDER [--seeds 3] [--starts 5] [--rows 196 784] [--epochs 25]
        [--structure superpixels|features] [--set ucad.prompts.loss=linear ...] [--classes a,b] [--out FILE]
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from evernorm.data.experience import Experience, TestView
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.features.backbone import TimmBackbone, build_backbone
from evernorm.features.extract import collect
from evernorm.maps import anomaly_map
from evernorm.memory.coreset import greedy_k_centre
from evernorm.memory.scoring import image_scores
from evernorm.memory.search import NearestRows
from evernorm.methods.memory.ucad import UcadParams
from evernorm.metrics.image import auroc
from evernorm.metrics.pixel import PixelMetrics
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Params
from evernorm.params.model import default_params
from evernorm.prompts.params import PromptKind
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.prompts.trainee import PromptTrainee
from evernorm.prompts.training import train as train_values
from evernorm.structure.grid import to_grid
from evernorm.structure.superpixels import SuperpixelSegmenter
from evernorm.types import Floats, Image, Indices

Labels = list[Indices]


def main() -> None:
    """Print a line a class and size, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--classes", help="a,b,c; all without it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rows", type=int, nargs="+", default=[196, 784])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--structure", choices=["superpixels", "features"], default="superpixels")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    parser.add_argument("--out", type=Path, help="append every figure here, one JSON object a line")
    options = parser.parse_args()
    settings = [*options.settings, "method=ucad", f"ucad.prompts.epochs={options.epochs}"]
    params = parse_params(override(default_params().model_dump(mode="json"), settings))
    names = options.classes.split(",") if options.classes else sorted(read_classes(options.data))
    manifests = validate(options.data, names)
    backbone = build_backbone(params.features)
    prompts = params.own(UcadParams).prompts
    network = PromptedBackbone(backbone, prompts)
    plain = PromptedBackbone(backbone, prompts.model_copy(update={"kind": PromptKind.NONE}))
    gains: dict[tuple[int, str], dict[str, list[float]]] = {}
    for name in names:
        train = Experience.of(manifests[name], options.data / name)
        test = TestView.of(manifests[name], options.data / name)
        labels = parts(options.structure, params, network, train)
        without = figures(plain, Prompt(PromptKind.NONE, {}), train, test, options.rows, options.starts)
        report(options.out, name, None, without)
        for seed in range(options.seeds):
            trainee = PromptTrainee(network, labels, seed)
            values, history = train_values(trainee, train.read, len(train), seed)
            prompt = Prompt.of(network.kind, values)
            trained = figures(network, prompt, train, test, options.rows, options.starts)
            report(options.out, name, seed, trained, history.kept)
            print(f"{name} seed {seed}: {history.kept} epochs kept", flush=True)
            if history.held_out:
                # What tells without a defect, so it may choose between layers, kinds and epochs.
                print(
                    f"  held-out images, after each epoch: {' '.join(f'{value:.4f}' for value in history.held_out)}"
                )
            for key, values in trained.items():
                gains.setdefault(key, {}).setdefault(name, []).append(
                    float(np.mean(values) - np.mean(without[key]))
                )
                line = f"  {key[0]} rows, {key[1]}: {np.mean(without[key]):.3f} without, {np.mean(values):.3f} with prompts"
                print(line, flush=True)
    for (rows, figure), classes in gains.items():
        means = [float(np.mean(differences)) for differences in classes.values()]
        # Seeds and starts of a class share its images and its baseline: the classes are what is independent.
        error = np.std(means, ddof=1) / len(means) ** 0.5 if len(means) > 1 else np.nan
        print(
            f"{rows} rows, {figure}: prompts change it by {np.mean(means):+.4f} (standard error {error:.4f} over classes)"
        )


def parts(structure: str, params: Params, network: PromptedBackbone, train: Experience) -> Labels:
    """The part of each patch: superpixels, or clusters of the frozen features (k-means, k = 10)."""
    if structure == "superpixels":
        segmenter = SuperpixelSegmenter(params.masks.superpixels, params.masks.min_region)
        return [to_grid(segmenter.segment(image).labels, network.backbone.grid) for image in train.images()]
    from sklearn.cluster import KMeans

    features = np.concatenate([network.backbone.features([image]) for image in train.images()])
    unit = features / np.linalg.norm(features, axis=2, keepdims=True)
    flat = unit.reshape(-1, unit.shape[2])
    clusters = KMeans(10, n_init=3, random_state=0).fit(flat[::7])
    return list(clusters.predict(flat).reshape(unit.shape[:2]).astype(np.int64))


def figures(
    network: PromptedBackbone,
    prompt: Prompt,
    train: Experience,
    test: TestView,
    sizes: Sequence[int],
    starts: int,
) -> dict[tuple[int, str], list[float]]:
    """Image AUROC, and pixel AP where there are masks, of each start, by number of rows."""

    def see(images: list[Image]) -> dict[str, Floats]:
        return {"adapted": network.finish(network.begin(images)[0], [prompt] * len(images))}

    normal, seen = (collect(see, view.read, len(view), 4)["adapted"] for view in (train, test))

    def score(distances: Floats, nearest: Indices, memory: NearestRows) -> Floats:
        return image_scores(seen, distances, nearest, memory, 9)

    found = {}
    for size in sizes:
        judged = over_starts(network.backbone, normal, seen, test, size, starts, score)
        found |= {(size, figure): each for figure, each in judged.items()}
    return found


def over_starts(
    backbone: TimmBackbone,
    normal: Floats,
    seen: Floats,
    test: TestView,
    rows: int,
    starts: int,
    score: Callable[[Floats, Indices, NearestRows], Floats],
) -> dict[str, list[float]]:
    """Image AUROC, and pixel AP where there are masks, of coresets of so many rows from several starts.

    Args:
        backbone: Whose features they are.
        normal: float32 ``[n, P, d]``, of the training images.
        seen: The same of the test images.
        test: Their labels and masks.
        rows: Of a coreset.
        starts: How many.
        score: Patch distances, nearest rows and the coreset → a score an image.
    """
    flat, found = normal.reshape(-1, normal.shape[2]), defaultdict(list)
    for start in np.random.default_rng(7).integers(0, len(flat), starts):
        memory = NearestRows(flat[greedy_k_centre(flat, rows, start=int(start))])
        distances, nearest = (
            part.reshape(seen.shape[:2]) for part in memory.nearest(seen.reshape(-1, seen.shape[2]))
        )
        scores = score(distances, nearest, memory).astype(np.float64)
        found["image AUROC"].append(float(auroc(test.labels, scores) or 0.5))
        if any(record.mask for record in test.records):
            found["pixel AP"].append(float(pixel_ap(backbone, test, distances)))
    return dict(found)


def pixel_ap(backbone: TimmBackbone, test: TestView, distances: Floats) -> float:
    """Over the images whose mask is known."""
    pixels = PixelMetrics(0.3)
    for number in range(len(test)):
        if (mask := test.mask(number)) is not None:
            pixels.update(
                anomaly_map(distances[number], backbone.grid, backbone.preprocess.size, mask.shape), mask
            )
    return pixels.compute().ap or 0.0


def report(
    out: Path | None, name: str, seed: int | None, found: dict[tuple[int, str], list[float]], kept: int = 0
) -> None:
    """Append the figures to a file."""
    if out is not None:
        values = {f"{rows} {figure}": each for (rows, figure), each in found.items()}
        with out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"class": name, "seed": seed, "kept": kept, **values}) + "\n")


if __name__ == "__main__":
    main()
