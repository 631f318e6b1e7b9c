"""Stage `knowledge`: what is kept of the class, and how it scores its own training images."""

from evernorm.files import sha256_file, write_arrays, write_json
from evernorm.methods.registry import learner_of
from evernorm.params.groups import Params
from tasks.stages.learning import CARRY, carried, classes_before, lesson_of, record_lineage, trained_of
from tasks.stages.stage import main, progress_bar, result_params
from tasks.workspace.paths import Paths

PACKAGES = ("numpy", "pillow", "timm", "torch")
SCHEMA = 2


def knowledge(name: str, params: Params, paths: Paths) -> None:
    """Build and store the entry and the evidence for its calibration."""
    learner = learner_of(params)
    with progress_bar(f"{name}: features") as progress:
        entry, evidence = learner.remember(
            lesson_of(name, learner, params, paths),
            trained_of(name, paths),
            carried(name, params, paths),
            progress=progress,
        )
    folder = paths.bank(name, "knowledge")
    write_arrays(folder / "entry.safetensors", entry)
    write_arrays(folder / "evidence.safetensors", evidence.arrays())
    write_json(
        folder / "entry.json",
        {
            "schema": SCHEMA,
            "class": name,
            "method": params.method,
            "weights": learner.weights,
            "revision": learner.revisions["knowledge"],
            "arrays": {key: list(array.shape) for key, array in sorted(entry.items())},
            "sha256": sha256_file(folder / "entry.safetensors"),
        },
    )
    before = [paths.training(each["class"]) for each in classes_before(name, params, paths)]
    record_lineage(
        "knowledge",
        learner.revisions,
        folder,
        paths,
        inputs=[
            paths.training(name),
            *before,
            paths.bank(name, "prompts") / "trained.safetensors",
            paths.bank(params.stream[name].needs, "carry") / CARRY,
        ],
        params=result_params(params),
        packages=(*PACKAGES, *learner.packages, *learner.engines),
        weights=learner.weights,
    )


if __name__ == "__main__":
    main(knowledge)
