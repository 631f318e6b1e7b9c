"""Bottleneck and decoder for the levels of any encoder."""

import pytest
import torch

from evernorm.reconstruction.blocks import Bottleneck, Decoder
from evernorm.reconstruction.revdist import RevDistNetwork


@pytest.mark.parametrize(
    "levels",
    [
        [(4, 28, 28), (6, 14, 14)],  # strides 8 and 16
        [(4, 56, 56), (6, 28, 28), (8, 14, 14)],  # and 4
        [(8, 16, 16), (8, 16, 16)],  # blocks of a transformer
        [(5, 15, 15), (7, 8, 8)],  # sides that cannot be halved
        [(8, 7, 9)],  # one, and not square
    ],
)
def test_what_is_decoded_has_the_shape_of_what_was_encoded(levels):
    """From a code of half the deepest side."""
    bottleneck, decoder = Bottleneck(levels), Decoder(levels)
    code = bottleneck([torch.randn(2, *level) for level in levels])
    channels, rows, columns = levels[-1]
    assert (2, 2 * channels, (rows + 1) // 2, (columns + 1) // 2) == code.shape
    assert [(2, *level) for level in levels] == [tuple(each.shape) for each in decoder(code)]


def test_it_learns_to_give_back_what_it_is_shown():
    """And gives back worse what it was never shown, where it is."""
    torch.manual_seed(0)
    levels = [(4, 8, 8), (6, 4, 4)]
    shown = {f"level{place}": torch.randn(1, *level).expand(8, *level) for place, level in enumerate(levels)}
    network = RevDistNetwork(levels, torch.device("cpu"), seed=0)
    optimizer = torch.optim.AdamW(network.rates(2e-3))
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        noisy = {name: each + 0.05 * torch.randn_like(each) for name, each in shown.items()}
        loss = network.loss(noisy, 0.0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]
    network.parts.eval()
    odd = {name: each.clone() for name, each in shown.items()}
    odd["level0"][:, :, 2, 5] *= -1
    with torch.no_grad():
        normal, broken = network.distances(shown), network.distances(odd)
    assert (8, 64) == normal.shape
    assert 2 * 8 + 5 == int((broken - normal)[0].argmax())


def test_first_values_are_drawn_from_the_seed():
    """Whatever was drawn before; the world's own source is left as it was."""
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = (RevDistNetwork([(4, 4, 4)], torch.device("cpu"), seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    for name, value in one.arrays().items():
        assert (value == same.arrays()[name]).all()
    assert any((value != other.arrays()[name]).any() for name, value in one.arrays().items())
