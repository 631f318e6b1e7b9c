"""SAM on boxes: one mask of the object in each, by segment-anything's predictor or transformers' model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evernorm.params.groups import SamParams
from evernorm.repeatable import fixed_kernels
from evernorm.structure.sam_sources import load_sam, load_transformers_sam, locate_sam
from evernorm.types import Flags, Floats, Image

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

MaskBoxes = Callable[[Image, Floats], list[Flags]]
"""An RGB image ``[H, W, 3]`` and boxes float32 ``[n, 4]`` (left, top, right, bottom; pixels): n masks ``[H, W]``."""


def load_box_masks(params: SamParams, device: "torch.device") -> MaskBoxes:
    """Load SAM from where `params.checkpoint` says.

    `params.points_per_batch` boxes are asked for at a time; what else is in `params` is of masks without boxes.

    Raises:
        WeightsError: The checkpoint is missing or does not fit; SAM never runs with random weights.
    """
    source = locate_sam(params)
    if isinstance(source, Path):
        return segment_anything_boxes(load_sam(source).to(device), params.points_per_batch)
    model, processor = load_transformers_sam(source)
    return transformers_boxes(model.to(device), processor, params.points_per_batch)


def segment_anything_boxes(model: "nn.Module", batch: int) -> MaskBoxes:
    """segment-anything's predictor on a model, so many boxes at a time."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(model)

    def masks(image: Image, boxes: Floats) -> list[Flags]:
        import torch

        if not len(boxes):
            return []
        with fixed_kernels():
            predictor.set_image(image)
            scaled = torch.from_numpy(predictor.transform.apply_boxes(boxes, image.shape[:2]))
            found: list[Tensor] = [
                predictor.predict_torch(None, None, part.to(predictor.device), multimask_output=False)[0]
                for part in torch.split(scaled.float(), batch)
            ]
        return list(_flags(found))

    return masks


def transformers_boxes(model: Any, processor: Any, batch: int) -> MaskBoxes:
    """The `SamModel` of transformers and its image processor, so many boxes at a time."""
    import transformers

    library: Any = transformers
    processor = library.SamProcessor(processor)

    def masks(image: Image, boxes: Floats) -> list[Flags]:
        import torch
        from PIL import Image as Pictures

        if not len(boxes):
            return []
        inputs = processor(Pictures.fromarray(image), input_boxes=[boxes.tolist()], return_tensors="pt")
        sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
        found: list[Tensor] = []
        with fixed_kernels(), torch.inference_mode():
            embedding = model.get_image_embeddings(inputs["pixel_values"].to(model.device))
            for part in torch.split(inputs["input_boxes"].float(), batch, dim=1):
                asked = {"image_embeddings": embedding, "input_boxes": part.to(model.device)}
                drawn = model(**asked, multimask_output=False).pred_masks
                found += processor.post_process_masks(drawn, *sizes)
        return list(_flags(found))

    return masks


def _flags(parts: "list[Tensor]") -> Iterator[Flags]:
    """Masks bool ``[n, 1, H, W]`` of several passes, one by one."""
    for part in parts:
        yield from part[:, 0].cpu().numpy()
