"""PatchCoreCL and what it is compared with: learning, forgetting nothing or everything, judging, storing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from evernorm.errors import ParamsError, StateError
from evernorm.files import StoredArrays, read_arrays, write_arrays
from evernorm.memory.compact import unpacked
from evernorm.methods.bank import load_bank, save_bank
from evernorm.methods.registry import learner, learners
from evernorm.params.file import parse_params
from evernorm.params.groups import Device, PassEngine
from tests.helpers.rows import patches_behind

NAMES = ("textile", "machined_part", "blue_textile")


@pytest.fixture(scope="module")
def patchcore(learner_for):
    """PatchCoreCL with 120 rows."""
    return learner_for("patchcore_cl")


@pytest.fixture(scope="module")
def states(patchcore, lessons):
    """Every class learned once."""
    return {name: patchcore.learn(lessons[name]) for name in NAMES}


@pytest.fixture(scope="module")
def detector_of(learner_for, states):
    """``detector_of(method, names)``: a bank; the classes are the same for all methods that learn one alone."""

    def make(method="patchcore_cl", names=NAMES):
        return learner_for(method).detector_of([states[name] for name in names])

    return make


@pytest.fixture(scope="module")
def learned(detector_of):
    """PatchCoreCL after three classes."""
    return detector_of()


# -- the registry -------------------------------------------------------------------------------------


def test_every_method_has_a_name_a_group_of_parameters_and_can_be_chosen():
    """No name in params.yaml without a method behind it, and none without its parameters."""
    for name, kind in learners().items():
        assert name == kind.name
        params = parse_params({"method": name})
        assert type(getattr(params, name)) is kind.group
    with pytest.raises(ParamsError, match="method is 'telepathy'"):
        parse_params({"method": "telepathy"})


def test_two_methods_of_one_name_are_refused():
    """The second is not taken for the first."""
    kind = learners()["separate"]
    with pytest.raises(ValueError, match="two methods are called 'separate'"):
        learner(type("Other", (kind,), {}))
    assert kind is learner(kind) is learners()["separate"]


# -- judging ------------------------------------------------------------------------------------------


def test_images_find_their_class_and_defects_score_higher(learned, drawn):
    """Routing is right for unseen images, and large holes stand out."""
    for place, kind in enumerate(("textile", "machined_part")):
        good = learned.predict(drawn(kind, 4, seed=50 + place))
        bad = learned.predict(
            drawn(kind, 4, seed=60 + place, defect={"textile": "hole", "machined_part": "rust"}[kind])
        )
        assert {kind} == {p.routed_class for p in good}
        assert np.mean([p.score for p in bad]) > np.mean([p.score for p in good])


def test_predictions_do_not_depend_on_company_or_order(learned, drawn):
    """Alone, together, reversed: the same answers."""
    images = [*drawn("textile", 2, seed=7), *drawn("machined_part", 2, seed=8)]
    together = learned.predict(images)
    backwards = learned.predict(images[::-1])[::-1]
    for image, one, two in zip(images, together, backwards, strict=True):
        alone = learned.predict([image])[0]
        for other in (two, alone):
            assert one.routed_class == other.routed_class
            np.testing.assert_allclose(
                [one.score, one.p_value], [other.score, other.p_value], rtol=1e-4, atol=1e-4
            )
            np.testing.assert_allclose(one.map, other.map, atol=1e-3)
        assert image.shape[:2] == one.map.shape


def test_more_images_than_are_judged_at_once(learned, drawn, monkeypatch):
    """Where a block of images ends changes nothing, and each gets its own answer."""
    images = [*drawn("textile", 3, seed=7), *drawn("machined_part", 2, seed=8)]
    expected = learned.predict(images)
    monkeypatch.setattr(type(learned), "images_at_once", 2)
    found = learned.predict(images)
    assert [p.routed_class for p in expected] == [p.routed_class for p in found]
    np.testing.assert_allclose([p.score for p in expected], [p.score for p in found], rtol=1e-4, atol=1e-4)


def test_an_empty_bank_says_so(patchcore):
    """No class, no answer."""
    with pytest.raises(StateError, match="the bank is empty"):
        patchcore.detector_of([]).predict([np.zeros((64, 64, 3), np.uint8)])


# -- learning -----------------------------------------------------------------------------------------


def test_learning_more_classes_never_touches_an_entry(patchcore, lessons, states):
    """Entries are append-only: the same bytes, whatever comes after; fewer of them are read."""
    first = patchcore.learn(lessons["textile"])
    rows = first.entry["rows"].copy()
    np.testing.assert_array_equal(rows, states["textile"].entry["rows"])
    both = patchcore.detector_of([first, patchcore.learn(lessons["machined_part"], first.carry)])
    np.testing.assert_array_equal(rows, both.states[0].entry["rows"])
    assert [60, 60] == [len(memory.rows) for memory in both.memories]
    np.testing.assert_array_equal(unpacked(first.entry, "rows", 60), both.memories[0].rows)


def test_the_budget_holds_whatever_the_number_of_classes(learned, detector_of, backbone):
    """M rows in all after one class and after three; beside them 8 images of each class as a whole."""
    one = detector_of(names=NAMES[:1])
    beside = 8 * backbone.dim + 2 * 4 * backbone.dim  # and the grid
    assert [120 * backbone.dim + beside, 120 * backbone.dim + 3 * beside] == [
        one.bank_bytes,
        learned.bank_bytes,
    ]
    assert dict.fromkeys(NAMES, 40 * backbone.dim + beside) == learned.bytes_by_class
    assert [40, 40, 40] == [len(memory.rows) for memory in learned.memories]
    assert [40] * 3 == [reading.size for reading in learned.readings]


def test_rows_are_the_coreset_a_smaller_budget_would_select(learner_for, lessons, states):
    """A prefix of an entry is byte-identical to learning with that budget."""
    small = learner_for("patchcore_cl", "patchcore_cl.knowledge.budget=40").learn(lessons["textile"])
    np.testing.assert_array_equal(small.entry["rows"], states["textile"].entry["rows"][:40])


def test_no_more_rows_are_read_from_the_disk_than_are_searched(patchcore, states, tmp_path, monkeypatch):
    """A smaller share of the budget is a shorter read of the same file."""
    stored = []
    for state in states.values():
        write_arrays(tmp_path / state.name, state.entry)
        stored.append(replace(state, entry=StoredArrays(tmp_path / state.name)))
    read, head = [], StoredArrays.head

    def spy(self, name, rows):
        read.append(rows)
        return head(self, name, rows)

    monkeypatch.setattr(StoredArrays, "head", spy)
    detector = patchcore.detector_of(stored)
    assert (
        [40, 40, 40] == [rows for rows in read if rows] == [len(memory.rows) for memory in detector.memories]
    )


def test_more_classes_than_rows_cannot_share_them(learner_for, lessons):
    """A class with no row at all cannot be recognised."""
    small = learner_for("patchcore_cl", "patchcore_cl.knowledge.budget=10")
    state = small.learn(lessons["textile"])
    many = [replace(state, name=f"c{number}") for number in range(11)]
    with pytest.raises(StateError, match="11 classes cannot share 10 rows"):
        small.detector_of(many)


def test_a_class_cannot_be_in_a_bank_twice_or_come_from_another_backbone(patchcore, states):
    """A bank is append-only and of one kind of features; every fault is told."""
    one, two = states["textile"], states["machined_part"]
    with pytest.raises(StateError, match="learn them again with one backbone") as caught:
        patchcore.detector_of([one, replace(two, weights="f" * 64), one])
    assert [
        f"machined_part: learned with weights {'f' * 12}, the backbone has {patchcore.weights[:12]}",
        "textile: in the bank more than once",
    ] == list(caught.value.faults)
    with pytest.raises(StateError, match="textile: learned with weights of no record"):
        patchcore.detector_of([replace(one, weights="")])


def test_an_entry_of_other_features_is_refused(patchcore, states):
    """Columns must be the backbone's."""
    other = replace(states["textile"], name="other", entry={"rows": np.zeros((9, 7), np.float32)})
    with pytest.raises(StateError, match="other: 7 columns, the backbone gives 152"):
        patchcore.detector_of([states["textile"], other])


@pytest.mark.parametrize("method", ["patchcore_cl", "separate", "finetune"])
def test_a_class_of_which_nothing_is_remembered_is_refused(learner_for, states, method):
    """Its memory would be taken for that of the class after it; of fine-tuning only the last is asked."""
    kept = [states[name] for name in NAMES]
    lost = replace(kept[0], entry={})
    asked = [kept[1], lost] if method == "finetune" else [lost, kept[1]]
    with pytest.raises(StateError, match="nothing is remembered of textile; learn them again"):
        learner_for(method).detector_of(asked)
    if method == "finetune":
        assert [120] == [len(each.rows) for each in learner_for(method).detector_of([lost, kept[1]]).memories]


# -- on disk ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["patchcore_cl", "separate", "finetune"])
def test_a_stored_bank_answers_the_same_and_can_go_on(method, detector_of, drawn, tmp_path):
    """Save, load: the same predictions, the same bytes when saved again."""
    detector = detector_of(method, NAMES[:2])
    save_bank(detector, tmp_path / "a")
    loaded = load_bank(tmp_path / "a", Device.CPU, PassEngine.TORCH)
    assert (method, detector.classes) == (loaded.learner.name, loaded.classes)
    images = drawn("textile", 3, seed=9)
    for one, two in zip(detector.predict(images), loaded.predict(images), strict=True):
        assert (one.routed_class, one.score, one.probability, one.anomalous) == (
            two.routed_class,
            two.score,
            two.probability,
            two.anomalous,
        )
        np.testing.assert_array_equal(one.map, two.map)
    save_bank(loaded, tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [
        (tmp_path / "b" / f).read_bytes() for f in files
    ]


def test_a_stored_bank_goes_on_learning_like_one_that_was_never_stored(
    learned, detector_of, states, tmp_path
):
    """What lies within the budget is all that later classes need."""
    save_bank(detector_of(names=NAMES[:2]), tmp_path)
    loaded = load_bank(tmp_path, Device.CPU, PassEngine.TORCH)
    resumed = loaded.learner.detector_of([*loaded.states, states[NAMES[2]]])
    for one, two in zip(learned.memories, resumed.memories, strict=True):
        np.testing.assert_array_equal(one.rows, two.rows)
    assert [each.to_json() for each in learned.readings] == [each.to_json() for each in resumed.readings]


def test_a_bank_of_an_unknown_method_is_refused(learned, tmp_path):
    """A bank from a later version is not guessed at."""
    save_bank(learned, tmp_path)
    record = (tmp_path / "bank.json").read_text()
    (tmp_path / "bank.json").write_text(record.replace("patchcore_cl", "telepathy"))
    with pytest.raises(StateError, match="method 'telepathy'"):
        load_bank(tmp_path)
    (tmp_path / "bank.json").write_text(record.replace('"budget"', '"karma"'))
    with pytest.raises(StateError, match="parameters that this version does not know"):
        load_bank(tmp_path)
    (tmp_path / "bank.json").write_text(record.replace('"schema": 3', '"schema": 1'))
    with pytest.raises(StateError, match="schema 1, this version reads 3"):
        load_bank(tmp_path)
    with pytest.raises(StateError, match=r"bank\.json is missing"):
        load_bank(tmp_path / "nowhere")


def test_a_bank_of_an_earlier_version_is_read(learner_for, learned, lessons, drawn, tmp_path):
    """Schema 2: rows as float32, no descriptors, and no word on either among the parameters."""
    plain = learner_for(
        "patchcore_cl", "patchcore_cl.knowledge.storage=float32", "patchcore_cl.evaluate.candidates=0"
    )
    detector = plain.detector_of([plain.learn(lessons[name]) for name in NAMES])
    save_bank(detector, tmp_path)
    entries = read_arrays(tmp_path / "entries.safetensors")
    write_arrays(tmp_path / "entries.safetensors", {k: v for k, v in entries.items() if k.endswith("/rows")})
    record = json.loads((tmp_path / "bank.json").read_text())
    own = record["params"]["patchcore_cl"]
    del own["knowledge"]["storage"], own["evaluate"]["candidates"]
    (tmp_path / "bank.json").write_text(json.dumps({**record, "schema": 2}))
    images = [*drawn("textile", 2, seed=7), *drawn("machined_part", 2, seed=7)]
    loaded = load_bank(tmp_path, Device.CPU, PassEngine.TORCH)
    expected, found = detector.judge(detector.see(images)), loaded.judge(loaded.see(images))
    np.testing.assert_array_equal(expected.raw, found.raw)
    np.testing.assert_array_equal(expected.anomalous, found.anomalous)


def test_a_bank_beside_other_weights_is_refused(learned, tmp_path):
    """A replaced network would score, and wrongly."""
    save_bank(learned, tmp_path)
    path = tmp_path / "backbone.safetensors"
    weights = {name: np.array(array) for name, array in StoredArrays(path).items()}
    next(array for array in weights.values() if array.dtype == np.float32)[...] *= 1.02
    write_arrays(path, weights)
    with pytest.raises(StateError, match=f"its record says {learned.learner.weights[:12]}; fetch the bank"):
        load_bank(tmp_path, Device.CPU, PassEngine.TORCH)


# -- baselines ----------------------------------------------------------------------------------------


def test_separate_models_grow_with_the_classes(detector_of, backbone):
    """M rows each, 8 images as a whole, and the grid."""
    detector = detector_of("separate")
    assert [120] * 3 == [len(memory.rows) for memory in detector.memories]
    assert 3 * (120 + 8 + 2 * 4) * backbone.dim == detector.bank_bytes
    assert [120] * 3 == [reading.size for reading in detector.readings]


def test_fine_tuning_keeps_only_the_last_class(detector_of, states, backbone, drawn):
    """That is what it is there to show; it asks for no class, and bytes belong to none."""
    detector = detector_of("finetune")
    (memory,) = detector.memories
    np.testing.assert_array_equal(unpacked(states["blue_textile"].entry, "rows"), memory.rows)
    assert ((120 + 2 * 4) * backbone.dim, {}) == (detector.bank_bytes, detector.bytes_by_class)
    assert [None] == [p.routed_class for p in detector.predict(drawn("textile", 1))]


def test_joint_training_holds_all_classes_in_one_memory(learner_for, lessons, backbone):
    """One memory of M rows over the images of every class so far."""
    joint = learner_for("joint")
    one, two = lessons["textile"], lessons["machined_part"]
    first = joint.learn(one)
    second = joint.learn(replace(two, earlier=(one.experience,)))
    (memory,) = joint.detector_of([first, second]).memories
    assert (120, backbone.dim) == memory.rows.shape
    images = [*one.experience.images(), *two.experience.images()]
    counts = [len(one.experience), len(two.experience)]
    both, _ = joint.memorise(backbone.features(images), counts)
    # In one batch instead of several, which changes the last bits, and so a step of the grid here and there.
    assert np.abs(unpacked(both, "rows") - memory.rows).max() <= 1.01 * both["rows_grid"][1].max()
    assert not np.array_equal(joint.learn(two).entry["rows"], second.entry["rows"])
    _assert_classes_of_rows(second.entry, backbone.features(images), counts)
    assert "classes" not in first.entry


def _assert_classes_of_rows(entry, features, counts):
    """Each row is a patch of an image of the class that it is said to be of."""
    owners = np.repeat(np.arange(len(counts)), counts)
    for place in range(len(counts)):
        patches = features[owners == place].reshape(-1, features.shape[2])
        mine = {**entry, "rows": entry["rows"][entry["classes"] == place]}
        assert len(patches_behind(mine, "rows", patches)) > 0


def test_replay_rehearses_the_classes_before_from_a_bounded_buffer(learner_for, lessons, backbone):
    """N images in all, shared alike, of every class the first that were drawn; each memory is made with them."""
    replay = learner_for("replay", "replay.knowledge.buffer=7")
    learned = []
    for name in NAMES:
        before = learned[-1].carry if learned else {}
        learned.append(replay.learn(lessons[name], before))
        kept = learned[-1].carry
        share = 7 // len(learned)
        assert [share] * len(learned) == kept["counts"].tolist()
        for place, state in enumerate(learned):
            mine = kept["images"][place * share : (place + 1) * share]
            np.testing.assert_array_equal(state.entry["images"][:share], mine)
    resize = backbone.preprocess.resize
    own = [resize(image).tobytes() for image in lessons["textile"].experience.images()]
    assert all(image.tobytes() in own for image in learned[0].entry["images"])
    # Two buffered images of the first class beside the eight of the second.
    features = backbone.features([*learned[0].carry["images"], *lessons["machined_part"].experience.images()])
    counts = [*learned[0].carry["counts"].tolist(), len(lessons["machined_part"].experience)]
    expected, _ = replay.memorise(features, counts)
    np.testing.assert_array_equal(expected["rows"], learned[1].entry["rows"])
    _assert_classes_of_rows(learned[1].entry, features, counts)
    detector = replay.detector_of(learned)
    assert (120 + 2 * 4) * backbone.dim + sum(
        a.nbytes for a in learned[-1].carry.values()
    ) == detector.bank_bytes
    assert {} == detector.bytes_by_class


def test_a_buffer_smaller_than_the_stream_still_knows_whose_a_row_is(learner_for, lessons):
    """Of a class that has no room nothing is rehearsed; the classes after it keep their places."""
    replay, before = learner_for("replay", "replay.knowledge.buffer=1"), {}
    for name in NAMES:
        state = replay.learn(lessons[name], before)
        before = state.carry
    assert [1, 0, 0] == before["counts"].tolist()
    assert {0, 2} == set(state.entry["classes"].tolist())


def test_methods_share_no_parameters(learner_for):
    """What one is set to changes nothing of another's group."""
    one = learner_for("patchcore_cl").params
    two = learner_for("patchcore_cl", "ucad.knowledge.rows=99", "separate.knowledge.budget=50").params
    assert one.patchcore_cl == two.patchcore_cl
    assert yaml.safe_dump(one.ucad.model_dump(mode="json")) != yaml.safe_dump(
        two.ucad.model_dump(mode="json")
    )
