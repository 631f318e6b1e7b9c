"""UCAD: keys that route, prompts that adapt, knowledge that scores, products it never learned."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from evernorm.calibration.weibull import Calibrations, calibrate
from evernorm.data import synthetic
from evernorm.data.experience import TestView
from evernorm.data.manifest import Record
from evernorm.errors import ParamsError, StateError
from evernorm.evaluation.judge import TestClass, judge, report
from evernorm.features.backbone import build_backbone
from evernorm.methods.memory.patchcore_cl import PatchCoreCL
from evernorm.methods.memory.ucad import Ucad
from evernorm.methods.presets import load_bank
from evernorm.params.groups import Device, FeatureParams, KnowledgeParams, PromptKind, PromptParams, Stopping
from evernorm.prompts.prompt import Prompt

NAMES = ("textile", "machined_part")
NOTHING = np.empty((8, 0), np.float32)  # known of routing statistics


@pytest.fixture(scope="module")
def chosen(settings):
    """40 keys and 60 rows a class, two epochs of training."""
    return replace(
        settings,
        knowledge=KnowledgeParams(rows=60, keys=40),
        prompts=PromptParams(epochs=2, batch_size=4, learning_rate=0.01, stopping=Stopping.LAST),
    )


@pytest.fixture(scope="module")
def learned(backbone, chosen, experiences):
    """UCAD after cloth and metal."""
    detector = Ucad(backbone, chosen)
    for name in NAMES:
        detector.learn(experiences[name])
    return detector


def squeezed(picture):
    """The whole frame on 200 rows: the backbone, which takes squares, sees nearly the same."""
    return picture[np.arange(200) * 256 // 200]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Four good and four defective test images of each class, on disk, not square."""
    root = tmp_path_factory.mktemp("tests")
    views = {}
    for kind in NAMES:
        rng, records = np.random.default_rng([5, len(kind)]), []
        (root / kind).mkdir()
        for number, defect in enumerate([None, synthetic.DEFECTS[kind][0]] * 4):
            image, mask = synthetic.draw(kind, rng, defect)
            for name, picture in ((f"{number}.png", image), (f"{number}_mask.png", mask)):
                Image.fromarray(squeezed(picture)).save(root / kind / name)
            records.append(
                Record(
                    path=f"{number}.png",
                    split="test",
                    label="anomalous" if defect else "good",
                    defect=defect or "good",
                    mask=f"{number}_mask.png" if defect else None,
                    mask_sha256="0" * 64 if defect else None,
                    sha256="0" * 64,
                    size=1,
                    width=256,
                    height=200,
                )
            )
        views[kind] = TestView(kind, root / kind, tuple(records))
    return views


def read_all(view):
    return [view.read(number) for number in range(len(view))]


def with_margin(detector, margin):
    """The same bank with another margin before an image is called unknown."""
    weibull = detector.settings.weibull.model_copy(update={"unknown_margin": margin})
    return Ucad(detector.backbone, replace(detector.settings, weibull=weibull), detector.remembered)


def with_swapped_keys(detector):
    """A bank in which every image goes to the other class."""
    one, two = detector.remembered
    swapped = [
        known._replace(entry=replace(known.entry, keys=other.entry.keys))
        for known, other in ((one, two), (two, one))
    ]
    return Ucad(detector.backbone, detector.settings, swapped)


def bytes_of(remembered):
    """Everything a class left, byte by byte."""
    values = remembered.prompt.values if remembered.prompt else {}
    arrays = [remembered.entry.rows, remembered.entry.keys, *values.values()]
    calibrations = remembered.calibrations
    return (
        [array.tobytes() for array in arrays],
        [step.to_json() for step in calibrations.steps],
        calibrations.routing.to_json(),
    )


def assert_same(one, two):
    """Bit by bit the same predictions, NaN for NaN."""
    for a, b in zip(one, two, strict=True):
        assert (a.routed_class, a.anomalous) == (b.routed_class, b.anomalous)
        for what in ("score", "probability", "p_value", "map", "map_threshold"):
            np.testing.assert_array_equal(getattr(a, what), getattr(b, what))


# -- judging ------------------------------------------------------------------------------------------


def test_images_find_their_class_and_defects_score_higher(learned, drawn):
    """Unseen images; the map has the image's own size."""
    for place, kind in enumerate(NAMES):
        good = learned.predict(drawn(kind, 4, seed=50 + place))
        defect = {"textile": "hole", "machined_part": "rust"}[kind]
        bad = learned.predict([squeezed(image) for image in drawn(kind, 4, seed=60 + place, defect=defect)])
        assert {kind} == {p.routed_class for p in [*good, *bad]}
        assert np.mean([p.score for p in bad]) > np.mean([p.score for p in good])
        assert {(256, 256)} == {p.map.shape for p in good}
        assert {(200, 256)} == {p.map.shape for p in bad}
        assert all(np.isfinite(p.map).all() for p in bad)


def test_predictions_do_not_depend_on_company(learned, drawn):
    """Classes mixed in one batch, in another order, one by one: the same answers."""
    images = [
        image for pair in zip(*(drawn(kind, 3, seed=7) for kind in NAMES), strict=True) for image in pair
    ]
    together = learned.predict(images)
    backwards = learned.predict(images[::-1])[::-1]
    assert 2 == len({p.routed_class for p in together})
    for image, one, two in zip(images, together, backwards, strict=True):
        for other in (two, *learned.predict([image])):
            assert (one.routed_class, one.anomalous) == (other.routed_class, other.anomalous)
            np.testing.assert_allclose(one.score, other.score, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(one.p_value, other.p_value, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(one.map, other.map, rtol=1e-4, atol=1e-3)


def test_an_image_is_scored_with_the_prompt_and_the_knowledge_of_its_class(learned, drawn):
    """Step by step: Eq. 4 on frozen features, the class's prompt, Eq. 5 in its knowledge."""
    images = [*drawn("machined_part", 2, seed=3), *drawn("textile", 2, seed=3)]
    begun, frozen = learned.network.begin(images)
    sums = [
        [cdist(known.entry.keys, image).min(axis=1).mean() for known in learned.remembered]
        for image in frozen
    ]
    place = np.argmin(sums, axis=1)
    assert [1, 1, 0, 0] == place.tolist()
    features = learned.network.finish(begun, [learned.remembered[each].prompt for each in place])
    distances = [
        cdist(image, learned.remembered[each].entry.rows).min(axis=1)
        for image, each in zip(features, place, strict=True)
    ]
    scored = learned.score(learned.see(images))
    np.testing.assert_array_equal(place, scored.place)
    np.testing.assert_allclose(scored.statistics, sums, rtol=1e-4)
    np.testing.assert_allclose(scored.distances, distances, rtol=1e-3, atol=1e-3)


def test_known_statistics_are_exact(learned, drawn):
    """What an earlier bank measured is taken as it is; only the new class is measured."""
    images = [*drawn("textile", 2, seed=3), *drawn("machined_part", 2, seed=3)]
    earlier = Ucad(learned.backbone, learned.settings, learned.remembered[:1])
    known = earlier.score(earlier.see(images)).statistics
    fresh = learned.score(learned.see(images))
    resumed = learned.score(learned.see(images), known)
    np.testing.assert_array_equal(fresh.statistics, resumed.statistics)
    np.testing.assert_array_equal(fresh.raw, resumed.raw)


# -- learning -----------------------------------------------------------------------------------------


def test_keys_are_the_farthest_points_of_the_frozen_features(learned, experiences):
    """Eq. 1: each key is a patch, the one farthest from all keys before it."""
    frozen = learned.backbone.features(list(experiences["textile"].images())).reshape(-1, 152)
    keys = learned.remembered[0].entry.keys
    assert (40, 152) == keys.shape
    between = cdist(frozen, keys)
    np.testing.assert_allclose(between.min(axis=0), 0, atol=1e-3)
    reach = np.minimum.accumulate(between, axis=1)
    for number in range(1, 40):
        chosen = between[:, number].argmin()
        assert reach[chosen, number - 1] == pytest.approx(reach[:, number - 1].max(), rel=1e-3)


def test_knowledge_is_made_of_prompted_features(learned, experiences):
    """Eq. 2: each row is a patch seen with the class's prompt, and no frozen one."""
    images = list(experiences["textile"].images())
    known = learned.remembered[0]
    begun, frozen = learned.network.begin(images)
    adapted = learned.network.finish(begun, [known.prompt] * len(images))
    assert (60, 152) == known.entry.rows.shape
    assert cdist(known.entry.rows, adapted.reshape(-1, 152)).min(axis=1).max() < 1e-3
    assert cdist(known.entry.rows, frozen.reshape(-1, 152)).min(axis=1).min() > 1e-2


def test_learning_another_class_leaves_the_first_as_it_was(learned, backbone, chosen, experiences, drawn):
    """Entry, keys, prompt, calibration and scores bit by bit; and the second does not depend on the first."""
    detector = Ucad(backbone, chosen, learned.remembered[:1])
    images = drawn("textile", 3, seed=11)
    before, scores = bytes_of(detector.remembered[0]), detector.score(detector.see(images))
    detector.learn(experiences["machined_part"])
    assert before == bytes_of(detector.remembered[0])
    assert bytes_of(learned.remembered[1]) == bytes_of(detector.remembered[1])
    after = detector.score(detector.see(images))
    np.testing.assert_array_equal(scores.place, after.place)
    np.testing.assert_array_equal(scores.raw, after.raw)
    np.testing.assert_array_equal(scores.distances, after.distances)
    np.testing.assert_array_equal(scores.statistics, after.statistics[:, :1])


def test_what_is_learned_and_what_is_derived_keep_step(learned, backbone, chosen, drawn):
    """A bank that was asked before it learned again answers like one that was not."""
    detector = Ucad(backbone, chosen)
    images = [*drawn("textile", 1, seed=3), *drawn("machined_part", 1, seed=3)]
    for known in learned.remembered:
        detector.append(known)
        detector.predict(images)
    assert_same(learned.predict(images), detector.predict(images))
    assert learned.memory_bytes == detector.memory_bytes


def test_memory_is_keys_rows_and_prompts(learned):
    """40 keys and 60 rows of 152 columns, and a prompt of one vector a block, for each of two classes."""
    prompt = sum(shape[0] for shape in learned.network.shapes.values())
    each = 4 * (40 * 152 + 60 * 152 + prompt)
    assert [each, each] == [learned.bytes_of(place) for place in range(2)]
    assert 2 * each == learned.memory_bytes
    assert 4 * prompt == learned.remembered[0].prompt.nbytes > 0


def test_a_class_cannot_be_learned_twice(learned):
    """It is refused before an image is read."""

    class Unreadable:
        name = "textile"

    with pytest.raises(StateError, match="'textile' is in the bank already"):
        learned.learn(Unreadable())


def foreign(known, change):
    """A class under another name, with something that does not fit."""
    prompt, entry = known.prompt, replace(known.entry, name="other")
    values = prompt.values
    return {
        "no keys": known._replace(entry=replace(entry, keys=None)),
        "narrow keys": known._replace(entry=replace(entry, keys=entry.keys[:, 1:])),
        "no prompt": known._replace(entry=entry, prompt=None),
        "fewer blocks": known._replace(
            entry=entry, prompt=Prompt(prompt.kind, dict(list(values.items())[1:]))
        ),
        "other widths": known._replace(
            entry=entry, prompt=Prompt(prompt.kind, {block: value[1:] for block, value in values.items()})
        ),
        "a prefix": known._replace(
            entry=entry,
            prompt=Prompt(PromptKind.PREFIX, {block: np.stack([[v], [v]]) for block, v in values.items()}),
        ),
    }[change]


@pytest.mark.parametrize(
    "change", ["no keys", "narrow keys", "no prompt", "fewer blocks", "other widths", "a prefix"]
)
def test_a_class_that_does_not_fit_is_refused(learned, backbone, chosen, change):
    """Whether it is appended or handed over, and nothing is remembered of it."""
    misfit = foreign(learned.remembered[0], change)
    detector = Ucad(backbone, chosen, learned.remembered)
    with pytest.raises(StateError, match="'other' lacks keys of 152 columns, or its prompts do not fit"):
        detector.append(misfit)
    assert NAMES == detector.classes
    with pytest.raises(StateError, match="'other' lacks keys of 152 columns, or its prompts do not fit"):
        Ucad(backbone, chosen, [misfit])


def test_a_backbone_that_takes_no_prompts_is_refused_at_once(chosen):
    """Before anything is learned."""
    convnext = build_backbone(FeatureParams(backbone="test_convnext", image_size=64, weights="random"))
    with pytest.raises(ParamsError, match="cannot take additive prompts"):
        Ucad(convnext, chosen)


# -- without prompts, with a prefix -------------------------------------------------------------------


def test_without_prompts_knowledge_is_a_coreset_of_frozen_features(chosen, experiences, drawn, tmp_path):
    """Kind `none` on a ConvNeXt: PatchCore's rows for each class, found by keys, through the disk and back."""
    convnext = build_backbone(FeatureParams(backbone="test_convnext", image_size=64, weights="random"))
    settings = replace(chosen, prompts=PromptParams(kind=PromptKind.NONE))
    detector = Ucad(convnext, settings)
    for name in NAMES:
        detector.learn(experiences[name])
    budget = settings.knowledge.model_copy(update={"budget": 60})
    reference = PatchCoreCL(convnext, replace(settings, knowledge=budget))
    for known in detector.remembered:
        entry, training = reference.build([experiences[known.entry.name]], known.entry.name)
        np.testing.assert_array_equal(entry.rows, known.entry.rows)
        expected = calibrate(training, settings.weibull).at(60).to_json()
        assert expected == known.calibrations.at(60).to_json()
    images = [*drawn("textile", 2, seed=3), *drawn("machined_part", 2, seed=3)]
    detector.save(tmp_path)
    assert_same(detector.predict(images), load_bank(tmp_path, Device.CPU).predict(images))
    assert detector.memory_bytes == 2 * 4 * convnext.dim * (40 + 60)


def test_prefix_prompts_on_a_transformer(tiny_vit, chosen, experiences, drawn, tmp_path):
    """Keys of level 2 before the first prompt at block 3, knowledge of both levels; stored and read back."""
    knowledge = chosen.knowledge.model_copy(update={"key_layers": (2,)})
    prompts = PromptParams(kind=PromptKind.PREFIX, length=2, first_block=3, epochs=1)
    detector = Ucad(tiny_vit, replace(chosen, knowledge=knowledge, prompts=prompts))
    for name in NAMES:
        detector.learn(experiences[name])
    assert {(40, 64)} == {known.entry.keys.shape for known in detector.remembered}
    assert {(60, 128)} == {known.entry.rows.shape for known in detector.remembered}
    images = [*drawn("textile", 2, seed=3), *drawn("machined_part", 2, seed=3)]
    assert [0, 0, 1, 1] == detector.score(detector.see(images)).place.tolist()
    detector.save(tmp_path)
    assert_same(detector.predict(images), load_bank(tmp_path, Device.CPU).predict(images))


# -- products it never learned ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noise():
    """An image of nothing."""
    return np.random.default_rng(0).integers(0, 256, (100, 120, 3)).astype(np.uint8)


@pytest.mark.parametrize("margin", [0, 0.5])
def test_an_unknown_product_has_no_class_and_no_figures(learned, noise, drawn, margin):
    """None, anomalous, NaN of the image's size; a class the bank knows is not taken for unknown."""
    detector = with_margin(learned, margin)
    unknown, known = detector.predict([noise, drawn("textile", 2, seed=50)[1]])
    assert (None, True) == (unknown.routed_class, unknown.anomalous)
    assert np.isnan([unknown.score, unknown.probability, unknown.p_value, unknown.map_threshold]).all()
    assert ((100, 120), np.float32) == (unknown.map.shape, unknown.map.dtype)
    assert np.isnan(unknown.map).all()
    assert known.routed_class == "textile"


def test_a_bank_of_one_class_knows_no_other_product_unless_the_tail_decides(learned, noise, drawn):
    """With a margin nothing tells how far another product would be; without one, cloth's tail does."""
    images = [noise, *drawn("machined_part", 2, seed=3)]
    alone = Ucad(learned.backbone, learned.settings, learned.remembered[:1])
    assert {"textile"} == {p.routed_class for p in alone.predict(images)}
    assert {None} == {p.routed_class for p in with_margin(alone, 0).predict(images)}


def test_the_rule_is_made_of_keys_and_tails(learned):
    """Tails from leave-one-out; row t: from the keys of class t to the nearest keys of the others."""
    rule = learned.unknown_rule
    keys = [known.entry.keys for known in learned.remembered]
    expected = [[cdist(mine, other).min(axis=1).mean() for other in keys] for mine in keys]
    np.testing.assert_allclose(rule.between, expected, rtol=1e-4, atol=1e-2)
    assert not np.isclose(*rule.between[[0, 1], [1, 0]], rtol=0.01)  # rows and columns are not the same
    np.testing.assert_array_equal(
        rule.tails, [known.calibrations.routing.threshold for known in learned.remembered]
    )


def test_routing_tails_come_from_images_left_out(learned, experiences):
    """The training images' distances to the keys of the others, by brute force."""
    entry, training = learned.build([experiences["textile"]], "textile", learned.remembered[0].prompt)
    frozen = learned.backbone.features(list(experiences["textile"].images()))
    source = cdist(entry.keys, frozen.reshape(-1, 152)).argmin(axis=1) // 64
    expected = [cdist(entry.keys[source != i], frozen[i]).min(axis=1).mean() for i in range(8)]
    np.testing.assert_allclose(training.routing, expected, rtol=1e-4)
    np.testing.assert_array_equal(entry.rows, learned.remembered[0].entry.rows)


# -- evaluation ---------------------------------------------------------------------------------------


def judged(detector, views, folder):
    """Outcomes from stored features."""
    for name, view in views.items():
        detector.store(view, folder / name)
    tests = [TestClass(view, detector.stored(view, folder / name), NOTHING) for name, view in views.items()]
    return judge(detector, tests, 0.3)


def assert_evaluated_like_predicted(detector, outcomes, views):
    """Place, scores, decisions and unknown products are those of serving the same images."""
    for outcome, view in zip(outcomes, views.values(), strict=True):
        predictions = detector.predict(read_all(view))
        np.testing.assert_array_equal(outcome.unknown, [p.routed_class is None for p in predictions])
        np.testing.assert_array_equal(outcome.decisions, [p.anomalous for p in predictions])
        known = ~outcome.unknown
        for what, values in (("score", outcome.scores), ("probability", outcome.probabilities)):
            expected = np.array([getattr(p, what) for p in predictions])
            np.testing.assert_allclose(values[known], expected[known], rtol=1e-4, atol=1e-4)
        assert [p.routed_class for p in predictions if p.routed_class] == [
            detector.classes[place] for place in outcome.place[known]
        ]


def test_evaluation_says_what_predict_says_and_sees_no_image_again(learned, views, tmp_path, monkeypatch):
    """Stored features lead to the figures of serving the same images; no backbone is needed for it."""
    for name, view in views.items():
        learned.store(view, tmp_path / name)
    tests = [TestClass(view, learned.stored(view, tmp_path / name), NOTHING) for name, view in views.items()]
    with monkeypatch.context() as patched:
        patched.setattr(learned, "see", lambda _images: pytest.fail("an image was seen again"))
        outcomes, pooled = judge(learned, tests, 0.3)
    assert_evaluated_like_predicted(learned, outcomes, views)
    for outcome in outcomes:
        np.testing.assert_array_equal(outcome.scores, outcome.oracle_scores)
    figures = report(learned, outcomes, pooled)
    assert 1.0 == figures["routing_accuracy"]
    assert sum(each["bytes"] for each in figures["per_class"].values()) == learned.memory_bytes
    for outcome in outcomes:
        called = outcome.unknown[~outcome.labels].mean()
        assert called == figures["unknown"]["per_class"][outcome.name]["good_rate"]


def test_images_that_go_astray_are_seen_with_the_other_prompt(learned, views, tmp_path):
    """Evaluated like predicted; with the class given, they are scored as if they had not strayed."""
    swapped = with_swapped_keys(learned)
    outcomes, _ = judged(swapped, views, tmp_path)
    assert [{1}, {0}] == [set(outcome.place) for outcome in outcomes]
    assert_evaluated_like_predicted(swapped, outcomes, views)
    at_home, _ = judged(learned, views, tmp_path / "home")
    for astray, home in zip(outcomes, at_home, strict=True):
        np.testing.assert_allclose(astray.oracle_scores, home.scores, rtol=1e-4, atol=1e-4)
        assert astray.oracle_pixels == home.pixels
        assert not np.allclose(astray.scores, home.scores, atol=0.1)


def test_only_images_that_go_astray_pass_the_backbone_again(learned, views, tmp_path, monkeypatch):
    """Each with the prompt of the class it goes to; what is stored stays as it is."""
    view, read = views["textile"], Counter()
    learned.store(view, tmp_path)
    block = learned.stored(view, tmp_path).block(slice(2, 8))
    original = TestView.read

    def counting(self, index):
        read.update([index])
        return original(self, index)

    monkeypatch.setattr(TestView, "read", counting)
    place = np.array([0, 1, 0, 0, 1, 0])
    adapted = block.adapted(place)
    assert {3: 1, 6: 1} == read
    expected = learned.see(read_all(view)[2:]).adapted(place)
    np.testing.assert_allclose(adapted, expected, rtol=1e-4, atol=1e-3)
    own = np.load(tmp_path / "adapted.npy")[2:]
    np.testing.assert_array_equal(own, block.adapted(np.zeros(6, np.int64)))
    assert not np.allclose(own[1], adapted[1], atol=0.01)


def test_an_unknown_product_is_an_alarm_in_the_evaluation_too(learned, views, tmp_path):
    """Where every image lies in the tail, every image is one: so serving would say."""
    remembered = [
        known._replace(
            calibrations=Calibrations(
                known.calibrations.steps, replace(known.calibrations.routing, threshold=0.0)
            )
        )
        for known in learned.remembered
    ]
    detector = with_margin(Ucad(learned.backbone, learned.settings, remembered), 0)
    outcomes, pooled = judged(detector, views, tmp_path)
    assert all(outcome.unknown.all() for outcome in outcomes)
    assert_evaluated_like_predicted(detector, outcomes, views)
    figures = report(detector, outcomes, pooled)
    assert (1.0, 1.0, 1.0) == tuple(
        figures["unknown"][rate] for rate in ("recognised", "good_rate", "defective_rate")
    )
    assert {1.0} == {each["false_alarm_rate"] for each in figures["per_class"].values()}


def test_a_class_without_test_images_leaves_empty_features(learned, views, tmp_path):
    """Of the right shapes, and nothing is read."""
    empty = replace(views["textile"], records=())
    learned.store(empty, tmp_path)
    assert (0, 64, 152) == np.load(tmp_path / "test.npy").shape == np.load(tmp_path / "adapted.npy").shape
    test = TestClass(empty, learned.stored(empty, tmp_path), NOTHING[:0])
    (outcome,), _ = judge(learned, [test], 0.3)
    assert (0, 2) == outcome.statistics.shape


# -- on disk ------------------------------------------------------------------------------------------


def test_a_stored_bank_answers_the_same_and_can_go_on(learned, experiences, drawn, tmp_path):
    """Save, load: the same predictions and the same files bit by bit; then it learns a third class."""
    learned.save(tmp_path / "a")
    loaded = load_bank(tmp_path / "a", Device.CPU)
    assert (Ucad, learned.classes, learned.memory_bytes) == (
        type(loaded),
        loaded.classes,
        loaded.memory_bytes,
    )
    images = [*drawn("textile", 2, seed=9), *drawn("machined_part", 2, seed=9)]
    assert_same(learned.predict(images), loaded.predict(images))
    loaded.save(tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    before = [bytes_of(known) for known in learned.remembered]
    loaded.learn(experiences["blue_textile"])
    assert before == [bytes_of(known) for known in loaded.remembered[:2]]
    assert (*NAMES, "blue_textile") == loaded.classes


@pytest.mark.parametrize(
    "lost", ["keys.safetensors", "prompts/textile/prompt.safetensors", "prompts/textile"]
)
def test_a_bank_that_lost_a_part_is_refused(learned, tmp_path, lost):
    """It is not routed by fewer classes, or seen without a prompt."""
    learned.save(tmp_path)
    place = tmp_path / lost
    for path in [*place.iterdir()] if place.is_dir() else [place]:
        path.unlink()
    if place.is_dir():
        place.rmdir()
    with pytest.raises(StateError):
        load_bank(tmp_path, Device.CPU)


def test_an_empty_bank_says_so(backbone, chosen, noise):
    """No class, no answer."""
    with pytest.raises(StateError, match="the bank is empty"):
        Ucad(backbone, chosen).predict([noise])
