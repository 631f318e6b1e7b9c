"""The drawn classes: reproducible, varied, and masked exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from evernorm.data.synthetic import DEFECTS, SIZE, SPECK, VISIBLE, draw
from evernorm.errors import DataError

KINDS = sorted(DEFECTS)
PAIRS = [(kind, defect) for kind in KINDS for defect in DEFECTS[kind]]


def rng(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_normal_image_has_the_promised_form(kind):
    """A normal draw is an RGB image of 256 × 256 bytes with an empty mask."""
    image, mask = draw(kind, rng(0))
    assert (image.shape, image.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert (mask.shape, mask.dtype) == ((SIZE, SIZE), np.bool_)
    assert not mask.any()


@pytest.mark.parametrize(("kind", "defect"), [*PAIRS, *((kind, None) for kind in KINDS)])
def test_same_seed_gives_the_same_bytes(kind, defect):
    """The same generator state draws the same image and mask, byte for byte."""
    first, second = draw(kind, rng(3), defect), draw(kind, rng(3), defect)
    assert [array.tobytes() for array in first] == [array.tobytes() for array in second]


@pytest.mark.parametrize("kind", KINDS)
def test_images_differ_from_one_another(kind):
    """Other seeds, and later draws of the same generator, give other images, far beyond the noise."""
    shared = rng(0)
    images = [draw(kind, generator)[0].astype(float) for generator in (shared, shared, rng(1), rng(2))]
    distances = [np.abs(a - b).mean() for at, a in enumerate(images) for b in images[:at]]
    assert min(distances) > 5


@pytest.mark.parametrize(("kind", "defect"), PAIRS)
def test_defect_leaves_the_generator_as_a_normal_draw_does(kind, defect):
    """Whether an image is defective does not change the images drawn after it."""
    normal, defective = rng(5), rng(5)
    draw(kind, normal)
    draw(kind, defective, defect)
    assert normal.bit_generator.state == defective.bit_generator.state


@settings(max_examples=40, deadline=None)
@given(pair=st.sampled_from(PAIRS), seed=st.integers(0, 2**32 - 1))
def test_mask_holds_what_the_defect_changed(pair, seed):
    """Outside the mask nothing differs from the normal image; inside, no pixel is far from a visible change."""
    kind, defect = pair
    normal, _ = draw(kind, rng(seed))
    defective, mask = draw(kind, rng(seed), defect)
    change = np.abs(normal.astype(int) - defective).max(axis=-1)
    assert change[~mask].sum() == 0
    visible = change >= VISIBLE
    assert not (mask & ~ndimage.binary_dilation(visible, np.ones((5, 5)))).any()
    assert visible[mask].mean() > 0.25
    areas, _ = ndimage.label(mask, np.ones((3, 3)))
    assert np.bincount(areas.ravel())[1:].min() >= SPECK


@pytest.mark.parametrize(("kind", "defect"), PAIRS)
def test_defects_vary_in_size_and_place(kind, defect):
    """Each kind of defect is never empty, never the whole image, and differs from draw to draw."""
    generator = rng(7)
    masks = [draw(kind, generator, defect)[1] for _ in range(8)]
    areas = [int(mask.sum()) for mask in masks]
    centres = np.array([ndimage.center_of_mass(mask) for mask in masks])
    assert min(areas) >= SPECK
    assert max(areas) < SIZE**2 / 5
    assert len(set(areas)) >= 6
    assert centres.std(axis=0).min() > 20


def test_unknown_class_is_refused():
    """A class that cannot be drawn is named with those that can."""
    with pytest.raises(DataError, match=r"'bottle'.*textile, machined_part"):
        draw("bottle", rng(0))


def test_defect_of_the_other_class_is_refused():
    """A defect that belongs to another class is named with those of this one."""
    with pytest.raises(DataError, match=r"textile has no defect 'rust'.*hole, thread, stain, snag"):
        draw("textile", rng(0), "rust")
