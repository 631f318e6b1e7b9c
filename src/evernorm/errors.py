"""Every error that evernorm raises on purpose.

::

    EvernormError
    ├── ParamsError        params.yaml, --set: unknown key, bad value, a stream that is no chain
    ├── DataError          images, masks, folders, manifests
    ├── WeightsError       backbone weights that are missing or do not fit
    ├── StateError         a bank or entry that is missing, damaged or of another schema version
    ├── FitError           a tail that cannot be fitted: the images do not allow it
    ├── TrainingError      a loss or gradient that is no number any more: the parameters do not allow it
    ├── MachineError       a package, a device or memory that this machine lacks
    ├── PipelineError      a DVC stage that failed, a locked or foreign workspace
    └── RegistryError      MLflow's registry refuses, or another process was faster

Each message names the value found, what was expected and what to do. Where several things are wrong
at once, all of them are in ``faults``.
"""

from collections.abc import Sequence
from typing import Any


class EvernormError(Exception):
    """Base of all errors a user can cause or cure.

    Args:
        message: One sentence: what is wrong and what to do.
        faults: Every single fault, one line each, when there can be more than one.
    """

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        self.message = message
        self.faults = tuple(faults)
        super().__init__("\n  - ".join((message, *self.faults)))

    def __reduce__(self) -> tuple[type["EvernormError"], tuple[str, tuple[str, ...]], dict[str, Any]]:
        """Survive the trip between processes with its faults and whatever else was noted on it."""
        return type(self), (self.message, self.faults), self.__dict__


class ParamsError(EvernormError):
    """A parameter is unknown, out of range or inconsistent."""


class DataError(EvernormError):
    """Images, masks or folders cannot be used as they are."""


class WeightsError(EvernormError):
    """Backbone weights are missing or do not fit the architecture."""


class StateError(EvernormError):
    """Stored state is missing, damaged or written by another schema version."""


class FitError(EvernormError):
    """A distribution cannot be fitted to the data given."""


class TrainingError(EvernormError):
    """A training diverged; another learning rate may not."""


class MachineError(EvernormError):
    """This machine lacks something; another one may not."""


class PipelineError(EvernormError):
    """A stage failed or the workspace cannot be used."""


class RegistryError(EvernormError):
    """The model registry refused, or another process was faster."""
