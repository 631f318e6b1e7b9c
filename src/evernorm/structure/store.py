"""Label maps on disk: one lossless 16-bit PNG an image."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evernorm.errors import StateError
from evernorm.files import inside, write_bytes


def save_labels(folder: Path, path: str, labels: npt.NDArray[np.uint16]) -> None:
    """Write a label map, atomically; the same labels give the same bytes.

    Args:
        folder: Where label maps are kept.
        path: The image's path in its class folder, as the manifest has it.
        labels: uint16 ``[H, W]``.

    Raises:
        DataError: `path` leaves the folder.
        StateError: It cannot be written.
    """
    stream = io.BytesIO()
    Image.fromarray(labels).save(stream, "PNG")
    write_bytes(_place(folder, path), stream.getvalue())


def load_labels(folder: Path, path: str) -> npt.NDArray[np.uint16]:
    """Read the label map of an image: uint16 ``[H, W]``.

    Args:
        folder: Where label maps are kept.
        path: The image's path in its class folder, as the manifest has it.

    Raises:
        DataError: `path` leaves the folder.
        StateError: There is none, or it is damaged or no 16-bit grey PNG.
    """
    place = _place(folder, path)
    try:
        content = place.read_bytes()
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.verify()  # the checksums, which decoding skips
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            labels = np.array(image)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StateError(f"{place} is missing; run the stage masks again, or `dvc pull`") from error
    except Exception as error:  # Pillow raises nearly every built-in exception on damaged files
        raise StateError(f"{place} is damaged ({error}); restore it with `dvc checkout`") from error
    if labels.dtype != np.uint16 or labels.ndim != 2:
        raise StateError(
            f"{place} holds {labels.dtype} of shape {labels.shape}, expected 16-bit grey; "
            f"restore it with `dvc checkout`"
        )
    return labels


def _place(folder: Path, path: str) -> Path:
    """The folders of images stay, and so does the suffix: a.jpg and a.png are two images."""
    return inside(folder, f"{path}.png")
