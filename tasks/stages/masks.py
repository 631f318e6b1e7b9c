"""Stage `masks`: where the parts of the training images are (none for the methods that do not ask)."""

from rich.console import Console

from evernorm.files import write_json
from evernorm.methods.registry import learners
from evernorm.params.groups import Grounder, MaskParams, Params, StructureKind
from evernorm.structure.report import REPORT, Regions, report, warnings
from evernorm.structure.segmenter import build_segmenter
from evernorm.structure.store import save_labels
from tasks.stages.learning import experience_of, record_lineage
from tasks.stages.stage import main, progress_bar, record_choice
from tasks.workspace.paths import Paths
from tasks.workspace.versions import grounding_digest, sam_digest

SAM = ("numpy", "pillow", "scikit-image", "scipy", "segment-anything", "torch", "torchvision", "transformers")
PACKAGES = {
    StructureKind.SUPERPIXELS: ("numpy", "pillow", "scikit-image"),
    StructureKind.SAM: SAM,
    StructureKind.GROUNDED_SAM: (*SAM, "tokenizers"),
}


def masks(name: str, params: Params, paths: Paths) -> None:
    """Segment the training images where the method asks for their structure; record the choice."""
    folder, learner = paths.masks(name), learners()[params.method]
    if not learner.traits.structured:
        record_choice(folder, "structure", "none")
        return
    structure = params.masks.structure
    experience = experience_of(name, paths)
    segmenter = build_segmenter(params.masks, name, params.features.device)
    regions = {}
    with progress_bar(f"{name}: {structure}") as progress:
        for done, (path, image) in enumerate(
            zip(experience.paths, experience.images(), strict=True), start=1
        ):
            parts = segmenter.segment(image)
            save_labels(folder / "labels", path, parts.labels)
            regions[path] = Regions.of(parts)
            progress(done, len(experience))
    found = report(structure, regions, params.masks.max_regions)
    write_json(folder / REPORT, found)
    record_lineage(
        "masks",
        learner.revisions,
        folder,
        paths,
        inputs=[paths.training(name)],
        params={
            **params.masks.model_dump(mode="json"),
            "checkpoint_sha256": sam_digest(params),
            "grounding_sha256": grounding_digest(params),
        },
        packages=packages_of(params.masks),
    )
    record_choice(folder, "structure", structure)
    console = Console(stderr=True, highlight=False)
    for sentence in warnings(found):
        console.print(f"  {name}: {sentence}", style="yellow", markup=False, soft_wrap=True)


def packages_of(chosen: MaskParams) -> tuple[str, ...]:
    """The distributions whose versions determine the structure."""
    packages = PACKAGES[chosen.structure]
    if chosen.structure is StructureKind.GROUNDED_SAM and chosen.grounding.engine is Grounder.GROUNDINGDINO:
        return (*packages, "groundingdino-py", "timm")
    return packages


if __name__ == "__main__":
    main(masks)
