"""What each false-alarm rate costs in defects: the trade-off from which a person chooses a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from evernorm.calibration.reading import Reading
from evernorm.metrics.image import rates
from evernorm.types import Doubles, Flags

RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Choice:
    """A false-alarm rate that can be asked for, and what would come of it.

    Attributes:
        asked: The rate.
        threshold: Standardised score beyond which an image would be an alarm.
        normal: Share of the training images beyond it, each scored as if it had not been learned from.
        false_alarms: Share of the good test images that would be alarms; None where there are none.
        found: Share of the defective ones; None where there are none.
    """

    asked: float
    threshold: float
    normal: float
    false_alarms: float | None
    found: float | None


def trade_off(
    reading: Reading,
    labels: Flags,
    scores: Doubles,
    elsewhere: Flags,
    decisions: Flags,
    asked: Sequence[float] = RATES,
) -> list[Choice]:
    """What would come of each rate.

    Args:
        reading: Of the class.
        labels: bool ``[n]``, of its test images, True = anomalous.
        scores: float64 ``[n]``, standardised in the class.
        elsewhere: bool ``[n]``, whether an image was not judged by this class: no threshold of its changes that.
        decisions: bool ``[n]``, what was decided, for those.
        asked: Rates in (0, 1).
    """
    choices = []
    for rate in asked:
        raw = reading.score_at(rate)
        threshold = float(reading.standardise(raw))
        alarms = (elsewhere & decisions) | (~elsewhere & (scores > threshold))
        false_alarms, found = rates(labels, alarms)
        choices.append(Choice(rate, threshold, float((reading.scores > raw).mean()), false_alarms, found))
    return choices
