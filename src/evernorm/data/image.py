"""One image file in, one upright 8-bit RGB array or boolean mask out; anything doubtful is refused by name."""

import errno
import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from evernorm.data.depth import FULL, GREY, Samples, low_bytes, to_8_bits
from evernorm.errors import DataError, StateError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
MAX_PIXELS = 100_000_000

_EIGHT_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
# Faults of the machine, not of the image: a disk that fails, a share that is gone, too many open files.
_MACHINE = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.EMFILE, errno.ENFILE})
_AGAIN = "copy it again from its source or remove it"

_warnings_lock = threading.Lock()


def read_image(source: Path | bytes, bit_depth: int | None = FULL) -> npt.NDArray[np.uint8]:
    """Read one image as it is meant to be seen.

    Of 16-bit files, white is the highest value of the bits that are used: 65535, or 4095 where a camera keeps 12
    bits. A file may tell them (a PNG in sBIT, a TIFF in MaxSampleValue or BitsPerSample, a PGM in its header); of
    others `bit_depth` does. Where all 16 are used, the high byte of colour is kept, and grey is rounded.
    Transparency is composited over white and the EXIF orientation applied. Of a multi-picture JPEG (MPO) the first
    picture is read, as every JPEG reader does.

    Args:
        source: The file, or its bytes.
        bit_depth: Bits used by a 16-bit file that does not tell them; None: it is refused.

    Returns:
        uint8 array [H, W, 3], RGB.

    Raises:
        DataError: The file is missing, empty, truncated or damaged, no image, larger than `MAX_PIXELS`,
            animated, of floating-point or wider than 16-bit pixels, or has values beyond the bits that are used.
        StateError: The disk fails, or another fault of the machine.
    """
    samples = samples_of(source)
    bits = samples.bits or bit_depth
    if not samples.wide or (samples.colour and bits == FULL):
        return _decode(source, _rgb)
    if bits is None:
        raise DataError(
            f"{_name(source)}: a 16-bit file that does not tell how many of its bits are used; name them"
        )
    values = _decode(source, np.asarray).astype(np.int32)
    if samples.colour:
        values = values << 8 | _decode(source, np.asarray, low_bytes)
    try:
        scaled = to_8_bits(values, bits, samples)
    except DataError as error:
        raise DataError(f"{_name(source)}: {error.message}") from error
    return _rgb(Image.fromarray(scaled))


def samples_of(source: Path | bytes) -> Samples:
    """How an image file keeps its samples, from the header alone.

    Raises:
        DataError: The header is refused for one of the reasons of `read_image`.
    """
    with _opened(source) as image:
        return Samples.of(image)


def read_mask(source: Path | bytes) -> npt.NDArray[np.bool_]:
    """Read one defect mask; every pixel that is neither black nor fully transparent is anomalous.

    The colour a palette shows counts, not its index. Orientation and refusals are those of `read_image`.

    Returns:
        Boolean array [H, W], true where anomalous.

    Raises:
        DataError: As `read_image`.
    """
    return _decode(source, _nonzero)


def _decode(
    source: Path | bytes,
    convert: Callable[[Image.Image], npt.NDArray[Any]],
    prepare: Callable[[ImageFile.ImageFile], None] = lambda _: None,
) -> npt.NDArray[Any]:
    """Decode, convert to an array and turn upright."""
    with _opened(source) as image:
        image.verify()  # a PNG's checksums, which decoding skips; nothing for the other formats
    with _opened(source) as image:
        prepare(image)
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
    """Loaded 8-bit image to RGB [H, W, 3]."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def _nonzero(image: Image.Image) -> npt.NDArray[np.bool_]:
    """Loaded mask to bool [H, W]."""
    if image.mode in GREY:
        return np.asarray(image) > 0
    red, green, blue, alpha = np.moveaxis(np.asarray(image.convert("RGBA")), 2, 0)
    marked: npt.NDArray[np.bool_] = ((red | green | blue) > 0) & (alpha > 0)
    return marked


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
def _opened(source: Path | bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image and check its header; every failure inside the block becomes a DataError that names the file."""
    name = _name(source)
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
        if isinstance(error, OSError) and error.errno in _MACHINE:
            raise StateError(
                f"{name}: cannot be read now ({error.strerror}); check the disk, and run again"
            ) from error
        raise DataError(f"{name}: truncated or damaged image ({error}); {_AGAIN}") from error


def _name(source: Path | bytes) -> str:
    return "image" if isinstance(source, bytes) else str(source)


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
    if image.mode not in _EIGHT_BIT | GREY:
        raise DataError(f"colour mode {image.mode!r} is not supported; save it as 8-bit RGB")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings (size, odd metadata) to ourselves: what matters is refused with a DataError.

    `warnings.catch_warnings` swaps process-wide filters and so admits one thread at a time.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
