"""Learning with UCAD: what is kept of a class, what fits, and what a prompt of each kind leaves."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from evernorm.errors import ParamsError, StateError
from evernorm.features.backbone import build_backbone
from evernorm.methods.bank import load_bank, save_bank
from evernorm.params.groups import Device, FeatureParams, PassEngine
from tests.helpers.rows import patches_behind
from tests.unit.ucad.banks import NAMES, assert_same, bytes_of, prompt_of


@pytest.fixture(scope="module")
def convnext():
    """A network that takes no prompts."""
    return build_backbone(FeatureParams(backbone="test_convnext", image_size=64, weights="random"))


def test_keys_are_the_farthest_points_of_the_frozen_features(learned, experiences):
    """Eq. 1: each key is a patch, the one farthest from all keys before it."""
    frozen = learned.learner.backbone.features(list(experiences["textile"].images())).reshape(-1, 152)
    chosen = patches_behind(learned.states[0].entry, "keys", frozen)
    assert 40 == len(chosen)
    reach = np.minimum.accumulate(cdist(frozen, frozen[chosen]), axis=1)
    for number in range(1, 40):
        assert reach[chosen[number], number - 1] == pytest.approx(reach[:, number - 1].max(), rel=1e-3)


def test_knowledge_is_made_of_prompted_features(learned, experiences):
    """Eq. 2: each row is a patch seen with the class's prompt, and no frozen one."""
    images = list(experiences["textile"].images())
    entry = learned.states[0].entry
    begun, frozen = learned.network.begin(images)
    adapted = learned.network.finish(begun, [prompt_of(learned, 0)] * len(images))
    assert 60 == len(patches_behind(entry, "rows", adapted.reshape(-1, 152)))
    with pytest.raises(AssertionError):
        patches_behind(entry, "rows", frozen.reshape(-1, 152))


def test_learning_another_class_leaves_the_first_as_it_was(learned, ucad, lessons, drawn):
    """Entry, keys, prompt, calibration and scores bit by bit; and the second does not depend on the first."""
    one = ucad.detector_of(learned.states[:1])
    images = drawn("textile", 3, seed=11)
    before, scores = bytes_of(one.states[0]), one.judge(one.see(images))
    two = ucad.detector_of([*one.states, ucad.learn(lessons["machined_part"], one.states[0].carry)])
    assert before == bytes_of(two.states[0])
    assert bytes_of(learned.states[1]) == bytes_of(two.states[1])
    after = two.judge(two.see(images))
    np.testing.assert_array_equal(scores.place, after.place)
    np.testing.assert_array_equal(scores.raw, after.raw)
    np.testing.assert_array_equal(scores.patches, after.patches)
    np.testing.assert_array_equal(scores.hints["statistics"], after.hints["statistics"][:, :1])


def test_memory_is_keys_rows_descriptors_and_prompts(learned):
    """40 keys, 60 rows, 8 descriptors of 152 columns, two grids, and a prompt of one vector a block, of each class."""
    prompt = sum(shape[0] for shape in learned.network.shapes.values())
    each = (40 + 60 + 8) * 152 + 4 * (2 * 2 * 152 + prompt)
    assert dict.fromkeys(NAMES, each) == learned.bytes_by_class
    assert 2 * each == learned.bank_bytes
    assert 4 * prompt == prompt_of(learned, 0).nbytes > 0


def test_a_class_cannot_be_in_a_bank_twice(learned, ucad):
    """A bank is append-only."""
    with pytest.raises(StateError) as caught:
        ucad.detector_of([*learned.states, learned.states[0]])
    assert ("textile: in the bank more than once",) == caught.value.faults


def foreign(state, change):
    """A class under another name, with something that does not fit."""
    entry, trained = state.entry, state.trained
    blocks = [name for name in trained if name.startswith("block.")]
    changed = {
        "no keys": (without(entry, "keys"), trained),
        "narrow keys": ({**entry, **{each: entry[each][:, 1:] for each in ("keys", "keys_grid")}}, trained),
        "no prompt": (entry, {}),
        "fewer blocks": (entry, without(trained, blocks[0])),
        "other widths": (entry, {name: trained[name][1:] for name in blocks}),
        "a prefix": (entry, {name: np.stack([[trained[name]]] * 2) for name in blocks}),
    }[change]
    return replace(state, name="other", entry=changed[0], trained=changed[1])


def without(arrays, name):
    return {each: array for each, array in arrays.items() if each != name}


@pytest.mark.parametrize(
    "change", ["no keys", "narrow keys", "no prompt", "fewer blocks", "other widths", "a prefix"]
)
def test_a_class_that_does_not_fit_is_refused(learned, ucad, change):
    """Alone or beside others that do."""
    misfit = foreign(learned.states[0], change)
    for states in ([misfit], [*learned.states, misfit], [misfit, *learned.states]):
        with pytest.raises(StateError, match="lacks keys of 152 columns, or its prompts do not fit"):
            ucad.detector_of(states)


def test_a_prompt_cannot_be_trained_without_the_parts_of_the_images(ucad, experiences, lessons):
    """It says what is missing, before an image passes the backbone."""
    with pytest.raises(StateError, match="textile: no parts of its images to train a prompt with"):
        ucad.learn(replace(lessons["textile"], parts=None))


def test_a_backbone_that_takes_no_prompts_is_refused_at_once(learner_for, convnext):
    """Before anything is learned."""
    with pytest.raises(ParamsError, match="cannot take additive prompts"):
        learner_for("ucad", on=convnext).check()


def test_without_prompts_knowledge_is_a_coreset_of_frozen_features(
    learner_for, convnext, lessons, drawn, tmp_path
):
    """Kind `none` on a ConvNeXt: PatchCore's rows for each class, found by keys, through the disk and back."""
    ucad = learner_for("ucad", "ucad.prompts.kind=none", on=convnext)
    detector = ucad.detector_of([ucad.learn(replace(lessons[name], parts=None)) for name in NAMES])
    reference = learner_for("patchcore_cl", "patchcore_cl.knowledge.budget=60", on=convnext)
    for state in detector.states:
        assert {} == state.trained
        expected = reference.learn(lessons[state.name])
        np.testing.assert_array_equal(expected.entry["rows"], state.entry["rows"])
        assert expected.calibration.at(60).to_json() == state.calibration.at(60).to_json()
    images = [*drawn("textile", 2, seed=3), *drawn("machined_part", 2, seed=3)]
    save_bank(detector, tmp_path)
    assert_same(detector.predict(images), load_bank(tmp_path, Device.CPU, PassEngine.TORCH).predict(images))
    assert detector.bank_bytes == 2 * convnext.dim * (
        40 + 60 + 8 + 4 * 2 * 2
    )  # 8 images as a whole, two grids


def test_prefix_prompts_on_a_transformer(learner_for, tiny_vit, lessons, drawn, tmp_path):
    """Keys of level 2 before the first prompt at block 3, knowledge of both levels; stored and read back."""
    settings = {
        "knowledge.key_layers": "[2]",
        "prompts.kind": "prefix",
        "prompts.length": 2,
        "prompts.first_block": 3,
        "prompts.epochs": 1,
        "prompts.learning_rate": 5e-4,
        "prompts.batch_size": 8,
        "prompts.stopping": "compactness",
    }
    ucad = learner_for("ucad", *(f"ucad.{key}={value}" for key, value in settings.items()), on=tiny_vit)
    detector = ucad.detector_of([ucad.learn(lessons[name]) for name in NAMES])
    assert {(40, 64)} == {state.entry["keys"].shape for state in detector.states}
    assert {(60, 128)} == {state.entry["rows"].shape for state in detector.states}
    assert {(2, 2, 64)} == set(prompt_of(detector, 0).shapes.values())
    images = [*drawn("textile", 2, seed=3), *drawn("machined_part", 2, seed=3)]
    assert [0, 0, 1, 1] == detector.judge(detector.see(images)).place.tolist()
    save_bank(detector, tmp_path)
    assert_same(detector.predict(images), load_bank(tmp_path, Device.CPU, PassEngine.TORCH).predict(images))
