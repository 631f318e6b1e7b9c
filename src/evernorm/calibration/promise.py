"""What a false-alarm rate that was asked for is worth, in words: what it rests on, and what so few images can keep.

Ranks keep a rate for images that are exchangeable with those that calibrate (split conformal prediction), where those were
never learned from. Where each was left out of a memory in turn (the jackknife), or the network has changed since, no theorem
promises it (Barber et al., 2021); what is kept was measured (docs/results.md, "A false-alarm rate that is kept").
"""

import math

from evernorm.calibration.reading import Reading, reached
from evernorm.params.groups import Guarantee
from evernorm.words import counted


def needed(rate: float, guarantee: Guarantee) -> int:
    """Normal images below which a rate cannot be kept (ranks), or is an extrapolation (the tail)."""
    return math.ceil(1 / rate - 1e-9) - (guarantee is Guarantee.CONFORMAL)


def promise(reading: Reading, rate: float, *, exchangeable: bool) -> str:
    """What a person may expect of a threshold.

    Args:
        reading: Of the class.
        rate: The false-alarm rate it was asked for.
        exchangeable: Whether the images that calibrate were never learned from (`Learner.exchangeable`).
    """
    count = len(reading.scores)
    images = counted(count, "normal image")
    if reading.classes > 1:
        images += f" of all {reading.classes} classes together"
    least = needed(rate, reading.guarantee)
    if reading.guarantee is Guarantee.TAIL:
        if count < least:
            return (
                f"{_said(rate)} is an extrapolation of the Weibull tail of {images}: nothing is promised, and rates below "
                f"{_said(1 / count)} were not seen ({least} images are needed)"
            )
        return (
            f"{_said(rate)} is read off the Weibull tail of {images}: an estimate, nothing is promised; rates below "
            f"{_said(1 / count)} are an extrapolation"
        )
    how = (
        "on average over draws of all images, of those that are sent to their class"
        if exchangeable
        else "expected, not promised, as what judges images is not what judged these"
    )
    if count < least:
        return (
            f"{_said(rate)} cannot be kept by {images}: {least} are needed; an alarm is what scores above all of them, "
            f"which keeps {_said(reached(rate, count))} ({how})"
        )
    return (
        f"at most {_said(rate)} of images like the {images} that calibrate are alarms ({how}); "
        f"{_said(reached(0, count))} is the least that they can keep"
    )


def _said(rate: float) -> str:
    return f"{100 * rate:.2g} %"
