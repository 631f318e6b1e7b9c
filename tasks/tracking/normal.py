"""What is known of a class from its normal training images alone, where nobody measured it."""

from pydantic import BaseModel, ConfigDict

from evernorm.calibration.promise import needed, promise
from evernorm.calibration.reading import Reading
from evernorm.calibration.weibull import Calibration
from evernorm.methods.registry import learner_of
from tasks.workspace.workspace import Workspace


class NormalImages(BaseModel):
    """The normal images that calibrate a class, each scored as if it had not been learned from.

    Attributes:
        number: Images that could be scored so; of all classes where one reading serves all.
        false_alarm_rate: Share of them that would be an alarm at the class's threshold.
        asked: The false-alarm rate it was asked for.
        needed: Images below which that cannot be kept, or is a guess.
        promise: What a person may expect of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    false_alarm_rate: float
    asked: float
    needed: int
    promise: str


def normal_images(workspace: Workspace, name: str, last: str) -> NormalImages | None:
    """The estimate for a class in the bank after class `last`; None where that bank holds no calibration of its own."""
    calibration = _calibration(workspace, name, last)
    if calibration is None:
        return None
    params = workspace.params
    asked = params.rate_of(name)
    return NormalImages(
        number=len(calibration.scores),
        false_alarm_rate=float((calibration.scores > calibration.threshold).mean()),
        asked=asked,
        needed=needed(asked, calibration.guarantee),
        promise=promise(calibration, asked, exchangeable=learner_of(params).exchangeable),
    )


def _calibration(workspace: Workspace, name: str, last: str) -> Reading | None:
    """A class's calibration as the bank reads it, for as many rows as the class has there."""
    folder = workspace.paths.model(last) / "calibration" / name
    return Calibration.load(folder).steps[0] if folder.is_dir() else None
