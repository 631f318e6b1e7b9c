"""An image far from what a class was learned from is told; so is what a bank keeps of that."""

import json

import pytest

from evernorm.data.manifest import Manifest, Record
from evernorm.data.profile import Profile, bit_depth_for
from evernorm.data.sizes import ImageSizes
from evernorm.errors import StateError


def manifest(*sizes, **fields):
    """A class with training images of these widths and heights, and a huge test image."""
    base = {"label": "good", "defect": "good", "sha256": "0" * 64, "size": 1}
    records = [
        Record(path=f"good/{n}.png", split="train", width=width, height=height, **base)
        for n, (width, height) in enumerate(sizes)
    ]
    records.append(Record(path="test/good/0.png", split="test", width=9999, height=10, **base))
    return Manifest(name="bottle", format="folder", records=tuple(records), **fields)


SQUARES = ImageSizes.of(manifest((448, 448), (512, 500), (480, 512)))


def test_the_ranges_are_those_of_the_training_images():
    """Test images do not count."""
    assert ImageSizes((448, 512), (448, 512), (480 / 512, 512 / 500)) == SQUARES


@pytest.mark.parametrize("size", [(448, 448), (512, 512), (600, 512), (900, 1000), (1024, 1024), (224, 224)])
def test_images_like_those_are_not_told(size):
    """A little larger, a little longer, half or double: nothing is squeezed badly."""
    assert SQUARES.warning(*size[::-1]) is None


@pytest.mark.parametrize(
    ("size", "what"),
    [
        ((30000, 500), "far in proportions and size from"),
        ((500, 300), "far in proportions from"),
        ((300, 500), "far in proportions from"),
        ((4000, 4000), "far in size from"),
        ((100, 100), "far in size from"),
    ],
)
def test_images_far_from_those_are_told(size, what):
    """A panorama among squares, a thumbnail, a photograph of ten times the size."""
    width, height = size
    told = SQUARES.warning(height, width)
    assert told.startswith(f"{width} x {height} pixels: {what} the training images of the class")
    assert "(448–512 x 448–512)" in told


def test_images_of_one_size_are_shown_as_one():
    """No range where there is none."""
    assert "(48 x 40)" in ImageSizes.of(manifest((48, 40))).warning(400, 480)


@pytest.mark.parametrize("fields", [{}, {"display": "Bottle 1 l", "bit_depth": 12}])
def test_a_profile_comes_back_as_it_was_stored(fields):
    """Through JSON."""
    profile = Profile.of(manifest((48, 40), (50, 40), **fields))
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile
    assert (profile.display, profile.bit_depth) == (fields.get("display", "bottle"), fields.get("bit_depth"))


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": None},
        {"sizes": {}},
        {"sizes": {**SQUARES.to_json(), "width": [3, 2]}},
        {"sizes": {**SQUARES.to_json(), "aspect": ["a", "b"]}},
        {"sizes": {**SQUARES.to_json(), "height": [1]}},
        {"display": None},
        {"bit_depth": 99},
        {"bit_depth": "12"},
    ],
)
def test_a_damaged_profile_is_refused(change):
    """As what it is."""
    with pytest.raises(StateError, match="learn"):
        Profile.from_json({**Profile.of(manifest((48, 40))).to_json(), **change})
    with pytest.raises(StateError, match="no profile"):
        Profile.from_json([])


def test_the_bit_depth_of_an_image_of_any_class():
    """What all agree on that need one; unknown where they do not."""
    eight, twelve, full = (Profile("x", depth, SQUARES) for depth in (None, 12, 16))
    assert bit_depth_for([]) == bit_depth_for([eight]) == bit_depth_for([eight, full]) == 16
    assert bit_depth_for([eight, twelve, twelve]) == 12
    assert bit_depth_for([eight, twelve, full]) is None
