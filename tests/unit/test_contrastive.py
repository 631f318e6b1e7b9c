"""The structure-based contrastive loss against UCAD's Eq. 3 written out pair by pair."""

import numpy as np
import pytest
import torch

from evernorm.prompts.contrastive import structure_loss
from evernorm.prompts.params import Loss

FEATURES = np.random.default_rng(0).normal(0, 3, (3, 7, 5))
LABELS = np.random.default_rng(1).integers(0, 3, (3, 7))


def loss_of(features, labels, loss, temperature=0.5):
    return structure_loss(torch.tensor(features), torch.tensor(labels), loss, temperature)


def by_hand(features, labels, loss, temperature):
    """A term for each ordered pair of patches of an image."""
    terms = []
    for patches, parts in zip(features, labels, strict=True):
        for one, part in zip(patches, parts, strict=True):
            for two, other in zip(patches, parts, strict=True):
                cosine = one @ two / np.sqrt((one @ one) * (two @ two))
                if loss is Loss.LINEAR:
                    terms.append(-cosine if part == other else cosine)
                else:
                    terms.append(-cosine / temperature if part == other else np.exp(cosine / temperature))
    return np.mean(terms)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("loss", Loss)
def test_the_loss_is_the_mean_over_all_pairs(loss, temperature):
    """Both forms equal a loop over the pairs of each image."""
    expected = by_hand(FEATURES, LABELS, loss, temperature)
    np.testing.assert_allclose(loss_of(FEATURES, LABELS, loss, temperature).item(), expected, rtol=1e-12)


def test_two_orthogonal_patches_of_two_parts():
    """Worked by hand: twice −1/τ for a patch with itself, twice exp(0) between the two."""
    assert (
        loss_of([[[2.0, 0.0], [0.0, 3.0]]], [[1, 2]], Loss.EXPONENTIAL, 0.25).item() == (2 * -4 + 2 * 1) / 4
    )
    assert loss_of([[[2.0, 0.0], [0.0, 3.0]]], [[1, 2]], Loss.LINEAR).item() == -0.5


@pytest.mark.parametrize("loss", Loss)
def test_the_gradient_is_that_of_the_loss(loss):
    """Analytic against finite differences, in float64."""
    features, labels = torch.tensor(FEATURES, requires_grad=True), torch.tensor(LABELS)
    assert torch.autograd.gradcheck(lambda x: structure_loss(x, labels, loss, 0.5), features)


@pytest.mark.parametrize("loss", Loss)
def test_a_step_down_the_gradient_makes_parts_compact(loss):
    """Cosines within parts rise and those between parts fall, which is what the loss is there for."""
    features = torch.tensor(FEATURES, requires_grad=True)
    structure_loss(features, torch.tensor(LABELS), loss, 0.5).backward()
    cosines = [
        torch.nn.functional.cosine_similarity(x[:, :, None], x[:, None], dim=3).detach().numpy()
        for x in (features, features - 5 * features.grad)
    ]
    same = LABELS[:, :, None] == LABELS[:, None]
    assert cosines[1][same].mean() > cosines[0][same].mean()
    assert cosines[1][~same].mean() < cosines[0][~same].mean()


@pytest.mark.parametrize("loss", Loss)
def test_only_directions_and_which_parts_are_the_same_matter(loss):
    """Lengths of features and numbers of parts change nothing."""
    expected = loss_of(FEATURES, LABELS, loss).item()
    lengths = np.random.default_rng(2).uniform(0.1, 50, (3, 7, 1))
    renumbered = np.array([40, 7, 65535])[LABELS]
    assert loss_of(FEATURES * lengths, renumbered, loss).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", Loss)
def test_images_are_not_compared_with_each_other(loss):
    """A batch's loss is the mean of its images' losses: part 1 of one image is not part 1 of another."""
    alone = [loss_of(FEATURES[[i]], LABELS[[i]], loss).item() for i in range(3)]
    assert loss_of(FEATURES, LABELS, loss).item() == pytest.approx(np.mean(alone), rel=1e-12)


def test_the_temperature_is_that_of_the_exponential_form():
    """Eq. 3 as printed has none."""
    assert loss_of(FEATURES, LABELS, Loss.LINEAR, 0.1) == loss_of(FEATURES, LABELS, Loss.LINEAR, 2.0)
    assert loss_of(FEATURES, LABELS, Loss.EXPONENTIAL, 0.1) != loss_of(
        FEATURES, LABELS, Loss.EXPONENTIAL, 2.0
    )


def test_pairs_of_one_part_cannot_overflow():
    """At τ = 0.01 the exponential of a patch's cosine with itself is infinite, but it is not part of the loss."""
    features = torch.tensor([[[1.0, 0.1], [0.1, 1.0]]], requires_grad=True)
    loss = structure_loss(features, torch.tensor([[1, 2]]), Loss.EXPONENTIAL, 0.01)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(features.grad).all()
