"""How many bits of a wide sample are used: cameras keep 10, 12 or 14 of them in files that have room for 16."""

import struct
import sys
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import ImageFile

from evernorm.errors import DataError

FULL = 16
"""Bits of a sample that fill a 16-bit file."""

GREY = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes of wide grey images."""

_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE = 258, 281  # tags of a TIFF
_COLOUR = frozenset({"RGB", "RGBA", "RGBX"})
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class Samples:
    """How an image file keeps its samples.

    Attributes:
        wide: Whether they have more than 8 bits.
        layout: Their channels, and how Pillow unpacks them, as ``RGB;16B``.
        bits: How many bits of a wide sample are used, if the file tells.
        raised: Whether such samples may fill the whole 16 bits nevertheless. PNG asks its writers to scale them so
            and to tell only how many bits they had; not all who tell the bits do.
    """

    wide: bool
    layout: str = ""
    bits: int | None = None
    raised: bool = False

    @classmethod
    def of(cls, image: ImageFile.ImageFile) -> "Samples":
        """Of an image that is open and not decoded yet."""
        tile = image.tile[0] if image.tile else None
        arguments: Any = tile.args if tile else ""
        layout = str(arguments if isinstance(arguments, str) else (arguments or ("",))[0])
        if image.mode not in GREY and ";16" not in layout:
            return cls(wide=False)
        if image.format == "PNG":
            return cls(True, layout, _png_bits(image.fp), raised=True)
        if image.format == "TIFF":
            return cls(True, layout, _tiff_bits(image))
        # A decoder of its own is what Pillow takes for a PGM whose header names another white than 65535.
        return cls(True, layout, FULL if tile and tile.codec_name != "raw" else None)

    @property
    def colour(self) -> bool:
        """Whether there are several channels; Pillow keeps the high byte of each then."""
        return self.wide and self.layout.partition(";")[0] not in {"I", "L", ""}


def low_bytes(image: ImageFile.ImageFile) -> None:
    """Have the low byte of 16-bit colour decoded: what the other byte order takes for the high one.

    Raises:
        DataError: Channels that cannot be told apart so.
    """
    tiles = []
    for tile in image.tile:
        plain = isinstance(tile.args, str)
        layout = str(tile.args if plain else tile.args[0])  # type: ignore[index]
        if layout.partition(";")[0] not in _COLOUR:
            raise DataError(
                f"16-bit colour ({layout}) of fewer bits than 16 cannot be read; save it with 8 bits a channel"
            )
        swapped = layout[:-1] + _OTHER_BYTE[layout[-1]]
        tiles.append(tile._replace(args=swapped if plain else (swapped, *tile.args[1:])))  # type: ignore[index]
    image.tile = tiles


def to_8_bits(values: npt.NDArray[Any], bits: int, samples: Samples) -> npt.NDArray[np.uint8]:
    """Scale samples so that the highest value of that many bits becomes 255; rounded.

    Args:
        values: Integers of any shape.
        bits: How many bits of them are used.
        samples: Of the file they are from.

    Raises:
        DataError: There are values below 0 or beyond those bits.
    """
    values = values.astype(np.int32)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 1 << FULL:
        raise DataError(f"values {low}..{high} exceed 16 bits; save it with 8 or 16 bits a channel")
    if samples.raised and bits == samples.bits and (high >> bits or not (values & (0xFFFF >> bits)).any()):
        bits = FULL
    if high >> bits:
        if samples.bits == bits:
            raise DataError(f"values up to {high} exceed the {bits} bits that its tags tell; correct them")
        raise DataError(
            f"values up to {high} exceed the {bits} bits of data.bit_depth; name {high.bit_length()} or more"
        )
    white = (1 << bits) - 1
    return ((values * 255 + white // 2) // white).astype(np.uint8)


def _png_bits(stream: IO[bytes] | None) -> int | None:
    """What the chunk sBIT tells, which is before the pixels; Pillow passes it over."""
    if stream is None:
        return None
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind == b"sBIT":
            return max((bits for bits in stream.read(min(size, 4)) if 0 < bits <= FULL), default=None)
        if kind in {b"IDAT", b"IEND"}:
            break
        stream.seek(size + 4, 1)
    return None


def _tiff_bits(image: ImageFile.ImageFile) -> int | None:
    """What the tags of a TIFF tell: packed samples, or a highest value that is one of a depth, as 4095.

    Any other MaxSampleValue is the brightest pixel of that one picture, for statistics.
    """
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    packed = max(_integers(tags.get(_BITS_PER_SAMPLE)), default=FULL)
    if 8 < packed < FULL:
        return packed
    highest = max(_integers(tags.get(_MAX_SAMPLE_VALUE)), default=0)
    bits = highest.bit_length()
    return bits if 8 <= bits < FULL and highest == (1 << bits) - 1 else None


def _integers(value: Any) -> list[int]:
    values = value if isinstance(value, tuple) else (value,)
    return [each for each in values if isinstance(each, int)]
