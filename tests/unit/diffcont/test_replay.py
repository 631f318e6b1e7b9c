"""What is replayed: screened, bounded, and made without an image of an earlier class."""

import numpy as np
import pytest
import torch

from evernorm.errors import FitError, StateError, TrainingError
from evernorm.methods.diffcont import losses
from evernorm.methods.diffcont.diffusion import embed
from evernorm.methods.diffcont.network import Network
from evernorm.methods.diffcont.replay import Gate, Replay, generate, squared_distances
from evernorm.methods.diffcont.training import Training
from evernorm.methods.lesson import Lesson
from tests.unit.diffcont.conftest import Pictures


def teacher_with(first, learner, **replay):
    """The network after the first class, with other parameters of the replay, and its gate."""
    own = learner.own.prompts
    params = own.model_copy(update={"replay": own.replay.model_copy(update=replay)})
    teacher = Network.of(first.carry, params, torch.device("cpu"))
    return teacher, Gate(first.carry["means"], first.carry["tails"])


def counts(replay: Replay) -> tuple[int, int]:
    """Candidates of the first class, and those that passed."""
    return int(replay.report["replay.tried"][0]), int(replay.report["replay.accepted"][0])


def test_the_gate_is_the_weibull_tail_of_the_squared_distances(first, learner_with):
    """What the calibration's reading says of the same distance."""
    gate = Gate(first.carry["means"], first.carry["tails"])
    embedding = first.entry["mean"] + np.float32(0.7)
    distance = np.float64(0.7) ** 2 * len(embedding)
    expected = first.calibration.steps[0].probability(distance)
    np.testing.assert_allclose(expected, gate.probability(0, embedding[None])[0], rtol=1e-5)


def test_a_gate_that_lets_all_pass_takes_the_first_drawn(first, learner_with):
    """K of each class, and no candidate more."""
    replay = generate(*teacher_with(first, learner_with(), gate=1.0), seed=0)
    assert (6, 6) == counts(replay)
    assert (6, 3, 8, 8) == replay.inputs.shape
    assert [0] * 6 == replay.labels.tolist()


def test_a_gate_that_nothing_passes_ends_and_says_so(first, learner_with):
    """After `attempts` · K candidates the least outlying make up, and none counts as accepted."""
    teacher, gate = teacher_with(first, learner_with(), gate=1e-12, attempts=2)
    nowhere = Gate(gate.means + 1e6, gate.tails)
    replay = generate(teacher, nowhere, seed=0)
    assert (12, 0) == counts(replay)
    assert 6 == len(replay.inputs)
    pictures = replay.report["replay.pictures"]
    assert (pictures[0, 0] == 255).all()
    assert [True] * 12 + [False] * 4 == [bool((each < 255).any()) for each in pictures[0, 1]]


def test_what_passed_comes_before_what_did_not(first, learner_with):
    """The rejected that make up are those with the smallest outlier probability; the gate stands amid what is drawn."""
    teacher, gate = teacher_with(first, learner_with(), gate=1.0)
    drawn = torch.from_numpy(generate(teacher, gate, seed=0).inputs)
    far = np.sort(squared_distances(embed(teacher, drawn, 0).numpy(), gate.means[0]))
    teacher, gate = teacher_with(first, learner_with(), gate=0.5, attempts=3)
    # A tail of shape 1 that begins at 0 gives the probability 1 − exp(−d / scale): .5 behind the first of the first six.
    tight = Gate(gate.means, np.array([[1.0, (far[0] + far[1]) / 2 / np.log(2), 1.0, 0.0]]))
    replay = generate(teacher, tight, seed=0)
    probability = tight.probability(0, embed(teacher, torch.from_numpy(replay.inputs), 0).numpy())
    tried, passed = counts(replay)
    assert 18 == tried
    assert 0 < passed < 6
    assert (probability[:passed] <= 0.5).all()
    assert (probability[passed:] > 0.5).all()
    assert (np.diff(probability[passed:]) >= 0).all()


def test_it_is_stored_with_the_training(first, learner_with):
    """And read again as it was."""
    replay = generate(*teacher_with(first, learner_with()), seed=0)
    again = Replay.of(replay.arrays()).arrays()
    assert replay.arrays().keys() == again.keys()
    for name, value in replay.arrays().items():
        np.testing.assert_array_equal(value, again[name])


def test_samples_that_a_checkpoint_lost_are_said_to_be_lost(first, learner_with, lessons, tmp_path):
    """Not a traceback of the library that reads them."""
    (tmp_path / "replay.safetensors").write_bytes(b"half of it")
    with pytest.raises(StateError, match="holds no state of this training"):
        learner_with().train(lessons[1], first.carry, checkpoint=tmp_path)


def test_no_image_of_an_earlier_class_is_asked_for(first, learner_with, lessons):
    """The second class is learned with the first one's images gone: only what is carried is left of it."""

    class Gone(Pictures):
        def read(self, number: int) -> np.ndarray:
            raise AssertionError("an image of an earlier class was read")

    learner, before = learner_with(), learner_with().learn(Lesson(Pictures(0)))
    gone = Lesson(lessons[1].experience, earlier=(Gone(0),))
    state = learner.learn(gone, before.carry)
    assert {"replay.tried", "replay.accepted", "replay.pictures"} <= set(state.trained)
    assert [6] == [min(6, int(each)) for each in state.trained["replay.tried"]]


def test_joint_training_is_shown_the_images_of_the_classes_before(first, learner_with, lessons):
    """All of them, in place of samples; a learner that is not joint asks for none."""
    joint = learner_with("diffcont.prompts.replay.kind=images")
    assert (True, False) == (joint.looks_back, learner_with().looks_back)
    read: list[int] = []

    class Read(Pictures):
        def read(self, number: int) -> np.ndarray:
            read.append(number)
            return super().read(number)

    lesson = Lesson(lessons[1].experience, earlier=(Read(0),))
    state = joint.learn(lesson, first.carry)
    assert list(range(10)) == read
    assert "history.loss.align" in state.trained
    # Nothing was drawn, so there is nothing to count or to look at.
    assert not [name for name in state.trained if name.startswith("replay.")]
    assert [] == joint.remarks(state.trained, ["red"])


def test_without_replay_the_network_is_tuned_on_the_class_alone(first, learner_with, lessons):
    """Nothing is generated, nothing distilled."""
    state = learner_with("diffcont.prompts.replay.kind=none").learn(lessons[1], first.carry)
    assert not [name for name in state.trained if name.startswith("replay.")]
    assert "history.loss.align" not in state.trained
    gated = learner_with().learn(lessons[1], first.carry)
    assert {"history.loss.noise", "history.loss.align", "history.loss.distill"} <= set(gated.trained)


def test_projector_and_whitening_stay_as_the_first_class_left_them(first, learner_with, lessons):
    """Bit for bit, while the rest goes on."""
    second = learner_with().learn(lessons[1], first.carry)
    for name in ("projector.weight", "projector.bias", "mean", "std", "shift", "scale"):
        np.testing.assert_array_equal(first.trained[f"network.{name}"], second.trained[f"network.{name}"])
    name = "network.unet.conv_in.weight"
    assert not np.array_equal(first.trained[name], second.trained[name])


def test_the_moving_average_is_what_is_kept(learner_with, lessons):
    """Of the values after each step; it begins with a short memory, which grows to its decay."""
    inputs = learner_with().inputs_of(lessons[0])
    network = Network(3, learner_with("diffcont.prompts.ema=0.3").own.prompts, 1, seed=0)
    training = Training(network, None, inputs, None, seed=0)
    name = "unet.conv_in.weight"
    expected = training.values[name].detach().clone()
    follow = training._follow

    def followed(step: int) -> None:
        decay = [0.1, 2 / 11, 3 / 12][step] if step < 3 else 0.3
        expected.mul_(decay).add_(training.values[name].detach() * (1 - decay))
        follow(step)

    training._follow = followed
    training.run(None, None)
    torch.testing.assert_close(network.parts.state_dict()[name], expected)


def test_means_follow_where_the_samples_went(first, learner_with, lessons):
    """By the mean shift of the class's samples between the two networks; kept where they are not to follow."""
    learner = learner_with()
    second = learner.learn(lessons[1], first.carry)
    teacher, gate = teacher_with(first, learner)
    replay = generate(teacher, gate, seed=learner.params.seed)
    student = Network.of(second.carry, learner.own.prompts, torch.device("cpu"))
    inputs = torch.from_numpy(replay.inputs)
    shift = (embed(student, inputs, 0) - embed(teacher, inputs, 0)).mean(dim=0).numpy()
    assert np.abs(shift).max() > 0
    np.testing.assert_allclose(first.carry["means"][0] + shift, second.carry["means"][0], atol=1e-5)
    np.testing.assert_array_equal(second.entry["mean"], second.carry["means"][1])
    kept = learner_with("diffcont.prompts.replay.follow=false").learn(lessons[1], first.carry)
    np.testing.assert_array_equal(first.carry["means"][0], kept.carry["means"][0])


def test_what_was_rejected_is_said(first, learner_with):
    """In words, with the name of the class; nothing where all that were wanted passed."""
    report = {"replay.accepted": np.array([6, 2]), "replay.tried": np.array([6, 18])}
    said = learner_with().remarks(report, ["red", "green"])
    assert ["2 of 18 samples of green passed the gate, 6 were wanted"] == [
        each.partition(":")[0] for each in said
    ]
    assert [] == learner_with().remarks(first.trained, [])


def test_a_class_of_few_images_is_seen_as_often_as_others(learner_with, lessons):
    """An epoch has as many steps as K images make."""
    learner = learner_with("diffcont.prompts.replay.per_class=23")
    training = Training(Network(3, learner.own.prompts, 1), None, learner.inputs_of(lessons[0]), None, seed=0)
    batches = training._batches(0)
    assert [4, 4, 4, 4, 4, 3] == [len(each) for each in batches]
    assert {2, 3} == set(np.bincount(np.concatenate(batches)))


def test_a_loss_that_is_no_number_says_what_to_lower(learner_with, lessons, monkeypatch):
    """Not a FitError: the images are not at fault."""
    monkeypatch.setattr(losses, "denoising", lambda noise, seen: seen.sum() * float("nan"))
    with pytest.raises(TrainingError, match=r"lower diffcont\.prompts\.learning_rate"):
        learner_with().train(lessons[0])


def test_two_images_have_no_mean_and_tail(learner_with):
    """Said before anything is computed from them."""
    learner = learner_with()
    few = Lesson(Pictures(0, 2))
    with pytest.raises(FitError, match="2 training images are too few"):
        learner.remember(few, learner.train(few))


def test_what_a_class_adds_is_its_rows_mean_and_tail(first, learner_with, lessons):
    """The network itself does not grow."""
    learner = learner_with()
    second = learner.learn(lessons[1], first.carry)
    one = learner.detector_of([first])
    renamed = type(second)(**{**vars(second), "name": "green"})
    two = learner.detector_of([first, renamed])
    assert one.shared_bytes == two.shared_bytes
    assert one.bytes_by_class["red"] == two.bytes_by_class["green"]
