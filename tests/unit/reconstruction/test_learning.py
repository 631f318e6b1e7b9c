"""How a network goes from class to class, what its scores are divided by, and how a training is resumed."""

from dataclasses import replace

import numpy as np
import pytest

from evernorm.errors import FitError, MachineError, ParamsError, StateError
from evernorm.maps import highest
from evernorm.methods.lesson import Lesson
from evernorm.methods.reconstruction.revdist import RevDist
from evernorm.params.file import override, parse_params
from evernorm.params.model import default_params

SMALL = (
    "method=revdist",
    "weibull.engine=scipy",
    "features.device=cpu",
    "features.image_size=64",
    "features.weights=random",
    "revdist.prompts.iterations=4",
    "revdist.prompts.batch_size=4",
    "revdist.prompts.buffer=16",
)


class Pictures:
    """What a learner reads of an experience."""

    name, description = "red", ""

    def __init__(self, colour: int, count: int = 12) -> None:
        rng = np.random.default_rng(colour)
        self.pictures = rng.integers(0, 90, (count, 64, 64, 3), dtype=np.uint8)
        self.pictures[..., colour] += 150
        self.read_so_far: list[int] = []

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, number: int) -> np.ndarray:
        """One of them."""
        self.read_so_far.append(number)
        return self.pictures[number]


def built(*settings: str) -> RevDist:
    """With these parameters."""
    return RevDist(parse_params(override(default_params().model_dump(mode="json"), [*SMALL, *settings])))


@pytest.fixture(scope="module")
def first():
    """The state after the first class."""
    return built().learn(Lesson(Pictures(0)))


def learned(first, *settings: str, earlier: tuple = ()):
    """The state after the second."""
    state = built(*settings).learn(Lesson(Pictures(1), earlier=earlier), first.carry)
    return replace(state, name="green")


def test_a_score_is_the_mean_of_the_highest_places():
    """A hundredth of them, and one at least."""
    errors = np.arange(400, dtype=np.float32).reshape(2, 200)
    np.testing.assert_array_equal([198.5, 398.5], highest(errors, 0.01))
    np.testing.assert_array_equal([199, 399], highest(errors, 0.001))


def test_what_is_held_out_is_not_trained_on_and_all_of_it_is_scored(first):
    """Five at least, whatever the share."""
    learner = built()
    trained_on, held_out = learner.split(12)
    assert (7, 5) == (len(trained_on), len(held_out))
    assert set(range(12)) == {*trained_on, *held_out}
    assert (80, 20) == tuple(len(each) for each in learner.split(100))
    assert 5 == len(first.calibration.steps[0].scores)
    pictures = Pictures(0)
    learner.train(Lesson(pictures))
    assert set(trained_on) == set(pictures.read_so_far)
    with pytest.raises(FitError, match="6 training images are too few: 5 tell what scores mean"):
        learner.split(6)


def test_the_buffer_is_what_is_left_of_a_class(first):
    """No image of it is read again; fine-tuning is shown none of them."""

    class Gone(Pictures):
        def read(self, number: int) -> np.ndarray:
            raise AssertionError("an image of an earlier class was read")

    buffered = learned(first, earlier=(Gone(0),))
    settings = ("revdist.prompts.continual=finetune",)
    alone = built(*settings).learn(Lesson(Pictures(0)))
    tuned = learned(alone, *settings)
    name = "network.decoder.heads.0.weight"
    np.testing.assert_array_equal(first.trained[name], alone.trained[name])
    np.testing.assert_array_equal([1, 1], tuned.carry["drift"])
    assert not np.array_equal(buffered.trained[name], tuned.trained[name])
    assert not np.array_equal(first.trained[name], tuned.trained[name])
    assert 16 >= len(buffered.carry["kept.rehearsed"]) + len(buffered.carry["kept.judged"])


def test_scores_are_divided_by_how_much_they_have_grown(first):
    """By the kept images that were never trained on, now and when their class was calibrated."""
    second = learned(first)
    learner = built()
    network = learner.network_of(second.carry)
    images = first.carry["kept.judged"]
    seen = learner.look(list(images))
    now = highest(network.errors({name: seen[name] for name in seen if name != "pooled"}), 0.01)
    then = first.carry["kept.scores"]
    expected = now.mean() / then.mean()
    np.testing.assert_allclose([expected, 1], second.carry["drift"], rtol=1e-5)
    detector = learner.detector_of([first, second])
    seen = detector.see([Pictures(0).read(0)])
    errors = network.errors({name: array for name, array in seen.arrays.items() if name != "pooled"})
    found = detector.find(seen, np.array([0]), {})
    np.testing.assert_allclose(errors / expected, found.patches, rtol=1e-5)


def test_jointly_the_network_begins_anew_with_the_images_of_all(first):
    """In as many steps as there are classes; the images that are held out stay held out."""
    settings = ("revdist.prompts.continual=joint",)
    assert (True, False) == (built(*settings).looks_back, built().looks_back)
    one = built(*settings).learn(Lesson(Pictures(0)))
    earlier = Pictures(0)
    seen: list[int] = []
    learner = built(*settings)
    trained = learner.train(
        Lesson(Pictures(1), earlier=(earlier,)), one.carry, progress=lambda done, _: seen.append(done)
    )
    assert set(learner.split(12)[0]) == set(earlier.read_so_far)
    assert list(range(1, 9)) == seen
    again = learner.train(Lesson(Pictures(1), earlier=(Pictures(0),)), first.carry)
    name = "network.decoder.heads.0.weight"
    np.testing.assert_array_equal(trained[name], again[name])
    state = learner.learn(Lesson(Pictures(1), earlier=(Pictures(0),)), one.carry)
    assert state.carry["drift"][0] != 1


def test_a_class_has_a_network_of_its_own(first):
    """Which judges what is sent to it, as if no other class had come; nothing is handed on."""
    settings = ("revdist.prompts.continual=separate",)
    one = built(*settings).learn(Lesson(Pictures(0)))
    two = learned(one, *settings)
    assert not [name for name in two.carry if name.startswith("network.")]
    learner = built(*settings)
    alone, both = learner.detector_of([one]), learner.detector_of([one, two])
    images = [Pictures(0).read(0), Pictures(1).read(0)]
    place = np.array([0, 1])
    np.testing.assert_array_equal(place, both.find(both.see(images), None, {}).place)
    given = np.array([0])
    np.testing.assert_allclose(
        alone.find(alone.see(images[:1]), given, {}).raw,
        both.find(both.see(images), place, {}).raw[:1],
        rtol=1e-5,
    )
    assert both.bytes_by_class["red"] == both.bytes_by_class["green"] > 1e6
    single = built().detector_of([first, learned(first)])
    assert max(single.bytes_by_class.values()) < 1e4 < single.shared_bytes


def test_a_network_of_other_sizes_is_refused(first):
    """With what to do."""
    other = built("features.layers=[2]")
    with pytest.raises(StateError, match="learn them again"):
        other.network_of(first.carry)


def test_half_of_a_batch_is_kept_images(first):
    """Where there are any; what a step sees depends on its number alone."""
    from evernorm.reconstruction.training import Material, Training

    learner = built()
    fresh, kept = ({"level0": np.full((9, 40, 8, 8), value, np.float32)} for value in (1, 2))
    training = Training(learner.network(), Material(fresh, kept, 10, (0, 1)), learner.own.prompts)
    batch = training._batch(3)["level0"][:, 0, 0, 0]
    assert [1, 1, 2, 2] == batch.tolist()
    alone = Training(learner.network(), Material(fresh, None, 10, (0, 1)), learner.own.prompts)
    assert [1, 1, 1, 1] == alone._batch(3)["level0"][:, 0, 0, 0].tolist()


def test_a_loss_that_is_no_number_says_what_to_lower():
    """Not a FitError: the images are not at fault."""
    from evernorm.errors import TrainingError

    learner = built("revdist.prompts.learning_rate=1")
    learner.look = lambda images: {  # type: ignore[method-assign]
        name: array * np.float32("nan") for name, array in RevDist.look(learner, images).items()
    }
    with pytest.raises(TrainingError, match=r"lower the prompts' learning_rate \(1\)"):
        learner.train(Lesson(Pictures(0)))


@pytest.mark.parametrize("setting", ["batch_size=2", "batch_size=7", "held_out=0.9", "buffer=0"])
def test_what_cannot_be_trained_with_is_refused(setting):
    """Before anything is made, and as no fault of the images."""
    with pytest.raises(ParamsError, match=setting.partition("=")[0]):
        built(f"revdist.prompts.{setting}")


def test_a_later_class_is_resumed_to_the_same_bits(first, tmp_path):
    """With kept images, and what normalisations have counted."""

    class KilledError(Exception):
        pass

    def kill(done: int, _total: int) -> None:
        if done == 2:
            raise KilledError

    learner, lesson = built(), Lesson(Pictures(1))
    whole = learner.train(lesson, first.carry)
    with pytest.raises(KilledError):
        learner.train(lesson, first.carry, checkpoint=tmp_path / "state", progress=kill)
    seen: list[int] = []
    resumed = learner.train(
        lesson, first.carry, checkpoint=tmp_path / "state", progress=lambda done, _: seen.append(done)
    )
    assert [3, 4] == seen
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_steps_in_bfloat16_learn_what_others_learn(first, monkeypatch):
    """Other bits, nearly the same losses; what is stored is float32."""
    able = {"architecture": "x86_64", "cpu_name": "a processor", "avx512_bf16": True, "amx_bf16": False}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: able)
    trained = built("revdist.prompts.precision=bfloat16").train(Lesson(Pictures(0)))
    losses, expected = trained["history.loss"], first.trained["history.loss"]
    np.testing.assert_allclose(losses, expected, rtol=0.02)
    assert not np.array_equal(losses, expected)
    assert {np.dtype(np.float32)} == {
        trained[name].dtype for name in trained if name.startswith("network.") and "tracked" not in name
    }


def test_a_processor_without_bfloat16_is_told(monkeypatch):
    """A fault of the machine, before the first step."""
    able = {"architecture": "x86_64", "cpu_name": "an old one", "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: able)
    with pytest.raises(MachineError, match=r"this processor \(an old one\) has no arithmetic"):
        built("revdist.prompts.precision=bfloat16").train(Lesson(Pictures(0)))


def test_jointly_all_classes_before_are_needed(first):
    """Said, not guessed."""
    settings = ("revdist.prompts.continual=joint",)
    one = built(*settings).learn(Lesson(Pictures(0)))
    with pytest.raises(StateError, match="knows 1 classes before, the lesson holds 0"):
        learned(one, *settings)
