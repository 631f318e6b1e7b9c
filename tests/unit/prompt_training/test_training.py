"""Training a prompt: what moves, what is kept, and what bad numbers lead to."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from evernorm.errors import FitError, TrainingError
from evernorm.files import read_arrays
from evernorm.params.groups import SuperpixelParams
from evernorm.prompts import trainee as prompt_trainee
from evernorm.prompts.contrastive import structure_loss
from evernorm.prompts.params import Loss, PromptParams, Stopping
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.structure.grid import to_grid
from evernorm.structure.superpixels import SuperpixelSegmenter
from tests.unit.prompt_training.conftest import (
    JUDGED,
    KINDS,
    LABELS,
    PREFIX,
    assert_same,
    first_values,
    train_prompt,
)

# -- learning -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_lowers_the_loss_and_nothing_else_moves(network_of, images, kind, loss):
    """Measured apart from the training; the backbone keeps every bit and gets no gradient."""
    network = network_of(kind=kind, loss=loss)
    frozen = network.backbone.network
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    prompt, history = train_prompt(network, images.__getitem__, LABELS, 0)
    for name, tensor in frozen.state_dict().items():
        assert torch.equal(before[name], tensor)
    assert not frozen.training
    assert all(parameter.grad is None for parameter in frozen.parameters())

    def measure(values):
        begun, _ = network.begin(images)
        features = network.finish(begun, [values] * 8)
        return structure_loss(
            torch.from_numpy(features), torch.from_numpy(np.stack(LABELS)), loss, network.params.temperature
        ).item()

    untrained = type(prompt)(kind, first_values(network, 0))
    assert measure(prompt) < measure(untrained)
    assert (4, 4, []) == (len(history.loss), history.kept, history.held_out)
    assert history.loss[-1] < history.loss[0]
    assert {block: value.shape for block, value in prompt.values.items()} == network.shapes


def test_parts_of_drawn_images_become_compact(backbone, drawn):
    """EfficientNet-lite0 on cloth and its superpixels, from the fourth block on."""
    images = drawn("textile", 6)
    segmenter = SuperpixelSegmenter(SuperpixelParams(), 0.002)
    labels = [to_grid(segmenter.segment(image).labels, backbone.grid) for image in images]
    network = PromptedBackbone(
        backbone,
        PromptParams(epochs=3, batch_size=3, learning_rate=0.05, first_block=3, stopping=Stopping.LAST),
    )
    _, history = train_prompt(network, images.__getitem__, labels, 0)
    assert history.loss[0] > history.loss[1] > history.loss[2]


def test_an_untrained_additive_prompt_changes_nothing_and_a_prefix_is_drawn(network_of):
    """Zeros, and small values that differ from block to block and from seed to seed."""
    assert not any(value.any() for value in first_values(network_of(), 3).values())
    network = network_of(kind=PREFIX)
    one, again, other = (first_values(network, seed) for seed in (3, 3, 4))
    assert 0.015 < np.std(np.stack(list(one.values()))) < 0.025
    for block, value in one.items():
        np.testing.assert_array_equal(value, again[block])
        assert not np.array_equal(value, other[block])
        assert block == 0 or not np.array_equal(value, one[0])


def test_first_loss_is_that_of_the_frozen_features(train, network_of, images):
    """With one batch an epoch and an additive prompt, the first mean loss is before any step."""
    _, history = train(epochs=1, batch_size=8)
    network = network_of()
    features = torch.from_numpy(network.backbone.features(images))
    expected = structure_loss(features, torch.from_numpy(np.stack(LABELS)), Loss.EXPONENTIAL, 0.5).item()
    assert history.loss == [pytest.approx(expected, rel=1e-5)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(train, kind):
    """Another seed goes through the images in another order."""
    assert_same(train(kind=kind), train(kind=kind))
    assert vars(train(kind=kind)[1]) != vars(train(seed=1, kind=kind)[1])


@pytest.mark.parametrize("stopping", [Stopping.LAST, *JUDGED])
def test_how_many_images_pass_at_once_changes_rounding_alone(train, stopping):
    """A batch of 7 and one of 1 as a whole, image by image, and in uneven parts: the same gradient."""
    whole, expected = train(at_once=8, batch_size=7, stopping=stopping, learning_rate=0.01)
    for at_once in (1, 3):
        parts, history = train(at_once=at_once, batch_size=7, stopping=stopping, learning_rate=0.01)
        np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-4)
        np.testing.assert_allclose(history.held_out, expected.held_out, rtol=1e-4)
        for block, value in whole.values.items():
            np.testing.assert_allclose(value, parts.values[block], atol=1e-4)


def test_states_beyond_the_memory_limit_lie_in_a_file(train, monkeypatch):
    """Memory-mapped or not: the same bytes."""
    expected = train()
    monkeypatch.setattr("evernorm.features.extract.MEMORY_LIMIT", 10)
    assert_same(expected, train())


def test_a_small_clip_makes_small_gradients(train, monkeypatch):
    """No step sees a gradient whose norm over all blocks is beyond `prompts.clip`."""
    norms = []
    step = torch.optim.Adam.step

    def spy(self, *arguments, **options):
        gradients = [value.grad for group in self.param_groups for value in group["params"]]
        norms.append(torch.cat([gradient.flatten() for gradient in gradients]).norm().item())
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    train(clip=1e-3)
    assert max(norms) == pytest.approx(1e-3, rel=1e-2)
    assert 12 == len(norms)  # eight images in batches of three, four epochs


# -- stopping -----------------------------------------------------------------------------------------


def passes(network, images, monkeypatch):
    """Train; the images that passed with a gradient, in their order, and how often others passed without one."""
    with torch.inference_mode():
        states = torch.cat([network.enter(network.backbone.inputs([image])).state for image in images])
    trained, judged = [], Counter()
    resume = network.resume

    def spy(begun, prompts):
        numbers = [int((states - state).flatten(1).norm(dim=1).argmin()) for state in begun.state]
        if torch.is_grad_enabled():
            trained.extend(numbers)
        else:
            judged.update(numbers)
        return resume(begun, prompts)

    monkeypatch.setattr(network, "resume", spy)
    _, history = train_prompt(network, images.__getitem__, LABELS, 0)
    return trained, judged, history


def test_without_a_criterion_every_image_is_trained_on(network_of, images, monkeypatch):
    """Once an epoch, each time in another order; nothing is held out, nothing judged."""
    trained, judged, _ = passes(network_of(), images, monkeypatch)
    epochs = [tuple(trained[start : start + 8]) for start in range(0, 32, 8)]
    assert 4 == len(set(epochs))
    assert all(list(range(8)) == sorted(epoch) for epoch in epochs)
    assert not judged


@pytest.mark.parametrize(("held_out", "number"), [(0.5, 4), (0.25, 2), (0.01, 2)])
def test_held_out_images_are_never_trained_on(network_of, images, monkeypatch, held_out, number):
    """The share asked for, two at least; all others once an epoch."""
    network = network_of(stopping=Stopping.LOSS, held_out=held_out)
    trained, judged, history = passes(network, images, monkeypatch)
    assert number == len(judged)
    assert dict.fromkeys(set(range(8)) - set(judged), 4) == Counter(trained)
    assert {5} == set(judged.values())  # before the first epoch and after each
    assert 5 == len(history.held_out)


@pytest.mark.parametrize("stopping", JUDGED)
def test_the_criterion_is_what_it_says(network_of, images, monkeypatch, stopping):
    """On frozen features: the loss of held-out images, or how near their patches are to training patches."""
    network = network_of(stopping=stopping, epochs=1)
    features = network.backbone.features(images)
    trained, _, history = passes(network, images, monkeypatch)
    held_out = sorted(set(range(8)) - set(trained))
    assert 2 == len(held_out)
    if stopping is Stopping.LOSS:
        labels = torch.from_numpy(np.stack([LABELS[i] for i in held_out]))
        expected = structure_loss(torch.from_numpy(features[held_out]), labels, Loss.EXPONENTIAL, 0.5).item()
    else:
        distances = cdist(np.concatenate(features[held_out]), np.concatenate(features[sorted(set(trained))]))
        expected = distances.min(axis=1).mean() / distances.mean()
    assert expected == pytest.approx(history.held_out[0], rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stopping", JUDGED)
@pytest.mark.parametrize("rate", [0.1, 1.0])
def test_the_prompt_of_the_lowest_criterion_is_kept(train, network_of, stopping, kind, rate, tmp_path):
    """Exactly the prompt that stood after that epoch, the first of equals, or the untrained one."""
    course = [first_values(network_of(kind=kind), 0)]

    def follow(done, _epochs):
        arrays = read_arrays(tmp_path / f"epoch-{done:04d}.safetensors")
        course.append({block: arrays[f"value.block.{block:03d}"] for block in range(6)})

    options = {"kind": kind, "stopping": stopping, "learning_rate": rate, "epochs": 6, "patience": 6}
    prompt, history = train(**options, checkpoint=tmp_path, progress=follow)
    assert int(np.argmin(history.held_out)) == history.kept
    for block, value in course[history.kept].items():
        np.testing.assert_array_equal(value, prompt.values[block])


def test_a_training_without_gain_ends_and_stays_ended(train, tmp_path):
    """`patience` epochs after the one that is kept; continued, it trains no further; `last` does not wait."""
    options = {"stopping": Stopping.LOSS, "patience": 2, "epochs": 12, "learning_rate": 1.0}
    ended = train(**options, checkpoint=tmp_path)
    assert ended[1].kept + 2 == len(ended[1].loss) < 12
    assert_same(ended, train(**options, checkpoint=tmp_path, progress=lambda *_: pytest.fail("it went on")))
    assert 12 == len(train(**{**options, "stopping": Stopping.LAST})[1].loss)


def test_too_few_images_to_hold_some_out(network_of, images):
    """Two are held out at least, and one must be left."""
    network = network_of(stopping=Stopping.LOSS)
    with pytest.raises(FitError, match="2 training images are too few to hold 2 of them out"):
        train_prompt(network, images.__getitem__, LABELS[:2], 0)
    _, history = train_prompt(network, images.__getitem__, LABELS[:3], 0)
    assert (4, 5) == (len(history.loss), len(history.held_out))


# -- numbers that are none ----------------------------------------------------------------------------


@pytest.mark.parametrize("stopping", [Stopping.LAST, *JUDGED])
def test_a_loss_that_is_no_number_ends_the_training(train, stopping):
    """exp(1/0.001) overflows; the message says which parameters to change."""
    with pytest.raises(
        TrainingError,
        match=r"loss is inf in epoch 1; lower the prompts' learning_rate \(0.1\) or raise the temperature \(0.001\)",
    ):
        train(temperature=0.001, stopping=stopping)


def test_a_loss_of_nan_ends_the_training(train, monkeypatch):
    """Whatever it comes from."""
    monkeypatch.setattr(prompt_trainee, "structure_loss", lambda features, *_: features.sum() * torch.nan)
    with pytest.raises(TrainingError, match="loss is nan in epoch 1"):
        train()


def test_a_gradient_that_is_no_number_never_becomes_a_prompt(train, monkeypatch):
    """The loss may be finite all the same, and the last step is followed by no other loss."""
    monkeypatch.setattr(
        prompt_trainee,
        "structure_loss",
        lambda features, *_: (features - features.detach()).abs().sqrt().sum(),
    )
    with pytest.raises(TrainingError, match="gradient is nan in epoch 1"):
        train(epochs=1, batch_size=8)
