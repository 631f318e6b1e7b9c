"""Metrics: of image scores, of pixel scores, and of a stream of experiences."""

from evernorm.metrics.continual import (
    chaudhry,
    final_mean,
    forgetting,
    forgetting_since,
    gap_to_joint,
    matrix_rows,
    mtrmb,
    relative_percent,
)
from evernorm.metrics.image import (
    auroc,
    average_precision,
    f1_max,
    prevalence,
    rates,
    roc_curve,
    trivial_f1,
)
from evernorm.metrics.pixel import PixelMetrics, PixelResult

__all__ = [
    "PixelMetrics",
    "PixelResult",
    "auroc",
    "average_precision",
    "chaudhry",
    "f1_max",
    "final_mean",
    "forgetting",
    "forgetting_since",
    "gap_to_joint",
    "matrix_rows",
    "mtrmb",
    "prevalence",
    "rates",
    "relative_percent",
    "roc_curve",
    "trivial_f1",
]
