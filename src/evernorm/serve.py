"""The bank behind MLflow's pyfunc loader: plain rows in, plain rows out. Imports no MLflow."""

import base64
import binascii
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.data.image import read_image
from evernorm.data.profile import bit_depth_for
from evernorm.errors import DataError
from evernorm.methods.bank import load_bank
from evernorm.methods.detector import Detector

UNKNOWN = "unknown class"  # no class can be called so: a class name has no space


def _load_pyfunc(path: str) -> "ServedBank":
    """What MLflow calls (``loader_module: evernorm.serve``)."""
    return ServedBank(load_bank(Path(path)))


class ServedBank:
    """Answers for a table with a column ``image``."""

    def __init__(self, bank: Detector) -> None:
        self.bank = bank

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Judge images.

        Args:
            model_input: A data frame or dict with a column ``image``, or a list of images. Each image is an
                encoded file (bytes, or base64 text) or an array ``[H, W, 3]`` of 0..255.
            params: Unused; MLflow passes it.

        Returns:
            One dict an image: class, score, probability, p_value, anomalous, warning (empty, or what is odd about
            the image), map (rows of floats; none for a
            method without maps). For an unknown product the class is ``unknown class``, the figures are NaN, and
            there is no map; for a method that does not ask for the class it is empty.

        Raises:
            DataError: Listing every image that cannot be read.
        """
        column = model_input["image"] if hasattr(model_input, "keys") else model_input
        images, faults = [], []
        depth = bit_depth_for(self.bank.profiles)
        for number, value in enumerate(column):
            try:
                images.append(_decode(value, depth))
            except DataError as error:
                faults.append(f"image {number}: {error.message}")
        if faults:
            raise DataError(f"{len(faults)} of {len(column)} images cannot be read", faults)
        return [
            {
                "class": UNKNOWN if prediction.unknown else prediction.routed_class or "",
                "score": prediction.score,
                "probability": prediction.probability,
                "p_value": prediction.p_value,
                "anomalous": prediction.anomalous,
                "warning": prediction.warning or "",
                "map": [] if prediction.map is None else prediction.map.tolist(),
            }
            for prediction in self.bank.predict(images)
        ]


def _decode(value: Any, bit_depth: int | None) -> npt.NDArray[np.uint8]:
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise DataError(f"text that is not base64 ({error})") from error
    if isinstance(value, bytes | bytearray):
        return read_image(bytes(value), bit_depth)
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
