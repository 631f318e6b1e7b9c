"""The sheet of what was replayed."""

import numpy as np
import pytest

from tasks.tracking.replay_pictures import samples_sheet


def trained(channels: int) -> dict[str, np.ndarray]:
    """Two classes; all samples of the first passed, none of the second."""
    shown = np.zeros((2, 2, 4, channels, 6, 6), np.float32)
    drawn = np.random.default_rng(0).normal(size=(2, 4, channels, 6, 6))
    shown[0, 0], shown[1, 1] = np.clip(drawn, -1, 1)
    return {
        "replay.shown": shown,
        "replay.tried": np.array([9, 12]),
        "replay.accepted": np.array([9, 0]),
    }


@pytest.mark.parametrize("channels", [3, 8])
def test_accepted_and_rejected_samples_are_beside_each_other(channels):
    """Pixels as they are, features by their principal components; white where there is none."""
    figure = samples_sheet(trained(channels), ["bottle", "cable gland"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert ["bottle: 9 of 9 accepted", "0 rejected", "cable gland: 0 of 12 accepted", "12 rejected"] == titles
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert all((6, 28, 3) == each.shape for each in pictures)
    assert [False, True, True, False] == [bool((each == 1).all()) for each in pictures]
    assert all(0 <= each.min() and each.max() <= 1 for each in pictures)


def test_pixels_have_their_colours():
    """−1 is black, 1 is white."""
    given = trained(3)
    given["replay.shown"][0, 0, 0] = np.array([1, -1, 0])[:, None, None]
    picture = np.asarray(samples_sheet(given, ["a", "b"]).axes[0].images[0].get_array())
    np.testing.assert_allclose([1, 0, 0.5], picture[2, 3])
