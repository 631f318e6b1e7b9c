"""DiffCont's network: it grows, is stored, and gives one embedding whatever way it is asked."""

import numpy as np
import pytest
import torch

from evernorm.errors import ParamsError, StateError
from evernorm.methods.diffcont.diffusion import embed, generator, sample, target
from evernorm.methods.diffcont.network import NO_CLASS, Network
from evernorm.methods.diffcont.params import DiffContPrompts, Prediction
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params


def noisy(count: int = 3):
    """Images, steps and rows."""
    source = torch.Generator().manual_seed(0)
    return (
        torch.randn((count, 3, 8, 8), generator=source),
        torch.tensor([5, 500, 999]),
        torch.tensor([0, 1, 2]),
    )


def test_a_class_more_changes_nothing_of_those_before(network):
    """Rows and outputs, bit for bit: embeddings, noise, logits."""
    images, steps, rows = noisy()
    grown = network.grown(seed=7)
    assert (2, 3) == (network.classes, grown.classes)
    with torch.no_grad():
        before, after = network.walk(images, steps, rows), grown.walk(images, steps, rows)
    assert torch.equal(before.predicted, after.predicted)
    assert torch.equal(before.embeddings, after.embeddings)
    np.testing.assert_allclose(before.logits, after.logits[:, :2], rtol=1e-6)
    for name, value in network.parts.state_dict().items():
        assert torch.equal(value, grown.parts.state_dict()[name][: len(value)]), name


def test_the_way_down_gives_the_embedding_that_the_whole_way_gives(network):
    """Of images of which no class is told."""
    images, steps, _ = noisy()
    with torch.no_grad():
        whole = network.walk(images, steps, torch.full_like(steps, NO_CLASS)).embeddings
        torch.testing.assert_close(whole, network.embed(images, steps))
    assert network.dim == whole.shape[1] == 4 * 4 * 4


def test_it_is_stored_and_restored_bit_for_bit(network):
    """With its figures; other sizes are refused."""
    network.fixed["mean"] += 0.25
    again = Network.of(network.arrays(), network.params, torch.device("cpu"))
    assert network.arrays().keys() == again.arrays().keys()
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, again.arrays()[name])
    wider = DiffContPrompts(size=8, channels=(16, 16), embedding=4)
    with pytest.raises(StateError, match="other sizes"):
        Network.of(network.arrays(), wider, torch.device("cpu"))


def test_the_projector_is_not_trained(network):
    """Bit for bit the same for all classes; all else may change."""
    assert {"unet", "head"} == {name.partition(".")[0] for name in network.parameters()}


def test_the_papers_sizes_give_the_papers_embedding():
    """48 pixels, 256 channels at the bottom, 64 after the projector: d = 2304 = 64 · 6 · 6."""
    paper = DiffContPrompts(size=48, channels=(128, 256, 256, 256))
    with torch.device("meta"):
        assert Network(3, paper, 1).dim == 2304
    assert Network(3, DiffContPrompts(size=32, channels=(8, 8, 8, 8)), 1).dim == 1024


def test_gradient_checkpointing_changes_no_gradient(network):
    """It computes again what it did not keep."""
    images, steps, rows = noisy()
    found = []
    for checkpointing in (False, True):
        params = network.params.model_copy(update={"gradient_checkpointing": checkpointing})
        each = Network(3, params, 2, seed=1)
        each.parts.train()
        each.walk(images, steps, rows).predicted.square().mean().backward()
        found.append(
            {name: value.grad for name, value in each.parameters().items() if value.grad is not None}
        )
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name])


def test_an_embedding_depends_on_no_other_image_and_is_the_same_each_time(network):
    """Alone or among others."""
    images = noisy()[0]
    together = embed(network, images, seed=3)
    torch.testing.assert_close(together[1:2], embed(network, images[1:2], seed=3))
    assert torch.equal(together, embed(network, images, seed=3))
    assert not torch.equal(together, embed(network, images, seed=4))


def test_samples_are_pixels_and_come_from_their_seed(network):
    """In [−1, 1]; the same source gives the same ones, another class others."""
    one, same = (sample(network, 0, 2, 4, generator(1, 2)) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, sample(network, 1, 2, 4, generator(1, 2)))
    assert (2, 3, 8, 8) == tuple(one.shape)
    assert one.abs().max() <= 1


def test_what_the_network_says_is_the_noise_or_the_input_without_it(network):
    """What it is compared with in training, and what a sample is made from."""
    params = network.params.model_copy(update={"prediction": Prediction.NOISE})
    other = Network(3, params, 2, seed=1)
    drawn = [sample(each, 0, 2, 4, generator(1, 2)) for each in (network, other)]
    assert not torch.equal(*drawn)
    assert torch.equal(target(other, torch.ones(2), torch.zeros(2)), torch.zeros(2))
    assert torch.equal(target(network, torch.ones(2), torch.zeros(2)), torch.ones(2))


@pytest.mark.parametrize(("size", "factor"), [(9, 2), (48, 32)])
def test_a_size_that_cannot_be_halved_is_refused(size, factor):
    """Before a network is built, with what it must be a multiple of."""
    channels = "[8, 8]" if factor == 2 else "[8, 8, 8, 8, 8, 8]"
    settings = [f"diffcont.prompts.size={size}", f"diffcont.prompts.channels={channels}"]
    with pytest.raises(ParamsError, match=f"size {size} must be a multiple of {factor}"):
        parse_params(override(default_params().model_dump(mode="json"), settings))


@pytest.mark.parametrize("channels", [(8, 16), (144, 144), (24, 40)])
def test_any_multiple_of_eight_makes_a_network(channels):
    """Whatever divides it into groups and heads."""
    network = Network(3, DiffContPrompts(size=4, channels=channels, embedding=2), 1)
    assert (2, 3, 4, 4) == network.walk(
        torch.zeros(2, 3, 4, 4), torch.zeros(2).long(), torch.ones(2).long()
    ).predicted.shape


@pytest.mark.parametrize("channels", ["[32]", "[8, 12]"])
def test_sizes_that_make_no_network_are_refused(channels):
    """One level, or channels that attention cannot share."""
    values = override(default_params().model_dump(mode="json"), [f"diffcont.prompts.channels={channels}"])
    with pytest.raises(ParamsError, match="two levels or more"):
        parse_params(values)
