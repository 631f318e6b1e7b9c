"""Label maps on disk: lossless, the same bytes, one an image, damage told."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from evernorm.errors import DataError, StateError
from evernorm.structure.store import load_labels, save_labels

LABELS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 65535))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LABELS)
def test_labels_come_back_as_they_were(tmp_path, labels):
    """All 16 bits of every pixel, at any size."""
    save_labels(tmp_path, "train/good/000.png", labels)
    loaded = load_labels(tmp_path, "train/good/000.png")
    assert np.uint16 == loaded.dtype
    np.testing.assert_array_equal(labels, loaded)


def test_the_same_labels_are_the_same_bytes(tmp_path):
    """Nothing of the time or the place enters the file; any viewer opens it."""
    labels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    for name in ("a", "b"):
        save_labels(tmp_path / name, "0.png", labels)
    assert (tmp_path / "a/0.png.png").read_bytes() == (tmp_path / "b/0.png.png").read_bytes()
    with Image.open(tmp_path / "a/0.png.png") as image:
        assert ("PNG", "I;16", (30, 20)) == (image.format, image.mode, image.size)


def test_no_two_images_share_a_label_map(tmp_path):
    """Folders and suffixes are kept, so names that are nearly alike stay apart."""
    paths = ["good/0.png", "good/0.jpg", "good_0.png", "good/0", "0.png", "good/0.png.jpg", "good/ü %2F.png"]
    for number, path in enumerate(paths):
        save_labels(tmp_path, path, np.full((2, 2), number, np.uint16))
    assert list(range(len(paths))) == [int(load_labels(tmp_path, path)[0, 0]) for path in paths]


@pytest.mark.parametrize("path", ["../0.png", "a/../../0.png", "/tmp/0.png"])  # noqa: S108
def test_nothing_leaves_the_folder(tmp_path, path):
    """Paths come from manifests, and those from people."""
    with pytest.raises(DataError, match="leaves its folder"):
        save_labels(tmp_path / "masks", path, np.ones((2, 2), np.uint16))
    with pytest.raises(DataError, match="leaves its folder"):
        load_labels(tmp_path / "masks", path)
    assert [] == list(tmp_path.rglob("*.png"))


def test_a_missing_label_map_says_which_stage_makes_it(tmp_path):
    """Also where a whole folder is missing."""
    with pytest.raises(StateError, match=r"0\.png\.png is missing; run the stage masks"):
        load_labels(tmp_path / "nowhere", "0.png")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no image",
        lambda content: content[: len(content) // 2],
        lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:],
    ],
)
def test_damage_is_told(tmp_path, damage):
    """Emptied, replaced, cut, or one bit flipped: never labels that were not saved."""
    save_labels(tmp_path, "0.png", np.random.default_rng(0).integers(0, 50, (30, 30)).astype(np.uint16))
    place = tmp_path / "0.png.png"
    place.write_bytes(damage(place.read_bytes()))
    with pytest.raises(StateError, match=r"0\.png\.png is damaged .* `dvc checkout`"):
        load_labels(tmp_path, "0.png")


def test_an_8_bit_image_is_no_label_map(tmp_path):
    """A picture put in its place is refused, not read as labels."""
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png.png")
    with pytest.raises(StateError, match=r"uint8 of shape \(4, 4, 3\), expected 16-bit grey"):
        load_labels(tmp_path, "0.png")
