"""Distances of cosine, worked by hand."""

import numpy as np
import torch

from evernorm.reconstruction.cosine import by_place, hard, summed, whole

TARGET = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # two places: (1, 0) and (0, 1)


def test_a_place_is_compared_along_its_channels():
    """The same direction is 0, a right angle 1, the opposite 2; lengths say nothing."""
    made = torch.tensor([[[[5.0, 1.0]], [[0.0, 0.0]]]])
    np.testing.assert_allclose([[[0, 1]]], by_place(TARGET, made), atol=1e-6)
    np.testing.assert_allclose([[[2, 2]]], by_place(TARGET, -3 * TARGET), atol=1e-6)


def test_a_level_is_compared_as_one_vector():
    """(1, 0, 0, 1) against (5, 1, 0, 0): cos = 5 / √2√26; the mean over the images."""
    made = torch.tensor([[[[5.0, 1.0]], [[0.0, 0.0]]]])
    expected = 1 - 5 / np.sqrt(2 * 26)
    np.testing.assert_allclose(expected, whole(TARGET, made), rtol=1e-6)
    both = whole(torch.cat([TARGET, TARGET]), torch.cat([made, TARGET]))
    np.testing.assert_allclose(expected / 2, both, rtol=1e-6)


def test_hard_places_alone_have_a_gradient():
    """The value is that of all places; the target never has one."""
    torch.manual_seed(0)
    target, made = (torch.randn(3, 4, 5, 5, requires_grad=True) for _ in range(2))
    loss = hard(target, made, 1.0)
    np.testing.assert_allclose(whole(target, made).item(), loss.item(), rtol=1e-6)
    loss.backward()
    assert target.grad is None
    far = by_place(target, made).detach()
    bad = far >= far.mean() + far.std()
    assert 0 < bad.sum() < bad.numel()
    moved = made.grad.abs().sum(dim=1) > 0
    assert torch.equal(bad, moved)


def test_far_below_the_mean_all_places_are_hard():
    """Hard mining begins with all of them: the gradient is that of the plain loss."""
    torch.manual_seed(1)
    target, made = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3, requires_grad=True)
    (mined,) = torch.autograd.grad(hard(target, made, -30.0), made)
    (plain,) = torch.autograd.grad(whole(target, made), made)
    torch.testing.assert_close(mined, plain)


def test_maps_are_summed_at_the_size_of_the_first():
    """A map of one value adds it everywhere."""
    first = torch.arange(8.0).reshape(1, 2, 4)
    np.testing.assert_allclose([np.arange(8) + 3], summed([first, torch.full((1, 1, 2), 3.0)]))
