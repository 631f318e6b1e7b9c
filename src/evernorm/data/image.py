"""One image file in, one upright 8-bit RGB array or boolean mask out; anything doubtful is refused by name."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from evernorm.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
MAX_PIXELS = 100_000_000

_EIGHT_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
_SIXTEEN_BIT = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_AGAIN = "copy it again from its source or remove it"

_warnings_lock = threading.Lock()


def read_image(source: Path | bytes) -> npt.NDArray[np.uint8]:
    """Read one image as it is meant to be seen.

    16-bit grey is scaled by 1/257 and rounded, so 0 and 65535 become 0 and 255; of 16-bit colour the high byte is
    kept. Transparency is composited over white and the EXIF orientation applied. Of a multi-picture JPEG (MPO)
    the first picture is read, as every JPEG reader does.

    Args:
        source: The file, or its bytes.

    Returns:
        uint8 array [H, W, 3], RGB.

    Raises:
        DataError: The file is missing, empty, truncated or damaged, no image, larger than `MAX_PIXELS`,
            animated, of floating-point or wider than 16-bit pixels.
    """
    return _decode(source, _rgb)


def read_mask(source: Path | bytes) -> npt.NDArray[np.bool_]:
    """Read one defect mask; every pixel that is neither black nor fully transparent is anomalous.

    The colour a palette shows counts, not its index. Orientation and refusals are those of `read_image`.

    Returns:
        Boolean array [H, W], true where anomalous.

    Raises:
        DataError: As `read_image`.
    """
    return _decode(source, _nonzero)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as `read_image` gives them, from the header alone.

    Raises:
        DataError: The header is refused for one of the reasons of `read_image`.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


def _decode(source: Path | bytes, convert: Callable[[Image.Image], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Decode, convert to an array and turn upright."""
    with _opened(source) as image:
        image.verify()  # a PNG's checksums, which decoding skips; nothing for the other formats
    with _opened(source) as image:
        # Pillow's TIFF reader warns while it decodes, the others only while they open.
        with _quiet() if image.format == "TIFF" else nullcontext():
            image.load()
        array, orientation = convert(image), _orientation(image)
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(array[::down, ::right])


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Loaded image to RGB [H, W, 3]."""
    if image.mode in _SIXTEEN_BIT:
        grey = np.asarray(image).astype(np.int32)
        if grey.min() < 0 or grey.max() > 65535:
            raise DataError(
                f"values {grey.min()}..{grey.max()} exceed 16 bits; save it with 8 or 16 bits a channel"
            )
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def _nonzero(image: Image.Image) -> npt.NDArray[np.bool_]:
    """Loaded mask to bool [H, W]."""
    if image.mode in _SIXTEEN_BIT:
        return np.asarray(image) > 0
    rgba = np.asarray(image.convert("RGBA"))
    return rgba[..., :3].any(axis=2) & (rgba[..., 3] > 0)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, that is still to be applied."""
    if image.format == "TIFF":
        return 1  # Pillow has turned it already
    try:
        with _quiet():
            # Not image.getexif(): for a PNG that decodes the pixels in search of late metadata.
            value = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except Exception:
        return 1  # a broken EXIF block leaves the pixels good
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Open an image and check its header; every failure inside the block becomes a DataError that names the file."""
    name = "image" if isinstance(source, bytes) else str(source)
    try:
        if isinstance(source, Path) and not source.is_file():
            raise DataError(f"no such file; {_AGAIN}")
        # An open stream keeps Pillow from mapping the file, which would crash if the file shrank meanwhile.
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            if not stream.read(1):
                raise DataError(f"empty file (0 bytes); {_AGAIN}")
            with _quiet():
                image = Image.open(stream, formats=FORMATS)
                _check_header(image)
            yield image
    except DataError as error:
        raise DataError(f"{name}: {error.message}") from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name}: decompression bomb; scale it down to {MAX_PIXELS} pixels at most"
        ) from error
    except PermissionError as error:
        raise DataError(f"{name}: unreadable ({error.strerror}); give read permission") from error
    except UnidentifiedImageError as error:
        formats = ", ".join(FORMATS)
        raise DataError(
            f"{name}: not an image, or cut within its header; expected one of {formats}"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception on bad input
        raise DataError(f"{name}: truncated or damaged image ({error}); {_AGAIN}") from error


def _check_header(image: Image.Image) -> None:
    """Refuse by the header what must not or cannot be decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"decompression bomb of {width} x {height} pixels; scale it down to {MAX_PIXELS} at most"
        )
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise DataError("animated or multi-page image; save the one frame meant as its own file")
    if image.mode == "F":
        raise DataError("floating-point image; save it with 8 or 16 bits a channel")
    if image.mode not in _EIGHT_BIT | _SIXTEEN_BIT:
        raise DataError(f"colour mode {image.mode!r} is not supported; save it as 8-bit RGB")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings (size, odd metadata) to ourselves: what matters is refused with a DataError.

    `warnings.catch_warnings` swaps process-wide filters and so admits one thread at a time.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
