"""What results depend on and params.yaml does not say: the weights that are read, the revisions of the stages.

The stages depend on this file, so that a replaced weights file or an upgrade makes anew what it changes.
"""

from pathlib import Path
from typing import Any

from evernorm.errors import StateError
from evernorm.files import read_json, write_json
from evernorm.methods.registry import learners
from evernorm.params.groups import Grounder, Params, StructureKind
from evernorm.pretrained import file_digests
from tasks.workspace.paths import Paths


def versions_of(params: Params) -> dict[str, Any]:
    """The digests and revisions as they are now; hashes files, loads no network.

    Raises:
        WeightsError: The weights of a frozen network do not exist.
    """
    learner = learners()[params.method]
    return {
        "weights": {
            "backbone": learner.sources(params),
            "sam": sam_digest(params) if learner.traits.structured else {},
            "grounding": grounding_digest(params) if learner.traits.structured else {},
        },
        "revisions": dict(learner.revisions),
    }


def record_versions(params: Params, paths: Paths) -> None:
    """Bring the file up to date.

    Raises:
        WeightsError: The weights of the backbone do not exist.
    """
    now = versions_of(params)
    if not paths.versions.is_file() or read_json(paths.versions) != now:
        write_json(paths.versions, now)


def check_versions(params: Params, paths: Paths) -> None:
    """Refuse to run a stage with other weights or other code than DVC believes.

    Raises:
        StateError: They differ.
        WeightsError: The weights of the backbone do not exist.
    """
    if read_json(paths.versions) != versions_of(params):
        raise StateError(
            f"{paths.versions.name} does not name the weights and the code that are here; `evernorm learn` brings it up "
            f"to date"
        )


def sam_digest(params: Params) -> dict[str, str]:
    """What SAM's checkpoint holds, by file; empty for a hub name, and where SAM is not asked."""
    if params.masks.structure is StructureKind.SUPERPIXELS:
        return {}
    return _digests(params.masks.sam.checkpoint)


def grounding_digest(params: Params) -> dict[str, str]:
    """What the checkpoint of Grounding DINO holds, by file, and the text encoder that is named apart from it.

    Empty for hub names, and where Grounding DINO is not asked.
    """
    if params.masks.structure is not StructureKind.GROUNDED_SAM:
        return {}
    grounding = params.masks.grounding
    text = _digests(grounding.text_encoder) if grounding.engine is Grounder.GROUNDINGDINO else {}
    return {**text, **_digests(grounding.checkpoint)}


def _digests(source: str) -> dict[str, str]:
    """A hash of a file, or of what results depend on in a directory of transformers."""
    place = Path(source).expanduser()
    return file_digests(place) if source and place.exists() else {}
