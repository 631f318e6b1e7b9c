"""A small transformer whose prompts are trained, and how a training is ended from outside."""

import numpy as np
import pytest

from evernorm.prompts.params import PromptKind, PromptParams, Stopping
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.prompts.trainee import PromptTrainee, first_prompt
from evernorm.prompts.training import train as train_values

ADDITIVE, PREFIX = PromptKind.ADDITIVE, PromptKind.PREFIX
KINDS = [ADDITIVE, PREFIX]
LABELS = [np.random.default_rng([7, i]).integers(1, 4, 16) for i in range(8)]
JUDGED = [Stopping.LOSS, Stopping.COMPACTNESS]


class KilledError(Exception):
    """Ends a training from outside."""


def train_prompt(network, read, labels, seed, **options):
    """A prompt and its history."""
    trainee = PromptTrainee(network, labels, seed)
    values, history = train_values(trainee, read, len(labels), seed, **options)
    return Prompt.of(network.kind, values), history


def first_values(network, seed):
    """What a training begins with, by block."""
    return first_prompt(network, seed).values


@pytest.fixture(scope="module")
def images(drawn):
    """Eight images."""
    return [*drawn("textile", 4), *drawn("machined_part", 4)]


@pytest.fixture
def network_of(tiny_vit):
    """``network_of(**params)``: the transformer with prompts and settings under which it learns fast."""
    fast = {"epochs": 4, "batch_size": 3, "learning_rate": 0.1, "held_out": 0.25, "length": 2}
    return lambda **params: PromptedBackbone(
        tiny_vit, PromptParams(**{"stopping": Stopping.LAST, **fast, **params})
    )


@pytest.fixture
def train(network_of, images):
    """``train(**params)``: a prompt and its history."""

    def run(seed=0, at_once=4, checkpoint=None, progress=None, **params):
        network = network_of(**params)
        return train_prompt(
            network,
            images.__getitem__,
            LABELS,
            seed,
            at_once=at_once,
            checkpoint=checkpoint,
            progress=progress,
        )

    return run


def killing(last):
    """A progress that ends the training after an epoch."""

    def progress(done, _epochs):
        if done == last:
            raise KilledError

    return progress


def assert_same(one, two):
    """Bit by bit the same prompt and history."""
    assert vars(one[1]) == vars(two[1])
    assert list(one[0].values) == list(two[0].values)
    for block, value in one[0].values.items():
        assert value.tobytes() == two[0].values[block].tobytes()
