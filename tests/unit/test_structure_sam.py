"""SAM from both sources, on tiny networks of the real architecture; never with weights nobody gave it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from evernorm.errors import ParamsError, WeightsError
from evernorm.params.groups import Device, MaskParams, SamParams, StructureKind
from evernorm.structure.painting import merge_tiny, paint
from evernorm.structure.sam import SamSegmenter
from evernorm.structure.sam_sources import generate_masks, load_sam
from evernorm.structure.segmenter import build_segmenter
from tests.helpers.sam import save_tiny_sam, tiny_sam

CPU = torch.device("cpu")
# Random weights find everything doubtful; without thresholds some masks are kept.
FREE = SamParams(
    points_per_side=6, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=0.99, crop_nms_thresh=0.99
)


@pytest.fixture(scope="module")
def sam():
    """One tiny network for all tests."""
    return tiny_sam()


@pytest.fixture(scope="module")
def image():
    """A photograph's stand-in, 72 × 100."""
    return np.random.default_rng(0).integers(0, 255, (72, 100, 3)).astype(np.uint8)


@pytest.fixture
def saved(tmp_path):
    """A directory in which transformers saved a tiny SAM with its image processor."""
    return save_tiny_sam(tmp_path)


def test_labels_are_the_masks_painted_and_cleaned(sam, image):
    """Label maps have the image's size, and specks below `min_region` are gone."""
    generate = generate_masks(sam, FREE)
    masks = generate(image)
    assert len(masks) > 1
    labels = SamSegmenter(generate, 0.01).segment(image).labels
    assert (image.shape[:2], np.uint16) == (labels.shape, labels.dtype)
    np.testing.assert_array_equal(merge_tiny(paint(masks, (72, 100)), 72), labels)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_same_image_has_the_same_labels(sam, image, device):
    """Also on a GPU, and whatever was segmented in between."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA")
    segmenter = SamSegmenter(generate_masks(tiny_sam().to(device), FREE), 0.002)
    first = segmenter.segment(image).labels
    segmenter.segment(image[::-1].copy())
    np.testing.assert_array_equal(first, segmenter.segment(image).labels)


def test_parameters_reach_the_generator_under_their_own_names(sam, image):
    """The masks are those of segment-anything called by hand."""
    from segment_anything import SamAutomaticMaskGenerator

    chosen = {
        "points_per_side": 7,
        "points_per_batch": 7,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.1,
        "stability_score_offset": 0.5,
        "box_nms_thresh": 0.99,
        "crop_n_layers": 1,
        "crop_nms_thresh": 0.97,
        "crop_overlap_ratio": 0.2,
        "crop_n_points_downscale_factor": 2,
        "min_mask_region_area": 3,
    }
    assert set(SamParams.model_fields) - {"checkpoint"} == set(chosen)
    expected = [record["segmentation"] for record in SamAutomaticMaskGenerator(sam, **chosen).generate(image)]
    assert len(expected) > 3
    np.testing.assert_array_equal(expected, generate_masks(sam, SamParams(**chosen))(image))


@pytest.mark.parametrize("layers", [0, 1])
def test_an_image_without_masks_is_all_background(sam, image, layers):
    """segment-anything fails on crops that are all empty; that is no mask, not an error."""
    params = SamParams(points_per_side=2, pred_iou_thresh=1, crop_n_layers=layers)
    assert not SamSegmenter(generate_masks(sam, params), 0.002).segment(image).labels.any()


def test_a_real_checkpoint_is_recognised_and_loaded(tmp_path):
    """ViT-B by its tensors, whatever the file is called; every tensor arrives."""
    from segment_anything import sam_model_registry

    donor = sam_model_registry["vit_b"]()
    path = tmp_path / "any_name.pth"
    torch.save(donor.state_dict(), path)
    loaded = load_sam(path)
    path.unlink()  # 375 MB
    assert not loaded.training
    for name, tensor in donor.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


@pytest.mark.parametrize(("width", "name"), [(768, "vit_b"), (1024, "vit_l"), (1280, "vit_h")])
def test_the_architecture_is_read_from_the_tensors(tmp_path, monkeypatch, width, name):
    """And a file that has only some of the architecture's tensors is refused."""
    import segment_anything

    monkeypatch.setattr(segment_anything, "sam_model_registry", {name: tiny_sam})
    path = tmp_path / "sam.pth"
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 16, 16)}, path)
    with pytest.raises(WeightsError, match=rf"sam\.pth lacks \d+ of the \d+ tensors of SAM {name}"):
        load_sam(path)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            {"image_encoder.patch_embed.proj.weight": torch.zeros(384, 3, 16, 16)},
            "an image encoder of width 384",
        ),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "no image encoder"),
        ([torch.zeros(3)], "no image encoder"),
    ],
)
def test_another_networks_checkpoint_is_refused(tmp_path, state, said):
    """With what was found, what was expected and how to get it."""
    path = tmp_path / "w.pth"
    torch.save(state, path)
    with pytest.raises(WeightsError, match=rf"{said}.*768 \(vit_b\).*Set masks\.sam\.checkpoint"):
        SamSegmenter.load(SamParams(checkpoint=str(path)), 0.0, CPU)


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    """Only tensors are read; a pickle that would run code is not."""

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"w": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot be read as tensors"):
        SamSegmenter.load(SamParams(checkpoint=str(tmp_path / "w.pth")), 0.0, CPU)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [("", "is empty"), ("nowhere/sam.pth", "is no file"), ("/a/b/c", "is no file"), ("sam", "is no file")],
)
def test_without_weights_there_is_no_sam(checkpoint, said):
    """The message names all three ways to get them."""
    params = MaskParams(structure=StructureKind.SAM, sam=SamParams(checkpoint=checkpoint))
    with pytest.raises(WeightsError, match=rf"{said}.*\.pth file.*directory.*hub name.*superpixels"):
        build_segmenter(params, "metal", Device.CPU)


def test_a_directory_of_transformers_is_loaded(saved, image):
    """The masks are those of its pipeline called by hand, the same twice."""
    from transformers import pipeline

    chosen = FREE.model_copy(update={"checkpoint": str(saved), "crop_n_layers": 1, "points_per_batch": 10})
    segmenter = SamSegmenter.load(chosen, 0.0, CPU)
    masks = pipeline("mask-generation", model=str(saved))(
        Image.fromarray(image),
        points_per_crop=6,
        points_per_batch=10,
        crops_n_layers=1,
        crops_nms_thresh=0.99,
        pred_iou_thresh=0,
        stability_score_thresh=0,
    )["masks"]
    assert len(masks) > 1
    expected = merge_tiny(paint([np.asarray(mask) for mask in masks], (72, 100)), 0)
    labels = segmenter.segment(image).labels
    np.testing.assert_array_equal(expected, labels)
    np.testing.assert_array_equal(labels, segmenter.segment(image).labels)


def test_transformers_without_masks_is_all_background(saved, image):
    """Its pipeline, too, may find nothing."""
    params = SamParams(checkpoint=str(saved), points_per_side=2, pred_iou_thresh=1)
    assert not SamSegmenter.load(params, 0.0, CPU).segment(image).labels.any()


def test_tensors_missing_from_a_directory_are_not_made_up(saved):
    """transformers would fill them at random and only warn."""
    from safetensors.torch import load_file, save_file

    state = load_file(saved / "model.safetensors")
    del state["mask_decoder.iou_token.weight"]
    save_file(state, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 tensors of SAM \(mask_decoder.iou_token.weight"):
        SamSegmenter.load(SamParams(checkpoint=str(saved)), 0.0, CPU)


@pytest.mark.parametrize("broken", ["empty", "no processor", "another size"])
def test_an_unfitting_directory_is_refused(saved, broken):
    """Nothing in it, no image processor, or tensors of another shape."""
    if broken == "empty":
        for file in saved.iterdir():
            file.unlink()
    elif broken == "no processor":
        (saved / "preprocessor_config.json").unlink()
    else:
        config = json.loads((saved / "config.json").read_text())
        config["vision_config"]["hidden_size"] = 64
        (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"cannot be loaded by transformers.*Set masks\.sam\.checkpoint"):
        SamSegmenter.load(SamParams(checkpoint=str(saved)), 0.0, CPU)


def test_a_hub_out_of_reach_says_what_else_there_is(monkeypatch):
    """A hub name goes to transformers; its failure is told with the other ways."""
    import transformers

    def fail(name, **_):
        raise OSError(f"no network for {name}")

    monkeypatch.setattr(transformers.SamModel, "from_pretrained", fail)
    with pytest.raises(WeightsError, match=r"no network for facebook/sam-vit-base.*superpixels"):
        SamSegmenter.load(SamParams(checkpoint="facebook/sam-vit-base"), 0.0, CPU)


def test_what_transformers_cannot_do_is_refused(saved):
    """All such parameters at once, before anything is loaded."""
    params = SamParams(
        checkpoint=str(saved), box_nms_thresh=0.5, crop_n_points_downscale_factor=2, min_mask_region_area=9
    )
    with pytest.raises(ParamsError) as caught:
        SamSegmenter.load(params, 0.0, CPU)
    assert 3 == len(caught.value.faults)
