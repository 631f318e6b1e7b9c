"""The training view shows normal training images only; the test view shows the rest."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from evernorm.data.experience import Experience, TestView
from evernorm.data.image import read_image
from evernorm.data.manifest import Manifest
from evernorm.data.validate import validate
from evernorm.errors import DataError
from evernorm.files import sha256_file


@pytest.fixture
def bottle(make_dataset):
    """Manifest and folder of one class."""
    root = make_dataset("mvtec", names=["bottle"])
    return validate(root, ["bottle"])["bottle"], root / "bottle"


def test_an_experience_holds_the_training_normals(bottle):
    """Names, hashes and pixels are those of train/good, in the order of the paths."""
    manifest, root = bottle
    experience = Experience.of(manifest, root)
    assert (experience.name, experience.root, len(experience)) == ("bottle", root, 6)
    assert experience.paths == tuple(f"train/good/00{index}.png" for index in range(6))
    assert experience.sha256s == tuple(sha256_file(root / path) for path in experience.paths)
    images = list(experience.images())
    assert len(images) == 6
    for index, image in enumerate(images):
        np.testing.assert_array_equal(image, read_image(root / experience.paths[index]))
        np.testing.assert_array_equal(image, experience.read(index))


def test_an_experience_has_no_way_to_the_test_split(bottle):
    """No public name mentions tests, labels or masks, and no stored value holds a test path."""
    manifest, root = bottle
    experience = Experience.of(manifest, root)
    assert {name for name in dir(experience) if not name.startswith("_")} == {
        "name", "root", "paths", "sha256s", "bit_depth", "description", "of", "read", "images",
    }  # fmt: skip
    assert not any(record.path in experience.paths for record in manifest.test)
    with pytest.raises(dataclasses.FrozenInstanceError):
        experience.paths = ()


def test_an_experience_leaves_out_anomalous_training_images(bottle):
    """Should a manifest hold one, it is not learned."""
    manifest, root = bottle
    odd = manifest.train[0].model_copy(update={"label": "anomalous", "defect": "hole"})
    spoiled = Manifest(name="bottle", format="mvtec", records=(odd, *manifest.train[1:]))
    assert Experience.of(spoiled, root).paths == tuple(record.path for record in manifest.train[1:])


def test_images_are_read_one_by_one(bottle):
    """Nothing is read before it is asked for."""
    manifest, root = bottle
    images = Experience.of(manifest, root).images()
    next(images)
    (root / "train/good/001.png").unlink()
    with pytest.raises(DataError, match="no such file"):
        next(images)


def test_a_test_view_holds_the_test_images_with_labels(bottle):
    """Two good and three defective images, labels true where anomalous."""
    manifest, root = bottle
    view = TestView.of(manifest, root)
    assert (view.name, len(view)) == ("bottle", 5)
    assert view.records == manifest.test
    assert view.labels.dtype == np.bool_
    assert view.labels.tolist() == [False, False, True, True, True]
    for index, record in enumerate(view.records):
        np.testing.assert_array_equal(view.read(index), read_image(root / record.path))


def test_masks_are_false_for_good_drawn_for_defects_and_none_where_never_drawn(bottle):
    """The white squares of the drawn defects are where the masks say; an undrawn defect is no empty mask."""
    manifest, root = bottle
    undrawn = manifest.test[4].model_copy(update={"mask": None, "mask_sha256": None})
    view = TestView.of(Manifest(name="bottle", format="mvtec", records=(*manifest.test[:4], undrawn)), root)
    for index in (0, 1):
        assert view.mask(index).shape == (40, 48)
        assert not view.mask(index).any()
    for index in (2, 3):
        mask = view.mask(index)
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, (view.read(index) == 255).all(axis=2))
        assert mask.sum() == 10 * 12
    assert view.mask(4) is None


def test_a_class_without_test_images_has_an_empty_view(make_dataset):
    """Evaluation then has nothing to do."""
    root = make_dataset("mvtec", names=["bottle"], good=0, defective=0)
    view = TestView.of(validate(root, ["bottle"])["bottle"], root / "bottle")
    assert len(view) == 0
    assert view.labels.shape == (0,)
    assert view.labels.dtype == np.bool_


def test_a_path_that_leaves_the_class_folder_is_not_read(bottle, tmp_path):
    """Neither by its name nor by a link that came after the manifest."""
    manifest, root = bottle
    Image.new("RGB", (48, 40)).save(tmp_path / "secret.png")
    climbing = Experience("bottle", root, ("../../secret.png",), ("0" * 64,))
    with pytest.raises(DataError, match="leaves its folder"):
        climbing.read(0)
    view = TestView.of(manifest, root)
    for path in (view.records[2].path, view.records[2].mask):
        (root / path).unlink()
        (root / path).symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match="leaves its folder"):
        view.read(2)
    with pytest.raises(DataError, match="leaves its folder"):
        view.mask(2)


def test_the_real_cookie_has_defects_without_masks(shared_data):
    """Of forty defective cookies eight have no mask, and every mask there is fits its image."""
    view = TestView.of(validate(shared_data, ["cookie"])["cookie"], shared_data / "cookie")
    assert view.labels.sum() == 40
    masks = [view.mask(index) for index in range(len(view))]
    assert sum(mask is None for mask in masks) == 8
    for index in (0, 39, 53):
        if masks[index] is not None:
            assert masks[index].shape == view.read(index).shape[:2]
