"""Stage `masks`: where the parts of the training images are (none for the methods that do not ask)."""

from pathlib import Path

from rich.console import Console

from evernorm.data.experience import Experience
from evernorm.data.manifest import Manifest
from evernorm.files import sha256_file, write_json
from evernorm.lineage import write_lineage
from evernorm.methods.parts import PARTS
from evernorm.params.groups import Params, PromptKind, StructureKind
from evernorm.structure.report import REPORT, Regions, report, warnings
from evernorm.structure.segmenter import build_segmenter
from evernorm.structure.store import save_labels
from tasks.stages.stage import Paths, main, progress_bar, record_choice

PACKAGES = {
    StructureKind.SUPERPIXELS: ("numpy", "pillow", "scikit-image"),
    StructureKind.SAM: (
        "numpy",
        "pillow",
        "scikit-image",
        "scipy",
        "segment-anything",
        "torch",
        "torchvision",
        "transformers",
    ),
}


def masks(name: str, params: Params, paths: Paths) -> None:
    """Segment the training images where a prompt is trained with their structure; record the choice."""
    folder = paths.masks(name)
    if not PARTS[params.method].structured or params.prompts.kind is PromptKind.NONE:
        record_choice(folder, "structure", "none")
        return
    structure = params.masks.structure
    experience = Experience.of(Manifest.load(paths.training(name)), paths.data(name))
    segmenter = build_segmenter(params.masks, params.features.device)
    regions = {}
    with progress_bar(f"{name}: {structure}") as progress:
        for done, (path, image) in enumerate(
            zip(experience.paths, experience.images(), strict=True), start=1
        ):
            labels = segmenter.labels(image)
            save_labels(folder / "labels", path, labels)
            regions[path] = Regions.of(labels)
            progress(done, len(experience))
    found = report(structure, regions, params.masks.max_regions)
    write_json(folder / REPORT, found)
    write_lineage(
        folder / "lineage.json",
        stage="masks",
        inputs=[paths.training(name)],
        root=paths.root,
        params={**params.masks.model_dump(mode="json"), **_checkpoint(params)},
        packages=PACKAGES[structure],
    )
    record_choice(folder, "structure", structure)
    console = Console(stderr=True, highlight=False)
    for sentence in warnings(found):
        console.print(f"  {name}: {sentence}", style="yellow", markup=False, soft_wrap=True)


def _checkpoint(params: Params) -> dict[str, dict[str, str]]:
    """What SAM's checkpoint holds, which its name does not tell; empty for a hub name."""
    if params.masks.structure is not StructureKind.SAM:
        return {}
    checkpoint = Path(params.masks.sam.checkpoint)
    found = [checkpoint] if checkpoint.is_file() else sorted(checkpoint.glob("*.safetensors"))
    return {"checkpoint_sha256": {file.name: sha256_file(file) for file in found}}


if __name__ == "__main__":
    main(masks)
