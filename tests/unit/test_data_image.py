"""Images and masks from every pixel format, and refusals by name."""

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image, ImageFile

from evernorm.data.image import FORMATS, MAX_PIXELS, read_image, read_mask, samples_of
from evernorm.errors import DataError

RAMP = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)


def encode(image, format="PNG", **options):
    """An array or a Pillow image as a file's bytes."""
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, format, **options)
    return stream.getvalue()


def png(width, height, bits, colour, rows=b""):
    """A PNG of any bit depth, which Pillow cannot write."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def png16(pixels):
    """A 16-bit PNG of [H, W] grey, [H, W, 2] grey and alpha, [H, W, 3] RGB or [H, W, 4] RGBA values."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)


def grey(levels):
    return np.repeat(np.asarray(levels, dtype=np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_read_as_written(format):
    """A lossless 8-bit RGB file gives the very array it was made of, from bytes."""
    np.testing.assert_array_equal(read_image(encode(RAMP, format)), RAMP)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read_from_a_path(tmp_path, format):
    """Each allowed format is read from a file, uint8, three channels, whatever the file's name."""
    path = tmp_path / "x.dat"
    path.write_bytes(encode(RAMP, format))
    image = read_image(path)
    assert (image.dtype, image.shape) == (np.uint8, RAMP.shape)
    assert image.flags["C_CONTIGUOUS"]
    assert image.flags["WRITEABLE"]


def test_8_bit_grey_fills_three_channels():
    """Grey levels stand unchanged in R, G and B."""
    np.testing.assert_array_equal(read_image(encode(RAMP[..., 0])), grey(RAMP[..., 0]))


def grey16_files(values):
    """The same 16-bit values in every file format that holds them."""
    values = np.asarray(values, dtype=np.uint16)
    big_endian = Image.frombytes("I;16B", values.shape[::-1], values.astype(">u2").tobytes())
    height, width = values.shape
    return {
        "png": png16(values),
        "tiff": encode(Image.fromarray(values), "TIFF"),
        "tiff big-endian": encode(big_endian, "TIFF"),
        "tiff mode I": encode(Image.fromarray(values.astype(np.int32)), "TIFF"),
        "pgm": b"P5 %d %d 65535\n" % (width, height) + values.astype(">u2").tobytes(),
    }


@pytest.mark.parametrize("file", ["png", "tiff", "tiff big-endian", "tiff mode I", "pgm"])
def test_16_bit_grey_is_divided_by_257(file):
    """All 65536 levels are scaled and rounded, none is clipped."""
    values = np.arange(65536).reshape(256, 256)
    expected = np.round(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(grey16_files(values)[file]), grey(expected))


@given(st_numpy.arrays(np.uint16, (2, 8)))
def test_16_bit_scaling_is_monotone(values):
    """A brighter 16-bit pixel is never darker in 8 bits, and multiples of 257 come back exactly."""
    values = np.sort(values, axis=None).reshape(2, 8)
    scaled = read_image(png16(values))[..., 0].astype(int).ravel()
    assert (np.diff(scaled) >= 0).all()
    levels = (values // 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(png16(levels.astype(np.uint16) * 257)), grey(levels))


@pytest.mark.parametrize("value", [-1, 65536, 2_000_000])
def test_integers_wider_than_16_bits_are_refused(value):
    """32-bit integers have no known white, so they are refused rather than clipped."""
    with pytest.raises(DataError, match="exceed 16 bits"):
        read_image(encode(Image.fromarray(np.full((4, 4), value, dtype=np.int32)), "TIFF"))


def test_16_bit_rgb_keeps_the_high_byte():
    """16-bit colour is read as 8-bit, with or without alpha."""
    np.testing.assert_array_equal(read_image(png16(RAMP.astype(np.uint16) * 257)), RAMP)
    opaque = np.concatenate([RAMP, np.full((20, 30, 1), 255)], axis=2).astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(png16(opaque)), RAMP)


def test_one_bit_is_black_and_white():
    """A 1-bit image gives 0 and 255."""
    bits = RAMP[..., 0] > 100
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(bits))), grey(bits * 255))


def palette_image():
    """Left half index 0, right half index 1: red and blue."""
    image = Image.new("P", (4, 2))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (2, 0, 4, 2))
    return image


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, (255, 0, 0)),
        ({"transparency": 0}, (255, 255, 255)),
        ({"transparency": b"\x80\xff"}, (255, 127, 127)),
    ],
    ids=["opaque", "one index", "alpha a colour"],
)
def test_a_palette_gives_its_colours_over_white(options, left):
    """Palette colours are looked up; transparent ones show white."""
    image = read_image(encode(palette_image(), **options))
    np.testing.assert_array_equal(image[:, :2], np.broadcast_to(np.uint8(left), (2, 2, 3)))
    np.testing.assert_array_equal(image[:, 2:], np.broadcast_to(np.uint8((0, 0, 255)), (2, 2, 3)))


def test_transparency_shows_white():
    """Alpha composites over white in LA, RGBA, 16-bit grey and alpha, and with one transparent colour."""
    alpha = np.array([[0, 255, 51]], dtype=np.uint8)
    black = np.zeros_like(alpha)
    expected = grey([[255, 0, 204]])
    la = Image.merge("LA", [Image.fromarray(black), Image.fromarray(alpha)])
    rgba = np.stack([black, black, black, alpha], axis=2)
    for file in (encode(la), encode(rgba), png16(np.stack([black, alpha], axis=2).astype(np.uint16) * 257)):
        np.testing.assert_array_equal(read_image(file), expected)
    keyed = np.array([[[1, 2, 3], [9, 9, 9]]], dtype=np.uint8)
    np.testing.assert_array_equal(read_image(encode(keyed, transparency=(1, 2, 3)))[0], [[255] * 3, [9] * 3])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_read_in_its_true_colours(format):
    """Ink on white: no ink is white, full cyan absorbs red, also in an Adobe JPEG, which stores inks inverted."""
    inks = Image.new("CMYK", (32, 16), (0, 0, 0, 0))
    inks.paste((255, 0, 0, 0), (16, 0, 32, 16))
    image = read_image(encode(inks, format)).astype(int)
    assert abs(image[:, :8] - 255).max() <= 3
    assert abs(image[:, 24:] - (0, 255, 255)).max() <= 3


# What each EXIF orientation asks for, in the words of the standard: where row 0 and column 0 are.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: np.rot90(a, -1),  # right, top
    7: lambda a: np.rot90(a, -1)[::-1],  # right, bottom
    8: np.rot90,  # left, bottom
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
    ids=["png", "tiff", "tiff-lzw", "webp"],
)
def test_exif_orientation_is_applied_to_images_masks_and_sizes(tmp_path, orientation, format, options):
    """Stored pixels are turned upright the same way in both readers."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x"
    path.write_bytes(encode(RAMP, format, exif=exif, **options))
    expected = UPRIGHT[orientation](RAMP)
    np.testing.assert_array_equal(read_image(path), expected)
    assert read_image(path).flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(read_mask(path), expected.any(axis=2))


@pytest.mark.parametrize("format", FORMATS)
def test_samples_are_told_without_decoding(tmp_path, monkeypatch, format):
    """The header is enough in every format."""

    def load(image):
        pytest.fail(f"{image.format} was decoded")

    path = tmp_path / "x"
    path.write_bytes(encode(RAMP, format))
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert not samples_of(path).wide


def test_16_bit_grey_is_turned_upright():
    """Orientation holds for single-channel files as well."""
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(read_image(encode(values, exif=exif)), grey(np.rot90(values // 257, -1)))


CUT_TAG = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x010E, 2, 999, 9999)  # text beyond the end


@pytest.mark.parametrize(
    "exif",
    [CUT_TAG, b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0MM\0*\xff\xff\xff\xff"],
)
def test_broken_exif_leaves_the_picture(exif):
    """Damaged metadata is no reason to refuse, to turn or to warn."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(read_image(encode(RAMP, exif=exif)), RAMP)
    assert told == []


def test_a_multi_picture_jpeg_gives_its_first_picture():
    """A camera's MPO is a photograph with a preview behind it, not an animation."""
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    image = read_image(encode(first, "MPO", save_all=True, append_images=[second]))
    assert abs(image.astype(int) - (254, 0, 0)).max() <= 2


def frames(format, **options):
    return encode(
        Image.fromarray(RAMP), format, save_all=True, append_images=[Image.fromarray(255 - RAMP)], **options
    )


REFUSED = {
    "zero bytes": (b"", "empty file"),
    "text": (b"no picture at all", "not an image"),
    "another format": (encode(RAMP, "ICO"), "not an image"),
    "animated gif": (frames("GIF"), "animated"),
    "animated png": (frames("PNG"), "animated"),
    "animated webp": (frames("WEBP", lossless=True), "animated"),
    "tiff of two pages": (frames("TIFF"), "multi-page"),
    "float": (encode(Image.fromarray(np.ones((9, 9), dtype=np.float32)), "TIFF"), "floating-point"),
    "lab": (encode(Image.new("LAB", (9, 9)), "TIFF"), "colour mode 'LAB'"),
    "bomb": (png(20_000, 20_000, 8, 2), "decompression bomb"),
    "small bomb": (png(MAX_PIXELS // 9_999, 10_000, 1, 0), "decompression bomb"),
    "header cut": (encode(RAMP)[:20], "truncated"),
    "signature alone": (encode(RAMP)[:8], "cut within its header"),
    "webp cut": (encode(RAMP, "WEBP")[:-9], "truncated"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_what_cannot_be_trusted_is_refused_by_name(tmp_path, case, read):
    """The error names the file and its fault, and no Pillow warning escapes."""
    content, fault = REFUSED[case]
    with pytest.raises(DataError, match=f"^image: .*{fault}"):
        read(content)
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert fault in str(error.value)


def test_a_bomb_is_refused_before_decoding(tmp_path):
    """The header is enough to refuse; just at the limit it is let pass."""
    path = tmp_path / "x.png"
    path.write_bytes(png(10_001, 10_000, 8, 2))
    with pytest.raises(DataError, match="bomb of 10001 x 10000 pixels"):
        samples_of(path)
    path.write_bytes(png(10_000, 10_000, 8, 2))
    assert not samples_of(path).wide


@pytest.mark.parametrize("format", ["PNG", "TIFF", "GIF", "WEBP"])
def test_pillows_own_pixel_limit_does_not_warn(monkeypatch, format):
    """Between Pillow's limit and ours an image is read without a warning (warnings are errors here)."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    assert read_image(encode(RAMP, format)).shape == RAMP.shape


# Last bytes that hold neither pixels nor their checksums.
TAIL = {"PNG": 4, "BMP": 2, "GIF": 2}


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
def test_a_file_cut_anywhere_is_refused(format, data):
    """However many bytes are missing, nothing half decoded is returned."""
    whole = encode(RAMP, format)
    length = data.draw(st.integers(1, len(whole) - 1 - TAIL.get(format, 0)))
    with pytest.raises(DataError, match=r"truncated|not an image"):
        read_image(whole[:length])


@given(st.data())
def test_a_flipped_bit_in_a_png_is_refused(data):
    """PNG has checksums, and they are looked at."""
    whole = bytearray(encode(RAMP))
    start = whole.index(b"IDAT") + 4
    whole[data.draw(st.integers(start, len(whole) - 17))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DataError, match="damaged"):
        read_image(bytes(whole))


def test_what_is_no_file_is_refused(tmp_path):
    """Missing files, folders and pipes are refused at once; a pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("missing.png", ".", "pipe.png"):
        for read in (read_image, read_mask, samples_of):
            with pytest.raises(DataError, match="no such file"):
                read(tmp_path / name)


def test_nothing_global_changes():
    """Pillow's settings and the warning filters are afterwards what they were, also with several threads."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    files = [encode(RAMP, format) for format in ("TIFF", "PNG")] * 40
    with ThreadPoolExecutor(4) as pool:
        assert all((image == RAMP).all() for image in pool.map(read_image, files))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


MARKED = np.array([[0, 1, 255], [0, 0, 128]], dtype=np.uint8)


def masks():
    """The mask `MARKED` in every pixel format."""
    colour = np.stack([np.zeros_like(MARKED), np.zeros_like(MARKED), MARKED], axis=2)
    palette = Image.fromarray(np.where(MARKED > 0, 0, 1).astype(np.uint8)).convert("P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    opaque, transparent = np.full_like(MARKED, 255), (MARKED > 0).astype(np.uint8) * 255
    return {
        "L": encode(MARKED),
        "1": encode(Image.fromarray(MARKED > 0)),
        "16 bit": encode(MARKED.astype(np.uint16)),
        "RGB": encode(colour),
        "palette with white first": encode(palette),
        "RGBA on black": encode(np.dstack([MARKED, MARKED, MARKED, opaque])),
        "RGBA on transparent white": encode(np.dstack([opaque, opaque, opaque, transparent])),
        "LA": encode(Image.merge("LA", [Image.fromarray(MARKED), Image.fromarray(opaque)])),
    }


@pytest.mark.parametrize("mode", masks())
def test_every_visible_pixel_of_a_mask_counts(mode):
    """Any value above zero is anomalous, be it 1 of 255 or of 65535; the palette's colour counts, not its index."""
    mask = read_mask(masks()[mode])
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, MARKED > 0)


def test_the_message_names_a_path_and_keeps_its_cause():
    """Pillow's own words stand behind ours."""
    with pytest.raises(DataError, match=r"^nowhere\.png: no such file") as error:
        read_image(Path("nowhere.png"))
    assert error.value.__cause__ is not None
