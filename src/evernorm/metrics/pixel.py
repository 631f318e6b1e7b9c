"""Pixel metrics in constant memory, over any number of images of any size.

Exact pixel metrics need every score at once: 1.8 billion floats for the MVTec AD test set at 1024 px. Here
the scores are counted in bins instead. A float32 is ordered like its bit pattern read as an integer, once the
bits of negatives are flipped; the top 20 bits of that integer (sign, 8 of exponent, 11 of mantissa) are
the bin. So there is no range to choose beforehand, bins are 2⁻¹¹ wide relative to the score at every
magnitude, and a sum of counts does not depend on the order or the grouping of the images.

What the bins cost is known: `PixelMetrics.compute` bounds the error of AUROC and AP from the counts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import DataError, ParamsError
from evernorm.metrics.image import (
    Counts,
    Labels,
    area_under_roc,
    best_f1,
    mean_precision,
    require_bool,
    require_finite,
)

_BITS = 20
_BINS = 1 << _BITS


@dataclass(frozen=True)
class PixelResult:
    """Metrics over all pixels seen, as fractions; None where one kind of pixel is absent.

    Attributes:
        auroc: Area under the ROC curve, ties counted half.
        ap: Step-wise average precision, as in scikit-learn.
        f1_max: Highest F1 over the bin edges.
        aupro: Area under per-region overlap against false positive rate, up to the limit, over the limit.
        auroc_error: The exact AUROC is within `auroc` ± this.
        ap_error: The exact average precision is within `ap` ± this.
        prevalence: Share of anomalous pixels, the AP of a random map; None without pixels.
    """

    auroc: float | None
    ap: float | None
    f1_max: float | None
    aupro: float | None
    auroc_error: float | None
    ap_error: float | None
    prevalence: float | None


class PixelMetrics:
    """Running pixel metrics: `update` with each image, `merge` partial results, then `compute`.

    Memory is at most 24 MiB, however many images: 2²⁰ bins of two counts and one weight. The pages of bins
    that no score falls in are never handed out, so about 7 MiB are usual until the first `merge`.

    Args:
        fpr_limit: AUPRO integrates up to this false positive rate, in (0, 1]; 0.3 in MVTec AD.

    Raises:
        ParamsError: `fpr_limit` is outside (0, 1].
    """

    def __init__(self, fpr_limit: float = 0.3) -> None:
        if not 0 < fpr_limit <= 1:
            raise ParamsError(f"aupro_fpr_limit is {fpr_limit}, expected a rate in (0, 1]")
        self.fpr_limit = fpr_limit
        self._pixels = np.zeros(2 * _BINS, np.int64)  # normal pixels by bin, then anomalous pixels by bin
        self._overlap = np.zeros(_BINS, np.float64)  # each pixel of a region R adds 1 / |R|

    def update(self, score_map: npt.NDArray[np.floating[Any]], mask: Labels) -> None:
        """Count one image.

        Args:
            score_map: float32 [H, W], higher = more anomalous. Other floats are rounded to float32.
            mask: bool [H, W], True = anomalous; all False for a good image. Its 8-connected components are
                the regions of AUPRO.

        Raises:
            DataError: The shapes differ, the mask is not bool, or scores are not finite in float32. The
                image is then not counted.
        """
        mask = require_bool(mask, "mask pixels")
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such
            scores = np.asarray(score_map, dtype=np.float32)
        if mask.ndim != 2 or mask.shape != scores.shape:
            raise DataError(
                f"score map has shape {scores.shape} and mask {mask.shape}; expected the same [H, W], "
                "resize the map to the mask"
            )
        require_finite(scores, "pixel scores")

        bins = _bins(scores)
        np.add.at(self._pixels, (bins + mask * np.int64(_BINS)).ravel(), 1)
        if mask.any():
            np.add.at(self._overlap, bins[mask], _region_weights(mask))

    def merge(self, other: "PixelMetrics") -> None:
        """Add all that `other` has seen, as if this object had seen it itself.

        Raises:
            DataError: The two integrate AUPRO up to different limits.
        """
        if self.fpr_limit != other.fpr_limit:
            raise DataError(
                f"cannot merge AUPRO up to {other.fpr_limit} into AUPRO up to {self.fpr_limit}; "
                "use one aupro_fpr_limit throughout"
            )
        self._pixels += other._pixels
        self._overlap += other._overlap

    def compute(self) -> PixelResult:
        """Metrics of everything seen so far; more images may follow."""
        normal, anomalous = self._pixels.reshape(2, _BINS)
        used = np.flatnonzero(normal + anomalous)[::-1]
        fp, tp = normal[used].cumsum(), anomalous[used].cumsum()
        return PixelResult(
            auroc=area_under_roc(fp, tp),
            ap=mean_precision(fp, tp),
            f1_max=best_f1(fp, tp),
            aupro=_aupro(fp, self._overlap[used].cumsum(), self.fpr_limit),
            auroc_error=_auroc_error(fp, tp),
            ap_error=_ap_error(fp, tp),
            prevalence=float(tp[-1] / (fp[-1] + tp[-1])) if used.size else None,
        )


def _bins(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Bin of each finite score: an integer in [0, 2²⁰) that never falls where the score rises."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0: both zeros in one bin
    flip = np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    return ((bits ^ flip) >> (32 - _BITS)).astype(np.int64)


def _region_weights(mask: Labels) -> npt.NDArray[np.float64]:
    """1 / |R| for each anomalous pixel in row-major order, R its 8-connected component in `mask` [H, W]."""
    from scipy import ndimage

    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    inside = regions[mask]
    weights: npt.NDArray[np.float64] = 1 / np.bincount(inside)[inside]
    return weights


def _aupro(fp: Counts, overlap: npt.NDArray[np.float64], limit: float) -> float | None:
    """Area under the per-region overlap curve (Bergmann et al., IJCV 2021), in [0, 1].

    The weights of all regions sum to their number, so their running share is the mean overlap. The false
    positive rate is over the normal pixels of all images, good ones too. The curve is cut at `limit` by
    linear interpolation and the area divided by `limit`, once.
    """
    if not (fp.any() and overlap.any()):
        return None
    rate, share = np.append(0.0, fp / fp[-1]), np.append(0.0, overlap / overlap[-1])
    kept = rate <= limit
    at_limit = np.interp(limit, rate, share)
    return float(np.trapezoid(np.append(share[kept], at_limit), np.append(rate[kept], limit)) / limit)


def _auroc_error(fp: Counts, tp: Counts) -> float | None:
    """Half the share of pairs (normal, anomalous) that fall in one bin: each is counted ½, truly 0 to 1."""
    if not (fp.any() and tp.any()):
        return None
    pairs = np.diff(fp, prepend=0) @ np.diff(tp, prepend=0).astype(np.float64)
    return float(pairs / 2 / (float(fp[-1]) * float(tp[-1])))


def _ap_error(fp: Counts, tp: Counts) -> float | None:
    """Largest distance from the binned AP to that of any order of the pixels inside their bins.

    A bin holds p anomalous and n normal pixels; t and f come before it. Highest: the p tied, ahead of all n,
    each with precision (t + p) / (t + p + f). Lowest: the p one by one, after all n, the k-th with
    precision (t + k) / (t + k + b), b = f + n. The sum of the latter is p − b Σ 1 / (t + b + k), and
    Σ 1 / (c + k) over k = 1..p is at most log(1 + p / (c + ½)), since 1/x is convex.
    """
    ap = mean_precision(fp, tp)
    if ap is None:
        return None
    p = np.diff(tp, prepend=0)
    before = np.append(0, fp[:-1])
    highest = p @ (tp / np.maximum(tp + before, 1))
    lowest = (p - fp * np.log1p(p / (tp - p + fp + 0.5))).sum()
    return float(max(highest / tp[-1] - ap, ap - lowest / tp[-1], 0.0))
