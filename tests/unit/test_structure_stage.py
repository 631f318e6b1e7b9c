"""The stage `masks`, its report and the picture of it."""

import json
from importlib.metadata import version

import numpy as np
import pytest
from PIL import Image

from evernorm.data.experience import Experience
from evernorm.data.manifest import Manifest
from evernorm.data.validate import validate
from evernorm.files import sha256_file
from evernorm.params.file import parse_params
from evernorm.params.groups import Device, StructureKind
from evernorm.structure.parts import Parts
from evernorm.structure.report import Regions, report, warnings
from evernorm.structure.segmenter import build_segmenter
from evernorm.structure.store import load_labels
from tasks.stages.masks import masks, packages_of
from tasks.tracking.structure_pictures import contact_sheet
from tasks.workspace.paths import Paths
from tests.helpers.grounding import save_hub_model, save_tiny_bert, small_hub_model
from tests.helpers.sam import save_tiny_sam


def test_regions_are_counted_without_the_background():
    """Ids need not be consecutive."""
    assert Regions(2, background=True) == Regions.of(Parts(np.array([[0, 7], [3, 7]], np.uint16)))
    assert Regions(0, background=True) == Regions.of(Parts(np.zeros((2, 2), np.uint16)))
    assert Regions(1, background=False) == Regions.of(Parts(np.ones((2, 2), np.uint16)))


def test_a_report_lists_images_without_parts():
    """None, the whole, too many; an object on a background has two sides and is fine."""
    images = {
        "0.png": Regions(0, background=True),
        "1.png": Regions(1, background=False),
        "2.png": Regions(1, background=True),
        "3.png": Regions(9, background=False),
    }
    found = report(StructureKind.SAM, images, max_regions=8)
    expected = {
        "schema": 1,
        "structure": "sam",
        "images": 4,
        "max_regions": 8,
        "regions": {"least": 0, "median": 1.0, "most": 9},
        "without": ["0.png"],
        "whole": ["1.png"],
        "crowded": ["3.png"],
    }
    assert expected == json.loads(json.dumps(found))


def test_warnings_are_sentences_for_a_person():
    """One a kind, with the first paths; silence where all is well."""
    fine = {f"{n}.png": Regions(5, background=False) for n in range(4)}
    assert [] == warnings(report(StructureKind.SAM, fine, 200))
    poor = {f"{n}.png": Regions(0, background=True) for n in range(5)} | {
        "w.png": Regions(1, background=False)
    }
    assert [
        "5 of 6 images have no region: 0.png, 1.png, 2.png, …",
        "1 of 6 images has one region that is the whole image: w.png",
    ] == warnings(report(StructureKind.SAM, poor, 200))
    assert ["1 of 1 images has more than 2 regions: c.png"] == warnings(
        report(StructureKind.SAM, {"c.png": Regions(3, background=False)}, 2)
    )


@pytest.fixture
def workspace(tmp_path, draw_photos):
    """A class with its manifests, as the data stage leaves it; one training image is plain grey."""
    draw_photos(tmp_path / "data", names=("metal",), train=5, good=1, defective=1)
    Image.new("RGB", (60, 40), "grey").save(tmp_path / "data/metal/train/good/000.png")
    validated = validate(tmp_path / "data", ["metal"])["metal"]
    paths = Paths(tmp_path)
    validated.model_copy(update={"records": validated.train}).save(paths.training("metal"))
    return paths


def params(method, **changes):
    """Parameters of a method at a small size of segmentation."""
    values = {"method": method, "masks": {"superpixels": {"size": 64}}, "features": {"device": "cpu"}}
    return parse_params({**values, **changes})


def test_training_images_are_segmented(workspace, capsys):
    """A label map an image, what the segmenter gives; report, lineage and choice beside them."""
    chosen = params("ucad")
    masks("metal", chosen, workspace)
    folder = workspace.masks("metal")
    experience = Experience.of(Manifest.load(workspace.training("metal")), workspace.data("metal"))
    segmenter = build_segmenter(chosen.masks, "metal")
    for path, image in zip(experience.paths, experience.images(), strict=True):
        np.testing.assert_array_equal(segmenter.segment(image).labels, load_labels(folder / "labels", path))
    assert 5 == len([file for file in (folder / "labels").rglob("*") if file.is_file()])
    assert {"structure": "superpixels"} == json.loads((folder / "choice.json").read_text())
    found = json.loads((folder / "report.json").read_text())
    assert ["train/good/000.png"] == found["whole"]
    lineage = json.loads((folder / "lineage.json").read_text())
    asked = chosen.masks.model_dump(mode="json")
    assert {**asked, "checkpoint_sha256": {}, "grounding_sha256": {}} == lineage["params"]
    assert ["data/metal/train.json"] == list(lineage["inputs"])
    told = "metal: 1 of 5 images has one region that is the whole image: train/good/000.png"
    assert told in capsys.readouterr().err


def test_what_grounding_dino_and_sam_find_is_stored_with_what_it_was_found_by(workspace, tmp_path, capsys):
    """The same bytes twice; checksums and versions in the lineage; phrases found nowhere with their images."""
    bert = save_tiny_bert(tmp_path / "bert")
    dino = save_hub_model(small_hub_model(), bert, tmp_path / "dino")
    sam = save_tiny_sam(tmp_path / "sam")
    grounding = {
        "checkpoint": str(dino),
        "size": 224,
        "phrases": ["{class} nut", "screws", "a part"],
        "box_threshold": 0.8,
    }
    given = {"structure": "grounded_sam", "grounding": grounding, "sam": {"checkpoint": str(sam)}}
    chosen = params("ucad", masks={**given, "min_region": 0})

    def run():
        masks("metal", chosen, workspace)
        return {
            file.name: file.read_bytes() for file in workspace.masks("metal").rglob("*") if file.is_file()
        }

    first = run()
    assert first == run()
    segmenter = build_segmenter(chosen.masks, "metal", Device.CPU)
    experience = Experience.of(Manifest.load(workspace.training("metal")), workspace.data("metal"))
    missing = {}
    for path, image in zip(experience.paths, experience.images(), strict=True):
        parts = segmenter.segment(image)
        labels = load_labels(workspace.masks("metal") / "labels", path)
        np.testing.assert_array_equal(parts.labels, labels)
        assert len(np.unique(labels)) > 1
        for phrase in parts.missing:
            missing.setdefault(phrase, []).append(path)
    assert missing == json.loads(first["report.json"])["missing"]
    lineage = json.loads(first["lineage.json"])
    used = lineage["params"]
    assert sha256_file(dino / "model.safetensors") == used["grounding_sha256"]["model.safetensors"]
    assert sha256_file(sam / "model.safetensors") == used["checkpoint_sha256"]["model.safetensors"]
    assert ["{class} nut", "screws", "a part"] == used["grounding"]["phrases"]
    assert version("transformers") == lineage["versions"]["transformers"]
    assert "groundingdino-py" not in lineage["versions"]
    said = capsys.readouterr().err
    assert missing
    assert all(f"no '{each}', for which the whole image stands" in said for each in missing)


def test_the_package_that_finds_boxes_is_named_where_it_does():
    """Its version, too, determines the structure."""
    grounding = {"structure": "grounded_sam", "grounding": {"engine": "groundingdino"}}
    assert "groundingdino-py" in packages_of(params("ucad", masks=grounding).masks)


def test_the_stage_leaves_the_same_bytes_twice(workspace):
    """So DVC sees no change where there is none."""

    def run():
        masks("metal", params("ucad"), workspace)
        files = sorted(file for file in workspace.masks("metal").rglob("*") if file.is_file())
        return {file.name: file.read_bytes() for file in files}

    assert run() == run()


@pytest.mark.parametrize("method", ["patchcore_cl", "joint", "replay"])
def test_who_needs_no_structure_leaves_a_line(tmp_path, method):
    """Not even the training images are looked for."""
    masks("metal", params(method), Paths(tmp_path))
    folder = tmp_path / "masks/metal"
    assert ["choice.json"] == [file.name for file in folder.iterdir()]
    assert {"structure": "none"} == json.loads((folder / "choice.json").read_text())


def test_the_sheet_shows_images_beside_their_parts(tmp_path):
    """Twelve pairs at most; background black, one colour an id, white lines between."""
    labels = np.zeros((40, 60), np.uint16)
    labels[:20, 20:40], labels[20:, 20:40], labels[:, 40:] = 1, 2, 9
    image = np.full((40, 60, 3), 77, np.uint8)
    figure = contact_sheet([(image, labels)] * 13, "metal")
    assert 12 == len(figure.axes)
    assert "3 regions" == figure.axes[0].get_title()
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert (40, 120, 3) == shown.shape
    np.testing.assert_array_equal(image, shown[:, :60])
    mask = shown[:, 60:]
    assert [0, 0, 0] == mask[10, 10].tolist()
    assert [255, 255, 255] == mask[10, 20].tolist() == mask[20, 30].tolist()
    colours = {tuple(mask[y, x].tolist()) for y, x in ((10, 30), (30, 30), (30, 50))}
    assert 3 == len(colours)
    assert not colours & {(0, 0, 0), (255, 255, 255)}
    figure.savefig(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_a_sheet_of_nothing_is_drawn():
    """A class without training images has an empty sheet."""
    assert [] == contact_sheet([], "metal").axes
