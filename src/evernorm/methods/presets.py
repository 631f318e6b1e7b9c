"""The class that runs each named method."""

from pathlib import Path

from evernorm.errors import StateError
from evernorm.files import read_json
from evernorm.methods.memory.base import MemoryDetector
from evernorm.methods.memory.baselines import FineTune, Joint, Separate
from evernorm.methods.memory.patchcore_cl import PatchCoreCL
from evernorm.methods.memory.ucad import Ucad
from evernorm.params.groups import Device, Method

DETECTORS: dict[Method, type[MemoryDetector]] = {
    detector.method: detector for detector in (PatchCoreCL, Separate, Joint, FineTune, Ucad)
}


def load_bank(folder: Path, device: Device = Device.AUTO) -> MemoryDetector:
    """Load a stored bank, whatever its method.

    Raises:
        StateError: No bank there, or one of a method this version does not know.
    """
    method = read_json(folder / "bank.json").get("method")
    if method not in set(Method):
        raise StateError(
            f"{folder} holds a bank of method {method!r}; this version knows {', '.join(Method)}"
        )
    return DETECTORS[Method(method)].load(folder, device)
