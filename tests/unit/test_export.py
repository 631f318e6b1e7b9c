"""A bank as one graph: it answers as `predict` does, where neither evernorm nor torch is installed."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from evernorm.errors import ParamsError, StateError
from evernorm.export.file import Format, about_exported, export_bank, is_export_of
from evernorm.export.resizing import resizing
from evernorm.export.whole import graph_of, refusals
from evernorm.features.preprocess import Preprocess
from evernorm.methods.bank import bank_digest, save_bank

NAMES = ("textile", "machined_part", "blue_textile")
ASKED = """
import json, sys
import numpy as np
sys.modules.update(dict.fromkeys(("evernorm", "torch", "timm", "onnx", "openvino_telemetry")))
images = np.load(sys.argv[2])
if sys.argv[1].endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(sys.argv[1])
    names = [each.name for each in session.get_outputs()]
    answers = [dict(zip(names, session.run(names, {"image": image}))) for image in images]
else:
    import openvino
    compiled = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [each.get_any_name() for each in compiled.outputs]
    answers = [dict(zip(names, compiled([image]).to_tuple())) for image in images]
print(json.dumps([{name: np.asarray(value).tolist() for name, value in each.items()} for each in answers]))
"""


@pytest.fixture(scope="module")
def states(learner_for, lessons):
    """Three classes, learned once."""
    patchcore = learner_for("patchcore_cl")
    return [patchcore.learn(lessons[name]) for name in NAMES]


@pytest.fixture(scope="module")
def images(drawn) -> list[np.ndarray]:
    """Good and defective ones of all classes, of one size that is not the network's."""
    cloth, metal = (
        [*drawn(kind, 2, seed=7), *drawn(kind, 2, seed=8, defect=defect)]
        for kind, defect in (("textile", "hole"), ("machined_part", "scratch"))
    )
    return [*cloth, *metal, *(np.ascontiguousarray(image[..., ::-1]) for image in cloth)]


@pytest.fixture(scope="module")
def stored(learner_for, states, tmp_path_factory):
    """The bank on disk."""
    folder = tmp_path_factory.mktemp("bank")
    save_bank(learner_for("patchcore_cl").detector_of(states), folder)
    return folder


def assert_alike(detector, images, answers):
    """Class, decision, score and threshold as `predict` has them; the map where it is of the image's size."""
    for image, expected, found in zip(images, detector.predict(images), answers, strict=True):
        assert (expected.routed_class, expected.anomalous) == (
            detector.classes[int(found["class"])],
            bool(found["anomalous"]),
        )
        for what in ("score", "threshold", "map_threshold"):
            assert getattr(expected, what) == pytest.approx(float(found[what]), rel=1e-3, abs=1e-3)
        spots = np.asarray(found["map"])
        assert spots.max() == pytest.approx(expected.map.max(), rel=0.1)
        if image.shape[:2] == spots.shape:
            np.testing.assert_allclose(expected.map, spots, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("kind", Format)
def test_it_answers_as_predict_does_with_neither_evernorm_nor_torch(
    kind, stored, learner_for, states, images, tmp_path
):
    file, *_ = export_bank(stored, tmp_path, kind, images[0].shape[:2], None)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", ASKED, str(file), str(tmp_path / "images.npy")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert_alike(learner_for("patchcore_cl").detector_of(states), images, json.loads(said))


@pytest.mark.parametrize(
    "setting",
    ["evaluate.candidates=0", "evaluate.candidates=1", "evaluate.routing=max", "knowledge.storage=float32"],
)
def test_it_does_what_the_parameters_say(setting, learner_for, lessons, states, images):
    patchcore = learner_for("patchcore_cl", f"patchcore_cl.{setting}")
    known = states if "storage" not in setting else [patchcore.learn(lessons[name]) for name in NAMES]
    detector = patchcore.detector_of(known)
    side = detector.learner.backbone.preprocess.size
    resized = [detector.learner.backbone.preprocess.resize(image) for image in images]
    session = onnxruntime.InferenceSession(graph_of(detector, (side, side)).SerializeToString())
    names = [each.name for each in session.get_outputs()]
    answers = [dict(zip(names, session.run(names, {"image": image}), strict=True)) for image in resized]
    assert_alike(detector, resized, answers)


def test_a_bank_of_one_class_that_torch_is_to_run(learner_for, states, images, tmp_path):
    """On both engines."""
    detector = learner_for("patchcore_cl", "features.engine=torch").detector_of(states[:1])
    save_bank(detector, tmp_path / "bank")
    assert not [*(tmp_path / "bank").glob("*.onnx")]
    np.save(tmp_path / "images.npy", images)
    for kind in Format:
        file, *_ = export_bank(tmp_path / "bank", tmp_path, kind, images[0].shape[:2], None)
        command = [sys.executable, "-c", ASKED, str(file), str(tmp_path / "images.npy")]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert_alike(detector, images, json.loads(said))


pixels = st.integers(1, 300)


@settings(max_examples=40, deadline=None)
@given(
    pixels, pixels, st.integers(16, 300), st.sampled_from(["bilinear", "bicubic"]), st.integers(0, 2**32 - 1)
)
def test_an_image_is_resized_as_pillow_does_to_the_last_bit(height, width, side, interpolation, seed):
    preprocess = Preprocess(side, (0, 0, 0), (1, 1, 1), interpolation)
    nodes, tables = resizing(preprocess, (height, width))
    named = ", ".join(f"float{list(table.shape) or ''} {name}" for name, table in tables.items())
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> resize (uint8[{height}, {width}, 3] image, {named}) => '
        f"(uint8[1, {side}, {side}, 3] resized) {{ {nodes} }}"
    )
    del model.graph.input[1:]
    model.graph.initializer.extend(numpy_helper.from_array(table, name) for name, table in tables.items())
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": image})
    np.testing.assert_array_equal(preprocess.resize(image), found[0])


@pytest.mark.parametrize("kind", Format)
def test_a_file_says_what_it_is_and_is_told_from_another(kind, stored, images, tmp_path):
    shape = images[0].shape[:2]
    file, *others = export_bank(stored, tmp_path / "a", kind, shape, ("bank", "3"))
    about = about_exported(file)
    assert list(NAMES) == [each["name"] for each in about["classes"]]
    assert (*shape, bank_digest(stored), "bank", "3") == tuple(
        about[key] for key in ("height", "width", "bank", "model", "version")
    )
    assert is_export_of(file, stored, ("bank", "3"), tmp_path / "b")
    assert not is_export_of(file, stored, ("bank", "4"), tmp_path / "c")
    if others:
        content = bytearray(others[0].read_bytes())
        content[len(content) // 2] ^= 1
        others[0].write_bytes(content)
    else:
        model = onnx.load(file)
        (table,) = (each for each in model.graph.initializer if each.name == "raw_thresholds")
        table.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(table) + 1, "raw_thresholds"))
        onnx.save(model, file)
    assert not is_export_of(file, stored, ("bank", "3"), tmp_path / "d")


def test_what_no_graph_can_do_is_refused(learner_for, lessons, stored, tmp_path):
    aligned = learner_for("patchcore_cl", "patchcore_cl.knowledge.score=max", "calibration.alignment=cada_a")
    detector = aligned.detector_of([aligned.learn(lessons[name]) for name in NAMES[:2]])
    with pytest.raises(ParamsError) as caught:
        graph_of(detector, (64, 64))
    assert (
        "patchcore_cl.knowledge.score is max; top can be exported",
        "calibration.alignment is cada_a; weibull and none can be exported",
    ) == caught.value.faults
    finetune = learner_for("finetune")
    assert ["method is finetune; patchcore_cl and separate can be exported"] == refusals(
        finetune.detector_of([finetune.learn(lessons["textile"])])
    )
    assert ["the bank is empty; learn a class first"] == refusals(learner_for("patchcore_cl").detector_of([]))


@pytest.mark.parametrize("name", ["detector.onnx", "detector.xml", "notes.txt"])
def test_a_file_that_is_none_is_told(name, tmp_path):
    (tmp_path / name).write_text("nothing")
    with pytest.raises(StateError, match=f"{name} is no bank that `evernorm export` wrote"):
        about_exported(tmp_path / name)
