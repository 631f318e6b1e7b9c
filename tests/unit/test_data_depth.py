"""Cameras keep 10, 12 or 14 bits in files of 16: white is the highest value of the bits that are used."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from evernorm.data.experience import Experience, TestView
from evernorm.data.image import read_image, samples_of
from evernorm.data.validate import validate
from evernorm.errors import DataError
from evernorm.params.groups import DataParams

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
SHOWN = np.round(RAMP * 255.0 / 4095).astype(np.uint8)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)


def png(pixels, told=None):
    """A 16-bit PNG, which Pillow cannot write in colour, with or without the chunk sBIT."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    chunks += [(b"sBIT", bytes([told] * channels))] if told else []
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff(pixels, byte_order="<", **tags):
    """A TIFF of one strip, 16 bits a sample, or 12 packed ones, with tags by number (``t281=4095``)."""
    height, width, *channels = pixels.shape
    count = channels[0] if channels else 1
    bits = tags.pop("bits", 16)
    if bits == 12:
        pairs = pixels.reshape(-1, 2).astype(np.uint32)
        both = pairs[:, 0] << 12 | pairs[:, 1]
        strip = np.stack([both >> 16, both >> 8, both], axis=1).astype(np.uint8).tobytes()
    else:
        strip = pixels.astype(f"{byte_order}u2").tobytes()
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: 2 if count > 1 else 1, 273: 8, 277: count}
    entries |= {278: height, 279: len(strip), **{int(name[1:]): value for name, value in tags.items()}}
    table = struct.pack(f"{byte_order}H", len(entries))
    far = 8 + len(strip) + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        if tag == 258 and count > 1:
            table += struct.pack(f"{byte_order}HHII", tag, 3, count, far)
        else:
            table += struct.pack(f"{byte_order}HHII", tag, 4, 1, value)
    head = (b"II*\0" if byte_order == "<" else b"MM\0*") + struct.pack(f"{byte_order}I", 8 + len(strip))
    behind = struct.pack(f"{byte_order}{count}H", *[bits] * count)
    return head + strip + table + bytes(4) + behind


def pgm(pixels, white):
    return b"P5 %d %d %d\n" % (*pixels.shape[::-1], white) + pixels.astype(">u2").tobytes()


def grey(levels):
    return np.repeat(levels[..., None], 3, axis=2)


TOLD = {
    "png": png(RAMP, told=12),
    "tiff": tiff(RAMP, t281=4095),
    "tiff big-endian": tiff(RAMP, ">", t281=4095),
    "tiff packed": tiff(RAMP, bits=12),
    "pgm": pgm(RAMP, 4095),
}


@pytest.mark.parametrize("file", TOLD)
@pytest.mark.parametrize("bit_depth", [None, 10, 16])
def test_what_the_file_tells_is_believed(file, bit_depth):
    """Full scale of 12 bits is white, whatever is said of other files."""
    np.testing.assert_array_equal(read_image(TOLD[file], bit_depth), grey(SHOWN))


UNTOLD = {
    "png": png(RAMP),
    "tiff": tiff(RAMP),
    "tiff, its highest value": tiff(RAMP, t281=3127),  # of one picture, for statistics
    "tiff, all 16": tiff(RAMP, t281=65535),
    "pgm": pgm(RAMP, 65535),
}


@pytest.mark.parametrize("file", UNTOLD)
def test_else_the_depth_named_counts(file):
    """12 bits named are 12 bits read; where none are named, all 16 are taken to be used."""
    content = UNTOLD[file]
    np.testing.assert_array_equal(read_image(content, 12), grey(SHOWN))
    np.testing.assert_array_equal(read_image(content), grey(np.round(RAMP / 257).astype(np.uint8)))
    assert samples_of(content).bits is None


def test_where_the_depth_is_not_known_the_file_is_refused(tmp_path):
    """By name; an 8-bit file needs none."""
    path = tmp_path / "x.png"
    path.write_bytes(UNTOLD["png"])
    with pytest.raises(DataError, match=rf"^{path}: a 16-bit file that does not tell"):
        read_image(path, None)
    Image.fromarray(SHOWN).save(path)
    np.testing.assert_array_equal(read_image(path, None), grey(SHOWN))


@pytest.mark.parametrize("raised", [RAMP << 4, RAMP << 4 | RAMP >> 8, (RAMP << 4)[:4]])
def test_samples_that_a_png_has_scaled_up_are_not_scaled_again(raised):
    """The PNG standard asks for that, and tells the bits there were; also of a dark picture."""
    expected = np.round(raised / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(png(raised, told=12)), grey(expected))


@pytest.mark.parametrize("pack", [png, tiff])
def test_colour_keeps_all_its_bits(pack):
    """Each channel is scaled as grey is, though Pillow gives the high byte alone."""
    expected = np.round(COLOUR * 255.0 / 4095).astype(np.uint8)
    np.testing.assert_array_equal(read_image(pack(COLOUR), 12), expected)


def test_compressed_colour_keeps_all_its_bits():
    """Decoded by libtiff, samples are in the order of this machine."""
    cv2 = pytest.importorskip("cv2")
    content = cv2.imencode(".tiff", COLOUR[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    expected = np.round(COLOUR * 255.0 / 4095).astype(np.uint8)
    np.testing.assert_array_equal(read_image(content, 12), expected)


def test_transparency_counts_in_12_bits():
    """Alpha is scaled with the colours, and shows white."""
    black = np.zeros((2, 2, 4), np.uint16)
    black[..., 3] = (4095, 0)
    np.testing.assert_array_equal(read_image(png(black), 12)[..., 0], [[0, 255], [0, 255]])


def test_values_beyond_the_depth_are_refused(tmp_path):
    """A depth that is too small would clip what is bright."""
    path = tmp_path / "x.png"
    path.write_bytes(png(RAMP))
    with pytest.raises(DataError) as error:
        read_image(path, 10)
    assert error.value.message == (
        f"{path}: values up to 4095 exceed the 10 bits of data.bit_depth; name 12 or more"
    )
    with pytest.raises(DataError, match="the 10 bits that its tags tell"):
        read_image(tiff(RAMP, t281=1023))


def test_channels_that_cannot_be_told_apart_are_refused():
    """Grey with transparency, 12 of 16 bits: said, not read wrong."""
    both = np.stack([RAMP, np.full_like(RAMP, 4095)], axis=2)
    with pytest.raises(DataError, match=r"16-bit colour \(LA;16B\) of fewer bits than 16 cannot be read"):
        read_image(png(both), 12)


def test_a_damaged_chunk_tells_nothing():
    """Zero bits and more than 16 are no depth; the pixels are good."""
    for told in (99, 200):
        assert samples_of(png(RAMP, told)).bits is None


def dark(root, bits=12):
    """The class's images as a camera of fewer bits puts them into files of 16."""
    for path in (root / "bottle").glob("t*/*/*.png"):
        pixels = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(pixels << (bits - 8)).save(path)


def test_the_bit_depth_of_a_class_reaches_whoever_reads_its_images(make_dataset):
    """The manifest keeps it, so training and test views read full scale as white."""
    root = make_dataset("mvtec", names=["bottle"])
    before = [read_image(path) for path in sorted((root / "bottle").glob("t*/*/*.png"))]
    dark(root)
    for params in (DataParams(bit_depth=12), DataParams(bit_depth_of={"bottle": 12})):
        manifest = validate(root, ["bottle"], params=params)["bottle"]
        assert manifest.bit_depth == manifest.training().bit_depth == 12
    views = TestView.of(manifest, root / "bottle"), Experience.of(manifest.training(), root / "bottle")
    read = [view.read(i) for view in views for i in range(len(view))]
    for old, new in zip(before, read, strict=True):
        assert abs(new[..., 0].astype(int) - np.asarray(Image.fromarray(old).convert("L"))).max() <= 1


def test_a_bit_depth_that_no_file_needs_is_not_noted(make_dataset):
    """Changed parameters change no class that does not depend on them."""
    root = make_dataset("mvtec", names=["bottle"])
    assert validate(root, ["bottle"], params=DataParams(bit_depth=12)) == validate(root, ["bottle"])


def test_a_bit_depth_that_the_files_exceed_is_refused(make_dataset):
    """Every such file by name."""
    root = make_dataset("mvtec", names=["bottle"])
    dark(root, 14)
    with pytest.raises(DataError) as error:
        validate(root, ["bottle"], params=DataParams(bit_depth=12))
    assert len(error.value.faults) == 11
    assert all("exceed the 12 bits of data.bit_depth" in fault for fault in error.value.faults)


def test_training_images_of_one_brightness_are_told_once(make_dataset):
    """12 bits read as 16 use a sixteenth of the levels."""
    root = make_dataset("mvtec", names=["bottle", "cable"])
    dark(root)
    told = []
    validate(root, ["bottle", "cable"], warn=lambda *each: told.append(each))
    ((name, sentence),) = told
    assert name == "bottle"
    assert "use 4 of 256 levels, 4 to 7; " in sentence
    assert sentence.endswith("--set data.bit_depth_of.bottle=12")
    told.clear()
    validate(root, ["bottle"], params=DataParams(bit_depth=12), warn=lambda *each: told.append(each))
    assert told == []
