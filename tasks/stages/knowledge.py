"""Stage `knowledge`: the class's entry in the bank, and how the entry scores its own training images."""

from evernorm.data.experience import Experience
from evernorm.data.manifest import Manifest
from evernorm.features.backbone import build_backbone
from evernorm.files import read_json, sha256_file, write_json
from evernorm.lineage import write_lineage
from evernorm.methods.memory.baselines import JOINT
from evernorm.methods.memory.remembered import Settings
from evernorm.methods.presets import DETECTORS
from evernorm.params.groups import Params
from evernorm.prompts.prompt import Prompt
from tasks.stages.stage import Paths, before, main, progress_bar, result_params

PACKAGES = ("numpy", "pillow", "timm", "torch")


def knowledge(name: str, params: Params, paths: Paths) -> None:
    """Build and store the entry; hand on what the next experience needs of this one."""
    # Only joint training needs earlier images: the list of them is what it carries from class to class.
    carried = read_json(paths.bank(before(name, params), "carry") / "carry.json")["images"]
    cumulative = DETECTORS[params.method].cumulative
    names = [*(item["class"] for item in carried), name] if cumulative else [name]
    backbone = build_backbone(params.features, params.seed)
    detector = DETECTORS[params.method](backbone, Settings.of(params))
    experiences = [Experience.of(Manifest.load(paths.training(each)), paths.data(each)) for each in names]
    trained = paths.bank(name, "prompts")
    prompt = Prompt.find(trained)
    with progress_bar(f"{name}: features") as progress:
        entry, training = detector.build(experiences, JOINT if cumulative else name, prompt, progress)
    folder = paths.bank(name, "knowledge")
    entry.save(folder)
    training.save(folder / "training.safetensors")
    write_lineage(
        folder / "lineage.json",
        stage="knowledge",
        inputs=[*(paths.training(each) for each in names), *trained.glob("prompt.safetensors")],
        root=paths.root,
        params=result_params(params),
        packages=PACKAGES,
    )
    images = [*carried, {"class": name, "training": sha256_file(paths.training(name))}] if cumulative else []
    write_json(paths.bank(name, "carry") / "carry.json", {"images": images})


if __name__ == "__main__":
    main(knowledge)
