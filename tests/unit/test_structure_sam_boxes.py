"""SAM on boxes from both sources, on tiny networks of the real architecture."""

import numpy as np
import pytest
import torch
from PIL import Image

from evernorm.params.groups import SamParams
from evernorm.structure import sam_sources
from evernorm.structure.sam_boxes import load_box_masks
from tests.helpers.sam import save_tiny_sam, tiny_sam

CPU = torch.device("cpu")
BOXES = np.array([[10, 10, 50, 60], [0, 0, 100, 72], [60.5, 20.25, 90, 71], [5, 30, 20, 40]], np.float32)


@pytest.fixture(scope="module")
def image():
    """A photograph's stand-in, 72 × 100, which nobody may write to, as Pillow gives them."""
    image = np.random.default_rng(0).integers(0, 255, (72, 100, 3)).astype(np.uint8)
    image.flags.writeable = False
    return image


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A .pth of segment-anything whose width stands for a tiny architecture."""
    import segment_anything

    monkeypatch.setattr(sam_sources, "_ARCHITECTURES", {32: "tiny"})
    monkeypatch.setattr(segment_anything, "sam_model_registry", {"tiny": tiny_sam})
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    return tmp_path / "sam.pth"


def test_segment_anything_masks_each_box(checkpoint, image):
    """As its predictor called by hand for one box after another, however many are asked for at a time."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(tiny_sam())
    predictor.set_image(image)
    expected = [predictor.predict(box=box, multimask_output=False)[0][0] for box in BOXES]
    assert 4 == len({mask.tobytes() for mask in expected})
    for batch in (3, 64):
        masks = load_box_masks(SamParams(checkpoint=str(checkpoint), points_per_batch=batch), CPU)
        found = masks(image, BOXES)
        assert bool == found[0].dtype
        np.testing.assert_array_equal(expected, found)


def test_transformers_masks_each_box(tmp_path, image):
    """As its model and processor called by hand."""
    from transformers import SamModel, SamProcessor

    save_tiny_sam(tmp_path)
    model, processor = SamModel.from_pretrained(tmp_path), SamProcessor.from_pretrained(tmp_path)
    expected = []
    for box in BOXES.tolist():
        inputs = processor(Image.fromarray(image), input_boxes=[[box]], return_tensors="pt").to(torch.float32)
        with torch.no_grad():
            drawn = model(inputs["pixel_values"], input_boxes=inputs["input_boxes"], multimask_output=False)
        masks = processor.post_process_masks(
            drawn.pred_masks, inputs["original_sizes"].int(), inputs["reshaped_input_sizes"].int()
        )
        expected.append(masks[0][0, 0].numpy())
    assert 4 == len({mask.tobytes() for mask in expected})
    for batch in (3, 64):
        found = load_box_masks(SamParams(checkpoint=str(tmp_path), points_per_batch=batch), CPU)(image, BOXES)
        assert bool == found[0].dtype
        np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize("source", ["segment-anything", "transformers"])
def test_the_same_boxes_have_the_same_masks(source, tmp_path, checkpoint, image):
    """Whatever was masked in between; without boxes there are no masks."""
    place = checkpoint if source == "segment-anything" else save_tiny_sam(tmp_path / "saved")
    masks = load_box_masks(SamParams(checkpoint=str(place)), CPU)
    first = masks(image, BOXES)
    masks(image[::-1].copy(), BOXES[:1])
    np.testing.assert_array_equal(first, masks(image, BOXES))
    assert [] == masks(image, BOXES[:0])
