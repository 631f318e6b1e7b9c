"""Stage `prompts`: what a method trains, the only stage with gradients (none for PatchCoreCL)."""

import hashlib
import shutil

from evernorm.data.experience import Experience
from evernorm.data.manifest import Manifest
from evernorm.features.backbone import build_backbone
from evernorm.files import sha256_file, sha256_json, write_json
from evernorm.lineage import write_lineage
from evernorm.methods.parts import PARTS
from evernorm.params.groups import Params, PromptKind
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.prompts.training import train_prompt
from evernorm.structure.grid import to_grid
from evernorm.structure.store import load_labels
from tasks.stages.stage import Paths, main, progress_bar, record_choice, result_params

PACKAGES = ("numpy", "pillow", "timm", "torch")
_GROUPS = ("features", "prompts", "seed")


def prompts(name: str, params: Params, paths: Paths) -> None:
    """Train the prompt of the class on its structure, going on from where a killed run was."""
    folder = paths.bank(name, "prompts")
    if not PARTS[params.method].prompted or params.prompts.kind is PromptKind.NONE:
        record_choice(folder, "prompt", "none")
        return
    experience = Experience.of(Manifest.load(paths.training(name)), paths.data(name))
    backbone = build_backbone(params.features, params.seed)
    network = PromptedBackbone(backbone, params.prompts, params.knowledge.key_layers)
    grid = network.backbone.grid
    labels = [to_grid(load_labels(paths.masks(name) / "labels", path), grid) for path in experience.paths]
    used = {group: value for group, value in result_params(params).items() if group in _GROUPS}
    # What makes this training this one: a checkpoint of another is not continued.
    digest = sha256_json(
        [used, sha256_file(paths.training(name)), hashlib.sha256(b"".join(map(bytes, labels))).hexdigest()]
    )
    with progress_bar(f"{name}: prompt, epochs") as progress:
        prompt, history = train_prompt(
            network,
            experience.read,
            labels,
            params.seed,
            at_once=params.features.batch_size,
            checkpoint=paths.training_state(name) / digest[:16],
            progress=progress,
        )
    record_choice(folder, "prompt", params.prompts.kind.value)
    prompt.save(folder)
    write_json(folder / "history.json", vars(history))
    write_lineage(
        folder / "lineage.json",
        stage="prompts",
        inputs=[paths.training(name), paths.masks(name) / "lineage.json"],
        root=paths.root,
        params=used,
        packages=PACKAGES,
    )
    shutil.rmtree(paths.training_state(name))


if __name__ == "__main__":
    main(prompts)
