"""What a class's threshold could be, from the bank as it stands."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evernorm.calibration.promise import promise
from evernorm.calibration.weibull import Calibration
from evernorm.errors import ParamsError, StateError
from evernorm.evaluation.trade_off import RATES, Choice, trade_off
from evernorm.files import read_arrays, read_json
from evernorm.methods.registry import learner_of, learners
from tasks.workspace.workspace import Workspace


@dataclass(frozen=True)
class Thresholds:
    """The trade-off of a class.

    Attributes:
        name: The class.
        display: What people call it.
        present: The rate it has.
        own: Whether that is its own, and not that of all.
        promise: What may be expected of that.
        choices: What would come of each rate, ascending; that of `present` among them.
    """

    name: str
    display: str
    present: float
    own: bool
    promise: str
    choices: list[Choice]


def thresholds_of(workspace: Workspace, name: str, asked: float | None = None) -> Thresholds:
    """The trade-off of a class of the bank.

    Args:
        workspace: The workspace.
        name: The class.
        asked: A rate that is of interest, too.

    Raises:
        ParamsError: The bank does not know the class.
        StateError: The method keeps one memory, and so one threshold, for all; or a run was cut short.
    """
    refuse_without(workspace, name)
    learned = workspace.learned()
    folder = workspace.paths.model(learned[-1]) / "calibration" / name
    if not folder.is_dir():
        raise StateError(f"the bank after {learned[-1]} is not whole, as a run was cut short; run it again")
    reading = Calibration.load(folder).steps[0]  # the stored bank holds it for the rows that are read
    present = workspace.params.rate_of(name)
    test = read_arrays(workspace.paths.bank(learned[-1], "evaluation") / "outcomes.safetensors")
    place = read_json(workspace.paths.metrics(learned[-1]))["classes"].index(name)
    labels, scores, decisions, unknown, routed = (
        np.asarray(test[f"{name}/{what}"]) for what in ("labels", "scores", "decisions", "unknown", "place")
    )
    told = promise(reading, present, exchangeable=learner_of(workspace.params).exchangeable)
    rates = sorted({*RATES, present, *([asked] if asked else [])})
    choices = trade_off(reading, labels, scores, unknown | (routed != place), decisions, rates)
    return Thresholds(
        name, workspace.display(name), present, name in workspace.params.own_rates, told, choices
    )


def refuse_without(workspace: Workspace, name: str) -> None:
    """Refuse a class that has no threshold of its own.

    Raises:
        ParamsError: The bank does not know it.
        StateError: The method does not tell classes apart.
    """
    if name not in (learned := workspace.learned()):
        raise ParamsError(f"{name!r} is not in the bank, which knows {', '.join(learned) or 'no class yet'}")
    method = workspace.params.method
    if not learners()[method].traits.routes:
        raise StateError(
            f"{method} keeps one threshold for all classes; set weibull.false_alarm_rate instead"
        )


def draw_trade_off(thresholds: Thresholds, path: Path) -> None:
    """Write the trade-off as a picture (PNG).

    Raises:
        StateError: It cannot be written.
    """
    from tasks.tracking.pictures import called, save, trade_off_curves

    title = called(thresholds.name, thresholds.display)
    save(trade_off_curves(thresholds.choices, thresholds.present, title), path)
