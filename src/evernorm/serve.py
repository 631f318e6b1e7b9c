"""The bank behind MLflow's pyfunc loader: plain rows in, plain rows out. Imports no MLflow."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evernorm.data.image import read_image
from evernorm.data.profile import bit_depth_for
from evernorm.errors import DataError
from evernorm.methods.bank import bank_digest, load_bank
from evernorm.methods.detector import Detector
from evernorm.types import Floats, Image

COLUMN = "image"
ANSWER = {
    "class": "string",
    "display": "string",
    "unknown": "boolean",
    "anomalous": "boolean",
    "score": "double",
    "threshold": "double",
    "p_value": "double",
    "probability": "double",
    "region": "longs",
    "warning": "string",
    "map": "any",
}
"""What an answer says of an image, and of which type."""

MAPS = ("none", "png", "full")
_THRESHOLD_GREY = 128  # of a map as PNG: half of white is an alarm


def _load_pyfunc(path: str) -> "ServedBank":
    """What MLflow calls (``loader_module: evernorm.serve``)."""
    return ServedBank(load_bank(Path(path)), bank_digest(Path(path)))


class ServedBank:
    """Answers for a table with a column ``image``.

    Args:
        bank: What judges.
        digest: `bank_digest`; tells in each answer which bank gave it.
    """

    def __init__(self, bank: Detector, digest: str) -> None:
        self.bank = bank
        self.digest = digest

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Judge images.

        Args:
            model_input: A data frame or dict with a column ``image``, or a list of images; each image is a file as
                base64 text, or its bytes.
            params: ``map``: what is sent of the anomaly map: ``none`` (default); ``png``, 8-bit grey as base64, of
                the image's size, in which 128 is the threshold and 255 twice as much or more; ``full``, rows of floats.

        Returns:
            One dict an image: ``bank``, ``error`` (None, or what is wrong with the image or with ``params``; then
            all that follows is None), ``class`` (None for an unknown product, and for a method that does not ask
            for the class), ``display``, ``unknown``, ``anomalous``, ``score``, ``threshold``, ``p_value``,
            ``probability`` (None for an unknown product), ``region`` (left, top, right, bottom of the defect in
            pixels, or None), ``warning`` (None, or what is odd about the image), ``map``.
        """
        wanted = str((params or {}).get("map", MAPS[0]))
        fault = None if wanted in MAPS else f"map {wanted!r}: expected {', '.join(MAPS)}"
        depth = bit_depth_for(self.bank.profiles)
        answers: list[dict[str, Any]] = []
        images: dict[int, Image] = {}
        for number, value in enumerate(_column(model_input)):
            answers.append({"bank": self.digest, "error": fault, **dict.fromkeys(ANSWER)})
            try:
                images[number] = _decode(value, depth)
            except DataError as error:
                answers[number]["error"] = error.message
        if fault is None:
            predictions = self.bank.predict(list(images.values()))
            for number, prediction in zip(images, predictions, strict=True):
                sent = _sent(prediction.map, prediction.map_threshold, wanted)
                answers[number].update(prediction.to_json() | {"map": sent})
        return answers


def _sent(score_map: Floats | None, threshold: float | None, wanted: str) -> str | list[list[float]] | None:
    """An anomaly map as it is sent."""
    if score_map is None or threshold is None or wanted == "none":
        return None
    if wanted == "full":
        rows: list[list[float]] = score_map.tolist()
        return rows
    from PIL import Image as Pictures

    grey = np.clip(score_map * (_THRESHOLD_GREY / threshold), 0, 255).round().astype(np.uint8)
    encoded = io.BytesIO()
    Pictures.fromarray(grey).save(encoded, "PNG")
    return base64.b64encode(encoded.getvalue()).decode()


def _column(model_input: Any) -> list[Any]:
    """The images of a table, of a dict of columns, or of a plain list."""
    values = model_input[COLUMN] if hasattr(model_input, "keys") else model_input
    if isinstance(values, str | bytes | bytearray):
        return [values]
    return list(values)


def _decode(value: Any, bit_depth: int | None) -> Image:
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except ValueError as error:  # also of letters that no base64 has
            raise DataError(f"text that is not base64 ({error})") from error
    if not isinstance(value, bytes | bytearray):
        raise DataError(f"a {type(value).__name__}; expected an image file as base64 text")
    return read_image(bytes(value), bit_depth)
