"""The sheet of what was replayed."""

import numpy as np
import pytest

from evernorm.methods.diffcont.replay import pictures
from tasks.tracking.replay_pictures import samples_sheet


def trained(channels: int) -> dict[str, np.ndarray]:
    """Two classes; all samples of the first passed, none of the second."""
    drawn = np.clip(np.random.default_rng(0).normal(size=(2, 4, channels, 6, 6)), -1, 1).astype(np.float32)
    return {
        "replay.pictures": pictures([drawn[0], drawn[0, :0], drawn[1, :0], drawn[1]]),
        "replay.tried": np.array([9, 12]),
        "replay.accepted": np.array([9, 0]),
    }


@pytest.mark.parametrize("channels", [3, 8])
def test_accepted_and_rejected_samples_are_beside_each_other(channels):
    """Pixels as they are, features by their principal components; white where there is none."""
    figure = samples_sheet(trained(channels), ["bottle", "cable gland"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert ["bottle: 9 of 9 accepted", "0 rejected", "cable gland: 0 of 12 accepted", "12 rejected"] == titles
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert all((6, 16 * 7, 3) == each.shape for each in shown)
    assert [False, True, True, False] == [bool((each == 255).all()) for each in shown]
    assert all((each[:, 4 * 7 :] == 255).all() for each in shown)


def test_pixels_have_their_colours():
    """−1 is black, 1 is white, and what is beyond them too."""
    one = np.array([2, -1, 0], np.float32).reshape(1, 3, 1, 1)
    (((drawn, *others),),) = pictures([one, one[:0]])[:, :1]
    np.testing.assert_array_equal([255, 0, 128], drawn[0, 0])
    assert all((each == 255).all() for each in others)


def test_features_that_vary_together_have_one_colour():
    """The first principal component is what most varies: it alone is seen in channels that are multiples of each other."""
    values = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 1, 2, 2)
    features = np.concatenate([values * factor for factor in (1, 2, -3, 0.5)], axis=1)
    drawn = pictures([features, features[:0]])[0, 0, :4]
    steps = np.diff(drawn.reshape(-1, 3).astype(int), axis=0)[:, 0]
    assert (steps > 0).all() or (steps < 0).all()
