"""Whether a false-alarm rate that is asked for is kept, over random halves of each class's normal images.

One half is remembered and calibrates (each image left out in turn), the other is judged. `tail` and `conformal` are the two
guarantees; `split` is conformal on a fifth of the first half that is not remembered, which alone promises the rate without
any assumption but that images are exchangeable. Kept: share of the splits with no more false alarms than asked. All normal
images of a class take part, those for training and those for testing; no defect does.

    python benchmarks/guarantee.py --data FOLDER [--rows 196] [--splits 200] [--classes a,b] [--picture guarantee.png]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evernorm.calibration.evidence import Evidence
from evernorm.calibration.reading import reached
from evernorm.calibration.weibull import calibrate
from evernorm.data.experience import Experience, TestView
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.features.backbone import build_backbone
from evernorm.features.extract import extract
from evernorm.memory.entry import build_memory
from evernorm.memory.params import MemoryParams, Score
from evernorm.memory.scoring import top_scores
from evernorm.memory.search import NearestRows
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Guarantee, Params
from evernorm.params.model import default_params
from evernorm.types import Floats, Image

ASKED = (0.005, 0.01, 0.02, 0.05, 0.1)
RULES = ("tail", "conformal", "split")
KNOWLEDGE = MemoryParams(score=Score.TOP)


def main() -> None:
    """Print a table a class and the mean, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of classes")
    parser.add_argument("--classes", help="a,b,c; all without it")
    parser.add_argument("--rows", type=int, default=196)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="settings", help="a parameter, key=value")
    options = parser.parse_args()
    params = parse_params(override(default_params().model_dump(mode="json"), options.settings))
    names = options.classes.split(",") if options.classes else sorted(read_classes(options.data))
    found = {}
    for name in names:
        features = normal_features(params, options.data, name)
        found[name] = np.array(
            [achieved(features, options.rows, params, seed) for seed in range(options.splits)]
        )  # [splits, rules, rates]
        count = len(features) // 2
        least = reached(0, count)
        print(f"\n{name}: {count} normal images calibrate; ranks keep {least:.1%} at the least")
        table(found[name])
    print(f"\nmean of {len(found)} classes")
    table(np.mean(list(found.values()), axis=0), np.array([*found.values()]))
    if options.picture:
        draw(found, options.picture)


def normal_features(params: Params, data: Path, name: str) -> Floats:
    """Of all normal images of a class, float32 ``[n, P, d]``."""
    manifest = validate(data, [name])[name]
    train, test = Experience.of(manifest, data / name), TestView.of(manifest, data / name)
    good = np.flatnonzero(~test.labels)

    def read(number: int) -> Image:
        return train.read(number) if number < len(train) else test.read(int(good[number - len(train)]))

    return extract(build_backbone(params.features), read, len(train) + len(good))


def achieved(features: Floats, rows: int, params: Params, seed: int) -> list[list[float]]:
    """For each rule and rate, the share of the images of the other half that are alarms."""
    order = np.random.default_rng(seed).permutation(len(features))
    learned, other = np.split(features[order], [len(order) // 2])
    memory = build_memory(learned, rows, KNOWLEDGE, 0, shrinks=False)
    scores = judged(memory.rows, other)
    fifth = max(5, len(learned) // 5)
    apart = build_memory(learned[fifth:], rows, KNOWLEDGE, 0, shrinks=False).rows
    held_out = Evidence(judged(apart, learned[:fifth])[None])
    return [
        alarms(memory.evidence, Guarantee.TAIL, params, scores),
        alarms(memory.evidence, Guarantee.CONFORMAL, params, scores),
        alarms(held_out, Guarantee.CONFORMAL, params, judged(apart, other)),
    ]


def judged(rows: Floats, features: Floats) -> Floats:
    """Scores of images in a memory."""
    distances, _ = NearestRows(rows).nearest(features.reshape(-1, features.shape[2]))
    return top_scores(distances.reshape(features.shape[:2]))


def alarms(evidence: Evidence, guarantee: Guarantee, params: Params, scores: Floats) -> list[float]:
    """At each rate."""
    reading = calibrate(evidence, params.weibull, guarantee).steps[0]
    return [float((scores > reading.score_at(rate)).mean()) for rate in ASKED]


def table(found: np.ndarray, by_class: np.ndarray | None = None) -> None:
    """A line a rule: mean rate at each asked one, and how many splits keep it."""
    print(f"  {'asked':10}" + "".join(f"{rate:>16.1%}" for rate in ASKED))
    for place, rule in enumerate(RULES):
        rates = found[:, place].mean(axis=0)
        each = found if by_class is None else by_class.reshape(-1, *found.shape[1:])
        kept = (each[:, place] <= np.array(ASKED) + 1e-9).mean(axis=0)
        print(
            f"  {rule:10}" + "".join(f"{rate:>9.2%} ({k:4.0%})" for rate, k in zip(rates, kept, strict=True))
        )


def draw(found: dict[str, np.ndarray], path: Path) -> None:
    """A panel a rule: achieved over asked, a line a class and the mean."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(RULES), figsize=(12, 4), sharey=True, layout="constrained")
    asked = 100 * np.array(ASKED)
    plain: Callable[[float, int], str] = lambda value, _: f"{value:g}"  # noqa: E731
    for place, (panel, rule) in enumerate(zip(panels, RULES, strict=True)):
        panel.plot(asked, asked, color="0.6", linestyle="--", label="asked")
        for name, each in found.items():
            panel.plot(asked, 100 * each[:, place].mean(axis=0), marker=".", alpha=0.6, label=name)
        mean = np.mean([each[:, place].mean(axis=0) for each in found.values()], axis=0)
        panel.plot(asked, 100 * mean, color="black", linewidth=2.5, label="mean of the classes")
        panel.set(title=rule, xscale="log", yscale="log", xlabel="false alarms asked for, %", ylim=(0.4, 25))
        panel.set_xticks(asked)
        panel.set_yticks([*asked, 20])
        panel.minorticks_off()
        panel.xaxis.set_major_formatter(plain)
        panel.yaxis.set_major_formatter(plain)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("of the other half's normal images, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
