"""What MLflow shows of an experience: a few figures to compare runs by, and the rest in words and tables."""

from collections.abc import Mapping
from typing import Any

from evernorm.params.dotted import looked_up
from evernorm.words import figure, percent

Metrics = Mapping[str, Any]
"""What stage evaluate wrote (``metrics/<class>.json``)."""

SECONDS = "cost/seconds"  # the page shows it, and bytes, in a section of their own
MILLISECONDS = "cost/milliseconds"
LITTLE = 0.25
"""A class of whose defects less is found is told of."""

COMPARED = {
    "mean_image_auroc": "mean.image_auroc",
    "pooled_image_auroc": "pooled.image_auroc",
    "forgetting": "forgetting.chaudhry",
    "routing_accuracy": "routing_accuracy",
    "mean_detection_rate": "mean.detection_rate",
    "mean_false_alarm_rate": "mean.false_alarm_rate",
    "mean_pixel_ap": "mean.pixel_ap",
    "mean_aupro": "mean.pixel_aupro",
    "cost/bytes": "bank_bytes",
}
"""The figures by which runs are compared, in the order of their columns, and where they are in `Metrics`."""

_COLUMNS = {
    "image AUROC": "image_auroc",
    "pixel AP": "pixel_ap",
    "AUPRO": "pixel_aupro",
    "false alarms": "false_alarm_rate",
    "found": "detection_rate",
}


def compared(metrics: Metrics) -> dict[str, float]:
    """The figures of a bank by which runs are compared, under the names of their columns; none that is undefined."""
    figures = {name: looked_up(metrics, place) for name, place in COMPARED.items()}
    return {name: float(value) for name, value in figures.items() if value is not None}


def class_table(metrics: Metrics, display: Mapping[str, str]) -> dict[str, list[Any]]:
    """All figures of every class, a row each: the names of the columns, and the rows."""
    per_class: Metrics = metrics["per_class"]
    columns = list(dict.fromkeys(key for figures in per_class.values() for key in figures))
    rows = [[display[name], *(figures.get(key) for key in columns)] for name, figures in per_class.items()]
    return {"columns": ["class", *columns], "data": rows}


def in_words(metrics: Metrics, display: Mapping[str, str]) -> str:
    """The figures that matter as Markdown: a row a class, then the means and what holds for all."""
    per_class: Metrics = metrics["per_class"]
    rows = [(display[name], figures) for name, figures in per_class.items()]
    if len(rows) > 1:
        rows.append(("**mean**", metrics["mean"]))
    lines = ["| class | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for name, figures in rows:
        cells = [_cell(key, figures.get(key)) for key in _COLUMNS.values()]
        lines.append(f"| {name.replace('|', chr(92) + '|')} | {' | '.join(cells)} |")
    whole = {
        "pooled image AUROC": metrics["pooled"]["image_auroc"],
        "forgetting": metrics["forgetting"]["chaudhry"],
        "routing accuracy": metrics["routing_accuracy"],
    }
    told = [f"{what} {value:.3f}" for what, value in whole.items() if value is not None]
    if (recognised := looked_up(metrics, "unknown.recognised")) is not None:
        told.append(f"unknown products recognised {percent(recognised)}")
    return "\n".join([*lines, "", ", ".join([*told, f"{metrics['bank_bytes'] / 1e6:.1f} MB"])])


def unmeasured(metrics: Metrics) -> dict[str, str]:
    """The classes of a bank that some bound says nothing about, and which test images they lack."""
    lacking = {}
    for name, figures in metrics["per_class"].items():
        good, defective = (figures[key] is not None for key in ("false_alarm_rate", "detection_rate"))
        if not (good and defective):
            lacking[name] = f"no {'good ' if defective else 'defective ' if good else ''}test images"
    return lacking


def weak(metrics: Metrics) -> dict[str, float]:
    """The classes of a bank of whose defective test images it finds less than `LITTLE`, and the share that it finds."""
    found = {name: figures["detection_rate"] for name, figures in metrics["per_class"].items()}
    return {name: share for name, share in found.items() if share is not None and share < LITTLE}


def _cell(key: str, value: float | None) -> str:
    return percent(value) if key.endswith("_rate") else figure(value)
