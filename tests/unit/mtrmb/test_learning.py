"""Learning with MTRMB: what gets a gradient, what is logged, what is kept, and what the words have to do with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from evernorm.errors import ParamsError, StateError, WeightsError
from evernorm.features.extract import extract
from evernorm.memory.compact import unpacked
from evernorm.methods.bank import load_bank, save_bank
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.mtrmb import first_keys
from evernorm.params.groups import Device, PassEngine
from tests.helpers.rows import patches_behind
from tests.unit.mtrmb.conftest import NAMES

UNTRAINED = ("mtrmb.prompts.epochs=1", "mtrmb.prompts.learning_rate=1e-12")


def images_of(lesson):
    return [lesson.experience.read(number) for number in range(len(lesson.experience))]


def features(learner, trained, lesson):
    """What the images of a lesson are seen as."""
    return learner.eye(trained)(images_of(lesson))["adapted"]


def described(lesson, text):
    return Lesson(replace(lesson.experience, description=text), lesson.parts)


def test_the_backbone_keeps_every_bit_and_the_rest_is_trained(mtrmb, lessons):
    """Prompts, keys and fusion move; nothing of the network does, and none of it has a gradient."""
    lesson, network = lessons["textile"], mtrmb.backbone.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trained = mtrmb.train(lesson)
    for name, tensor in network.state_dict().items():
        assert torch.equal(before[name], tensor), name
    assert all(parameter.grad is None for parameter in network.parameters())
    first = mtrmb_first(mtrmb, lesson)
    values = {name for name in trained if not name.startswith(("history.", "text."))}
    assert values == first.keys()
    assert {"keys", "block.000", "block.005", "fusion.image_back", "fusion.text_back"} <= values
    for name in values:
        assert first[name].shape == trained[name].shape
        assert not np.array_equal(first[name], trained[name]), name


def mtrmb_first(learner, lesson):
    """What a training begins with: one that takes no step to speak of."""
    params = learner.params.model_copy(
        update={
            "mtrmb": learner.own.model_copy(
                update={
                    "prompts": learner.own.prompts.model_copy(update={"epochs": 1, "learning_rate": 1e-12})
                }
            )
        }
    )
    trained = type(learner)(params, learner.backbone).train(lesson)
    return {name: value for name, value in trained.items() if not name.startswith(("history.", "text."))}


def test_each_term_is_logged_and_together_they_are_the_loss(mtrmb, lessons):
    """Eq. 8, epoch by epoch; keys and structure come nearer to what they are to be."""
    trained = mtrmb.train(lessons["textile"])
    terms = {name: trained[f"history.loss.{name}"] for name in ("keys", "structure", "cross_modal")}
    np.testing.assert_allclose(sum(terms.values()), trained["history.loss"], rtol=1e-6)
    assert (3,) == trained["history.loss"].shape
    assert terms["keys"][-1] < terms["keys"][0]
    assert terms["structure"][-1] < terms["structure"][0]


def test_weights_scale_their_terms_and_zero_leaves_one_out(mtrmb_with, lessons):
    """λ and its like, seen at the first epoch of a training that takes no step to speak of."""
    one = mtrmb_with(*UNTRAINED).train(lessons["textile"])
    weights = "mtrmb.prompts.weights"
    two = mtrmb_with(*UNTRAINED, f"{weights}.keys=3", f"{weights}.structure=0").train(lessons["textile"])
    assert "history.loss.structure" not in two
    np.testing.assert_allclose(3 * one["history.loss.keys"], two["history.loss.keys"], rtol=1e-6)
    np.testing.assert_allclose(one["history.loss.cross_modal"], two["history.loss.cross_modal"], rtol=1e-6)


def test_a_fusion_that_learned_nothing_sees_what_no_fusion_sees(mtrmb_with, lessons):
    """The way back is zero at first, so the words change nothing until they are found to help."""
    lesson = lessons["textile"]
    fused, plain = mtrmb_with(*UNTRAINED), mtrmb_with(*UNTRAINED, "mtrmb.prompts.fusion_width=0")
    with_words = features(fused, fused.train(lesson), lesson)
    np.testing.assert_allclose(features(plain, plain.train(lesson), lesson), with_words, rtol=1e-5, atol=1e-5)


def test_words_reach_the_features(mtrmb, lessons):
    """What is said of a class changes what it is remembered by; the same words give the same bytes."""
    lesson = lessons["textile"]
    plain, again, other = (
        mtrmb.train(each) for each in (lesson, lesson, described(lesson, "A woven cloth of blue cotton."))
    )
    assert all(plain[name].tobytes() == again[name].tobytes() for name in plain)
    assert len(other["text.features"]) > len(plain["text.features"])
    assert np.abs(features(mtrmb, plain, lesson) - features(mtrmb, other, lesson)).max() > 1e-3


def test_knowledge_is_the_coreset_of_fused_features(learned, lessons):
    """Each row is a patch as it is seen with prompt and words of the class."""
    for place, name in enumerate(NAMES):
        state = learned.states[place]
        seen = features(learned.learner, state.trained, lessons[name])
        assert 60 == len(patches_behind(state.entry, "rows", seen.reshape(-1, seen.shape[2])))


def test_a_killed_training_goes_on_as_if_nothing_had_happened(mtrmb, lessons, tmp_path):
    """Bit by bit, the terms of the loss among it."""

    def killing(done, _epochs):
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        mtrmb.train(lessons["textile"], checkpoint=tmp_path, progress=killing)
    resumed, whole = mtrmb.train(lessons["textile"], checkpoint=tmp_path), mtrmb.train(lessons["textile"])
    assert whole.keys() == resumed.keys()
    assert all(whole[name].tobytes() == resumed[name].tobytes() for name in whole)


def test_a_backbone_without_attention_gets_additive_prompts(mtrmb_with, backbone, tiny_vit):
    """`auto`: a prefix where there is attention."""
    assert {(152,)} != set(mtrmb_with(on=backbone).network.network.shapes.values())
    assert all(1 == len(shape) for shape in mtrmb_with(on=backbone).network.network.shapes.values())
    assert {(2, 5, 64)} == set(mtrmb_with().network.network.shapes.values())
    assert "5" in mtrmb_with().ablations()
    assert ["4"] == list(mtrmb_with(on=backbone).ablations())


def test_first_keys_are_far_apart_and_of_length_one():
    """The most usual direction first, then the farthest; never more than there are images."""
    queries = np.array([[1, 0], [10, 1], [0, 2], [0.5, 0.5], [-1, 3]], np.float32)
    keys = first_keys(queries, 3)
    np.testing.assert_allclose(np.linalg.norm(keys, axis=1), 1, rtol=1e-6)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_allclose(keys[0], unit[(unit @ unit.mean(axis=0)).argmax()], rtol=1e-6)
    assert 5 == len(first_keys(queries, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ("mtrmb.prompts.weights.structure=0", "mtrmb.prompts.weights.cross_modal=0"),
            "nothing trains the prompts",
        ),
        (("mtrmb.prompts.weights.structure=0", "mtrmb.prompts.fusion_width=0"), "nothing trains the prompts"),
    ],
)
def test_prompts_that_no_loss_reaches_are_refused(mtrmb_with, settings, message):
    """Before hours of segmentation."""
    with pytest.raises(ParamsError, match=message):
        mtrmb_with(*settings).check()


def test_a_missing_text_encoder_is_told_before_anything_is_made(mtrmb_with):
    """And not asked for where there is no fusion."""
    nowhere = "mtrmb.prompts.text.encoder=package:no_such_bert"
    with pytest.raises(WeightsError, match="no_such_bert"):
        mtrmb_with(nowhere).check()
    mtrmb_with(nowhere, "mtrmb.prompts.fusion_width=0").check()


def test_what_results_depend_on_names_the_text_encoder(mtrmb_with):
    """Another BERT is another result, where words are read at all."""
    learner = mtrmb_with()
    without = mtrmb_with("mtrmb.prompts.fusion_width=0")
    assert learner.sources(learner.params).startswith(without.sources(without.params))
    assert learner.sources(learner.params) != without.sources(without.params)


# -- judging ------------------------------------------------------------------------------------------


def test_images_go_to_the_class_of_the_best_key(learned, drawn):
    """By cosine, whatever else is in the batch; the score is the largest distance to the knowledge (Eq. 11)."""
    images = [*drawn("textile", 2, seed=21), *drawn("machined_part", 2, seed=22)]
    judged = learned.judge(learned.see(images))
    assert [0, 0, 1, 1] == judged.place.tolist()
    network = learned.learner.network
    _, queries = network.begin(images)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for number, query in enumerate(unit):
        best = [
            max(query @ (key / np.linalg.norm(key)) for key in state.trained["keys"])
            for state in learned.states
        ]
        assert int(np.argmax(best)) == judged.place[number]
    for number, image in enumerate(images):
        state = learned.states[judged.place[number]]
        seen = learned.learner.eye(state.trained)([image])["adapted"][0]
        farthest = cdist(seen, unpacked(state.entry, "rows")).min(axis=1).max()
        assert farthest == pytest.approx(judged.raw[number], rel=1e-3)


def test_the_memory_is_stated(learned):
    """Rows with their grid, keys, prompt, fusion and words."""
    state = learned.states[0]
    stored = [
        *state.entry.values(),
        *(
            value
            for name, value in state.trained.items()
            if name.startswith(("keys", "block.", "fusion.", "text.features"))
        ),
    ]
    assert sum(array.nbytes for array in stored) == learned.bytes_by_class["textile"]


def test_a_bank_answers_without_a_text_encoder(learned, drawn, tmp_path, monkeypatch):
    """Saved and loaded where there is no transformers: the same scores; how it was trained is not in it."""
    save_bank(learned, tmp_path / "bank")
    monkeypatch.setattr("evernorm.text.encoder.TextEncoder.load", lambda *_: pytest.fail("it was asked"))
    again = load_bank(tmp_path / "bank", Device.CPU, PassEngine.TORCH)
    images = drawn("textile", 2, seed=31)
    one, two = (each.judge(each.see(images)) for each in (learned, again))
    np.testing.assert_array_equal(one.raw, two.raw)
    assert not any(name.startswith("history") for name in again.states[0].trained)


def test_classes_that_do_not_go_together_are_refused(learned, mtrmb_with, lessons):
    """One with words and one without, one without keys, one with prompts of another length."""
    one, two = learned.states
    bare = {name: value for name, value in two.trained.items() if not name.startswith(("fusion.", "text."))}
    keyless = {name: value for name, value in two.trained.items() if name != "keys"}
    short = {**two.trained, "block.000": np.asarray(two.trained["block.000"])[:, :2]}
    for trained in (bare, keyless, short):
        with pytest.raises(StateError, match="learn the classes again"):
            learned.learner.detector_of([one, replace(two, trained=trained)])


def test_frozen_features_are_seen_where_nothing_is_trained(mtrmb_with, lessons, backbone):
    """`kind: none` and no fusion: plain patch features; only the keys are trained."""
    learner = mtrmb_with("mtrmb.prompts.kind=none", "mtrmb.prompts.fusion_width=0", on=backbone)
    trained, lesson = learner.train(lessons["textile"]), lessons["textile"]
    assert {"keys"} == {name for name in trained if not name.startswith("history.")}
    images = images_of(lesson)
    plain = extract(backbone, images.__getitem__, len(images))
    np.testing.assert_allclose(plain, features(learner, trained, lesson), rtol=1e-4, atol=1e-4)
