"""UniAD's transformer."""

import numpy as np
import pytest
import torch

from evernorm.errors import ParamsError
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params
from evernorm.reconstruction.params import UniAdSizes
from evernorm.reconstruction.uniad import UniAdNetwork, neighbours

LEVELS = [(3, 16, 16), (5, 8, 8)]
SIZES = UniAdSizes(width=16, heads=2, layers=2, neighbourhood=3, dropout=0.0)


def inputs(count: int = 2):
    """What an encoder might give."""
    source = torch.Generator().manual_seed(0)
    return {
        f"level{place}": torch.randn(count, *level, generator=source) for place, level in enumerate(LEVELS)
    }


def network(sizes: UniAdSizes = SIZES) -> UniAdNetwork:
    """A small one, as it is used."""
    made = UniAdNetwork(LEVELS, sizes, torch.device("cpu"), seed=0)
    made.parts.eval()
    return made


def test_a_place_may_not_look_at_the_square_around_it():
    """By hand, on 7 × 9 places; a square as large as the grid would leave nothing."""
    mask = neighbours((7, 9), 3).reshape(7, 9, 7, 9)
    expected = np.zeros((7, 9), bool)
    expected[2:5, 3:6] = True
    np.testing.assert_array_equal(expected, mask[3, 4])
    corner = np.zeros((7, 9), bool)
    corner[:2, :2] = True
    np.testing.assert_array_equal(corner, mask[0, 0])
    assert 49 == neighbours((14, 14), 7).reshape(14, 14, 14, 14)[6, 6].sum()
    for side in (2, 3, 4, 8):
        assert not neighbours((side, side), 31).all(dim=1).any()


def test_the_decoder_does_not_look_at_a_place_for_what_is_there():
    """Its queries are its own: what is within the square around a place changes nothing there, all else does."""
    made = network()
    layer, mask = made.parts["decoder"][0], made.mask
    memory, before = torch.randn(2, 1, 64, 16).unbind()
    changed = memory.clone()
    changed[0, 27] += 3  # row 3, column 3
    with torch.no_grad():
        moved = (layer(before, changed, mask) - layer(before, memory, mask)).abs().sum(dim=2)[0].reshape(8, 8)
    near = torch.zeros(8, 8, dtype=torch.bool)
    near[2:5, 2:5] = True
    assert (moved[near] == 0).all()
    assert (moved[~near] > 1e-6).all()


def test_levels_are_read_at_the_places_of_the_deepest():
    """Averaged down; the distance of a token is the length of its difference."""
    made = network()
    given = inputs()
    tokens = made._tokens(given)
    assert (2, 64, 8) == tokens.shape
    torch.testing.assert_close(tokens[:, :, 3:], given["level1"].flatten(2).mT)
    np.testing.assert_allclose(given["level0"].mean(), tokens[:, :, :3].mean(), atol=0.02)
    with torch.no_grad():
        expected = (made._made(tokens) - tokens).square().sum(dim=2).sqrt()
        torch.testing.assert_close(expected, made.distances(given))


def test_the_input_is_disturbed_by_its_length():
    """A network that gives all back as it is has the disturbance as its loss: (jitter · ‖token‖ / C)²."""
    made = network(SIZES.model_copy(update={"jitter": 2.0}))
    made._made = lambda tokens: tokens  # type: ignore[method-assign]
    given = {name: level.expand(64, -1, -1, -1) for name, level in inputs(1).items()}
    torch.manual_seed(0)
    tokens = made._tokens(given)
    expected = (2.0 * tokens.norm(dim=2) / 8).square().mean()
    np.testing.assert_allclose(expected, made.loss(given, 0.0), rtol=0.02)


def test_sizes_that_make_no_transformer_are_refused():
    """Said before anything is made."""
    values = override(default_params().model_dump(mode="json"), ["uniad.prompts.sizes.heads=7"])
    with pytest.raises(ParamsError, match="width 256 must be a multiple of heads 7"):
        parse_params(values)
    values = override(default_params().model_dump(mode="json"), ["uniad.prompts.sizes.neighbourhood=4"])
    with pytest.raises(ParamsError, match="neighbourhood 4 must be odd"):
        parse_params(values)
