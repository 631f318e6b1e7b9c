"""Stage `prompts`: what a method trains, the only stage with gradients."""

import shutil

from rich.console import Console

from evernorm.files import sha256_file, sha256_json, write_arrays
from evernorm.methods.registry import learner_of, learners
from evernorm.params.groups import Params
from tasks.stages.learning import CARRY, carried, classes_before, lesson_of, record_lineage
from tasks.stages.stage import main, progress_bar, record_choice, result_params
from tasks.workspace.paths import Paths

PACKAGES = ("numpy", "pillow", "timm", "torch")


def prompts(name: str, params: Params, paths: Paths) -> None:
    """Train what the method trains for the class, going on from where a killed run was."""
    folder = paths.bank(name, "prompts")
    if not learners()[params.method].traits.trained:
        record_choice(folder, "trained", "none")
        return
    learner = learner_of(params)
    used = {
        group: value
        for group, value in result_params(params).items()
        if group in {"method", "seed", "features"}
    }
    used[params.method] = {"prompts": result_params(params)[params.method]["prompts"]}
    inputs = [
        paths.training(name),
        paths.masks(name) / "lineage.json",
        paths.bank(params.stream[name].needs, "carry") / CARRY,
    ]
    # What makes this training this one: a checkpoint of another is not continued.
    made_from = [used, learner.weights, learner.revisions["prompts"]]
    made_from += [sha256_file(path) for path in inputs if path.is_file()]
    checkpoint = paths.training_state(name) / sha256_json(made_from)[:16]
    with progress_bar(f"{name}: training, epochs") as progress:
        trained = learner.train(
            lesson_of(name, learner, params, paths),
            carried(name, params, paths),
            checkpoint=checkpoint,
            progress=progress,
        )
    if trained:
        write_arrays(folder / "trained.safetensors", trained)
        record_lineage(
            "prompts",
            learner.revisions,
            folder,
            paths,
            inputs=inputs,
            params=used,
            packages=(*PACKAGES, *learner.packages, *learner.engines),
            weights=learner.weights,
        )
    record_choice(folder, "trained", params.method if trained else "none")
    console = Console(stderr=True, highlight=False)
    for sentence in learner.remarks(trained, [each["class"] for each in classes_before(name, params, paths)]):
        console.print(f"  {name}: {sentence}", style="yellow", markup=False, soft_wrap=True)
    shutil.rmtree(paths.training_state(name), ignore_errors=True)


if __name__ == "__main__":
    main(prompts)
