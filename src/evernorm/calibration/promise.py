"""What a false-alarm rate that was asked for is worth, in words: what it rests on, and what so few images can keep.

Ranks keep a rate for images that are exchangeable with those that calibrate: split conformal p-values where those were held
out. Where each was left out of a memory in turn (the jackknife), no theorem promises it (Barber et al., 2021); it was
measured (docs/results.md, "A false-alarm rate that is kept").
"""

import math

from evernorm.calibration.weibull import Reading, reached
from evernorm.params.groups import Guarantee
from evernorm.words import counted


def needed(rate: float, guarantee: Guarantee) -> int:
    """Normal images below which a rate cannot be kept (ranks), or is an extrapolation (the tail)."""
    return math.ceil(1 / rate - 1e-9) - (guarantee is Guarantee.CONFORMAL)


def promise(reading: Reading, rate: float, *, held_out: bool) -> str:
    """What a person may expect of a threshold.

    Args:
        reading: Of the class.
        rate: The false-alarm rate it was asked for.
        held_out: Whether its images were never learned from, and not left out in turn.
    """
    count = len(reading.scores)
    images = counted(count, "normal image")
    least = needed(rate, reading.guarantee)
    if reading.guarantee is Guarantee.TAIL:
        if count < least:
            return (
                f"{rate:.1%} is an extrapolation of the Weibull tail of {images}: nothing is promised, and below "
                f"{1 / count:.1%} nothing was seen ({least} images are needed)"
            )
        return f"{rate:.1%} is read off the Weibull tail of {images}: an estimate, nothing is promised"
    kept = reached(rate, count)
    how = (
        "on average over such images and over draws of them"
        if held_out
        else "expected, not promised, as each was left out of what was learned in turn"
    )
    if count < least:
        return (
            f"{rate:.1%} cannot be kept by {images}: {least} are needed; an alarm is what scores above all of them, "
            f"which keeps {kept:.1%} ({how})"
        )
    return f"at most {rate:.1%} of images like the {images} that calibrate are alarms ({how})"
