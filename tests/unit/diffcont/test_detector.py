"""What names the class of an image and what the network says, where they are not the defaults."""

from dataclasses import replace

import numpy as np
import torch

from evernorm.methods.diffcont.detector import pooled
from evernorm.methods.diffcont.diffusion import embed
from evernorm.methods.discriminant import Discriminants, covariance
from evernorm.methods.lesson import Lesson
from tests.unit.diffcont.conftest import Pictures


def learned(learner, count):
    """The states of so many classes."""
    states = []
    for colour in range(count):
        state = learner.learn(Lesson(Pictures(colour)), states[-1].carry if states else {})
        states.append(replace(state, name=("red", "green", "blue")[colour]))
    return states


def test_the_covariance_is_the_mean_over_the_classes(learner_with):
    """Of three, though only the last one's and the mean so far are at hand."""
    learner = learner_with()
    states = learned(learner, 3)
    expected = np.mean([state.entry["covariance"] for state in states], axis=0)
    np.testing.assert_allclose(expected, states[-1].carry["covariance"], rtol=1e-5)
    network = learner.detector_of(states).network
    embeddings = embed(network, torch.from_numpy(learner.inputs_of(Lesson(Pictures(2)))), 0).numpy()
    np.testing.assert_allclose(covariance(pooled(embeddings, 4)), states[-1].entry["covariance"], rtol=1e-5)


def test_head_or_discriminants_name_the_class(learner_with):
    """The largest logit, or the nearest mean."""
    states = learned(learner_with(), 2)
    images = [Pictures(colour, 1).read(0) for colour in (0, 1, 1, 0)]
    by_head = learner_with("diffcont.evaluate.routing=head").detector_of(states)
    by_mean = learner_with("diffcont.evaluate.routing=lda").detector_of(states)
    seen = by_head.see(images)
    embedded = embed(by_head.network, torch.from_numpy(seen.arrays["inputs"]), 0)
    logits = by_head.network.classify(embedded).numpy()
    np.testing.assert_array_equal(logits.argmax(axis=1), by_head.find(seen, None, {}).place)
    means, shared = states[-1].carry["means"], states[-1].carry["covariance"]
    nearest = Discriminants(pooled(means, 4), shared).nearest(pooled(embedded.numpy(), 4))
    np.testing.assert_array_equal(nearest, by_mean.find(seen, None, {}).place)
    # A head that prefers the first class names it always; the means know nothing of that.
    bias = states[-1].carry["network.head.bias"]
    partial = {**states[-1].carry, "network.head.bias": bias + np.array([1e6, 0], np.float32)}
    biased = [states[0], replace(states[1], carry=partial)]
    assert [0] * 4 == learner_with("diffcont.evaluate.routing=head").detector_of(biased).find(
        seen, None, {}
    ).place.tolist()
    again = learner_with("diffcont.evaluate.routing=lda").detector_of(biased).find(seen, None, {}).place
    np.testing.assert_array_equal(nearest, again)


def test_a_network_that_says_the_noise_is_trained_and_replayed(learner_with, lessons):
    """The paper's; its denoising loss begins at the variance of the noise."""
    learner = learner_with("diffcont.prompts.prediction=noise", "diffcont.prompts.epochs=1")
    first = learner.learn(lessons[0])
    np.testing.assert_allclose(1.0, first.trained["history.loss.denoising"][0], atol=0.35)
    second = learner.learn(lessons[1], first.carry)
    assert np.isfinite(second.trained["history.loss.noise"]).all()
    assert 6 <= second.trained["replay.tried"][0]
