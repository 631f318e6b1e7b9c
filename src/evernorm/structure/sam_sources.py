"""The two implementations of SAM: segment-anything's own and transformers'."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import ParamsError, WeightsError
from evernorm.params.groups import SamParams
from evernorm.pretrained import from_transformers, is_hub_name
from evernorm.repeatable import fixed_kernels

if TYPE_CHECKING:
    import torch
    from torch import nn

Generate = Callable[[npt.NDArray[np.uint8]], Sequence[npt.NDArray[np.bool_]]]

WAYS = (
    "Set masks.sam.checkpoint to a .pth file of segment-anything (sam_vit_b_01ec64.pth, as its README links it), to "
    "a directory in which transformers saved SAM with its image processor, or to a hub name such as "
    "facebook/sam-vit-base (needs the network); or set masks.structure to superpixels, which need no weights"
)

_WIDTH = "image_encoder.patch_embed.proj.weight"
_ARCHITECTURES = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def locate_sam(params: SamParams) -> Path | str:
    """Where SAM's weights are: a file is segment-anything's, the name of a directory or of the hub transformers'.

    Raises:
        WeightsError: The checkpoint is missing; SAM never runs with random weights.
    """
    source = params.checkpoint
    path = Path(source).expanduser()
    if not source:
        raise WeightsError(f"masks.sam.checkpoint is empty: SAM has no weights. {WAYS}")
    if path.is_file():
        return path
    if path.is_dir():
        return str(path)
    if not is_hub_name(source):
        raise WeightsError(f"masks.sam.checkpoint {source!r} is no file and no directory. {WAYS}")
    return source


def segment_anything(path: Path, params: SamParams, device: "torch.device") -> Generate:
    """segment-anything's automatic mask generator on a checkpoint of its own.

    Raises:
        WeightsError: The file is no checkpoint of ViT-B, ViT-L or ViT-H.
    """
    return generate_masks(load_sam(path).to(device), params)


def load_sam(path: Path) -> "nn.Module":
    """Build the architecture that a checkpoint's tensors have, and load them.

    Raises:
        WeightsError: The file is no checkpoint of ViT-B, ViT-L or ViT-H.
    """
    import torch
    from segment_anything import sam_model_registry

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise nearly anything for a file that is no checkpoint
        raise WeightsError(
            f"masks.sam.checkpoint {path.name} cannot be read as tensors: {error}. {WAYS}"
        ) from error
    width = getattr(state.get(_WIDTH), "shape", (None,))[0] if isinstance(state, dict) else None
    if width not in _ARCHITECTURES:
        found = "no image encoder" if width is None else f"an image encoder of width {width}"
        known = ", ".join(f"{width} ({name})" for width, name in _ARCHITECTURES.items())
        raise WeightsError(f"masks.sam.checkpoint {path.name} has {found}; expected width {known}. {WAYS}")
    model: nn.Module = sam_model_registry[_ARCHITECTURES[width]]()
    wanted = model.state_dict()
    if unfit := [n for n, tensor in wanted.items() if getattr(state.get(n), "shape", None) != tensor.shape]:
        raise WeightsError(
            f"masks.sam.checkpoint {path.name} lacks {len(unfit)} of the {len(wanted)} tensors of SAM "
            f"{_ARCHITECTURES[width]}, or has them in another shape ({', '.join(unfit[:3])}, …). {WAYS}"
        )
    model.load_state_dict({name: state[name] for name in wanted})
    return model.eval()


def generate_masks(model: "nn.Module", params: SamParams) -> Generate:
    """segment-anything's automatic mask generator on a model, with every parameter under its own name."""
    from segment_anything import SamAutomaticMaskGenerator

    generator = SamAutomaticMaskGenerator(model, **params.model_dump(exclude={"checkpoint"}))

    def generate(image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.bool_]]:
        with fixed_kernels():
            try:
                return [record["segmentation"] for record in generator.generate(image)]
            except IndexError:  # its box_area, when no crop of the image has a mask
                return []

    return generate


def transformers_sam(name: str, params: SamParams, device: "torch.device") -> Generate:
    """The mask-generation pipeline of transformers on a directory or a hub name.

    The pipeline calls three of the parameters otherwise, has one threshold where segment-anything has two, and
    does not clean masks.

    Raises:
        ParamsError: The pipeline cannot do what a parameter asks for; all of them are listed.
        WeightsError: There is no such model, or its weights are not all of SAM's.
    """
    import transformers

    _refuse(params)
    library: Any = transformers
    model, processor = load_transformers_sam(name)
    masks = library.MaskGenerationPipeline(model=model, image_processor=processor, device=device)
    options = {
        "points_per_crop": params.points_per_side,
        "crops_n_layers": params.crop_n_layers,
        "crops_nms_thresh": params.crop_nms_thresh,
        **params.model_dump(
            include={
                "points_per_batch",
                "pred_iou_thresh",
                "stability_score_thresh",
                "stability_score_offset",
                "crop_overlap_ratio",
            }
        ),
    }

    def generate(image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.bool_]]:
        from PIL import Image

        with fixed_kernels():
            return [np.asarray(mask, np.bool_) for mask in masks(Image.fromarray(image), **options)["masks"]]

    return generate


def load_transformers_sam(name: str) -> tuple[Any, Any]:
    """Load transformers' SAM and its image processor; a directory is read without the network.

    Raises:
        WeightsError: There is no such model, or its weights are not all of SAM's.
    """
    return from_transformers(
        "SamModel",
        "SamImageProcessor",
        name,
        called=f"masks.sam.checkpoint {name!r}",
        lacking="tensors of SAM",
        ways=WAYS,
    )


def _refuse(params: SamParams) -> None:
    """Refuse what transformers' pipeline would ignore or fail on."""
    faults = []
    if params.box_nms_thresh != params.crop_nms_thresh:
        faults.append(
            f"masks.sam.box_nms_thresh {params.box_nms_thresh} and crop_nms_thresh {params.crop_nms_thresh} differ; "
            "it has one for both, set them alike"
        )
    if params.crop_n_points_downscale_factor != 1:
        faults.append(
            f"masks.sam.crop_n_points_downscale_factor is {params.crop_n_points_downscale_factor}; it can only use 1"
        )
    if params.min_mask_region_area != 0:
        faults.append(
            f"masks.sam.min_mask_region_area is {params.min_mask_region_area}; it can only use 0, "
            "and masks.min_region merges small regions"
        )
    if faults:
        raise ParamsError("transformers' SAM does not know these parameters as they are set", faults)
