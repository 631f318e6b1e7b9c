"""Which implementation of Grounding DINO params.yaml asks for, and how to get its weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from evernorm.errors import WeightsError
from evernorm.params.groups import Grounder, GroundingParams
from evernorm.pretrained import is_hub_name
from evernorm.structure.grounding.detector import Detector

if TYPE_CHECKING:
    import torch

WAYS = (
    "Set masks.grounding.checkpoint to a directory in which transformers saved Grounding DINO with its tokenizer, or "
    "to a hub name such as IDEA-Research/grounding-dino-tiny (needs the network); or set masks.grounding.engine to "
    "groundingdino and the checkpoint to a .pth file of Grounding DINO (groundingdino_swint_ogc.pth, as its README "
    "links it); or set masks.structure to superpixels, which need no weights"
)


def load_detector(params: GroundingParams, phrases: tuple[str, ...], device: "torch.device") -> Detector:
    """Load Grounding DINO and tell it what to look for.

    Raises:
        MachineError: The package groundingdino is asked for and not installed.
        ParamsError: The phrases are too long.
        WeightsError: The checkpoint is missing or does not fit; Grounding DINO never runs with random weights.
    """
    source = params.checkpoint
    path = Path(source).expanduser()
    if not source:
        raise WeightsError(f"masks.grounding.checkpoint is empty: Grounding DINO has no weights. {WAYS}")
    if params.engine is Grounder.GROUNDINGDINO:
        if not path.is_file():
            raise WeightsError(f"masks.grounding.checkpoint {source!r} is no file. {WAYS}")
        from evernorm.structure.grounding.package import PackageDetector

        return PackageDetector.load(path, params, phrases, device)
    if path.is_file():
        raise WeightsError(
            f"masks.grounding.checkpoint {source!r} is a file, which the engine groundingdino reads. {WAYS}"
        )
    if not path.is_dir() and not is_hub_name(source):
        raise WeightsError(f"masks.grounding.checkpoint {source!r} is no directory. {WAYS}")
    from evernorm.structure.grounding.hub import HubDetector

    return HubDetector.load(str(path) if path.is_dir() else source, params, phrases, device)
