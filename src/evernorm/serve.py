"""The bank behind MLflow's pyfunc loader: plain rows in, plain rows out. Imports no MLflow."""

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.data.image import read_image
from evernorm.errors import DataError
from evernorm.methods.memory.base import MemoryDetector
from evernorm.methods.presets import load_bank

UNKNOWN = "unknown class"  # no class can be called so: a class name has no space


def _load_pyfunc(path: str) -> "ServedBank":
    """What MLflow calls (``loader_module: evernorm.serve``)."""
    return ServedBank(load_bank(Path(path)))


class ServedBank:
    """Answers for a table with a column ``image``."""

    def __init__(self, bank: MemoryDetector) -> None:
        self.bank = bank

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Judge images.

        Args:
            model_input: A data frame or dict with a column ``image``, or a list of images. Each image is an
                encoded file (bytes, or base64 text) or an array ``[H, W, 3]`` of 0..255.
            params: Unused; MLflow passes it.

        Returns:
            One dict an image: class, score, probability, p_value, anomalous, map (rows of floats). For an
            unknown product the class is ``unknown class`` and the figures are NaN.

        Raises:
            DataError: Listing every image that cannot be read.
        """
        column = model_input["image"] if hasattr(model_input, "keys") else model_input
        images, faults = [], []
        for number, value in enumerate(column):
            try:
                images.append(_decode(value))
            except DataError as error:
                faults.append(f"image {number}: {error.message}")
        if faults:
            raise DataError(f"{len(faults)} of {len(column)} images cannot be read", faults)
        return [
            {
                "class": prediction.routed_class or UNKNOWN,
                "score": prediction.score,
                "probability": prediction.probability,
                "p_value": prediction.p_value,
                "anomalous": prediction.anomalous,
                "map": prediction.map.tolist(),
            }
            for prediction in self.bank.predict(images)
        ]


def _decode(value: Any) -> npt.NDArray[np.uint8]:
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise DataError(f"text that is not base64 ({error})") from error
    if isinstance(value, bytes | bytearray):
        return read_image(bytes(value))
    try:
        array = np.asarray(
            value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else value
        )
    except ValueError as error:
        raise DataError(f"rows of unequal length ({error})") from error
    in_range = array.dtype.kind in "uif" and array.size > 0 and array.min() >= 0 and array.max() <= 255
    if array.ndim != 3 or array.shape[2] != 3 or not in_range:
        raise DataError(f"an array of shape {array.shape}, {array.dtype}; expected [H, W, 3] of 0..255")
    return array.astype(np.uint8)
