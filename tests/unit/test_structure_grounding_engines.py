"""Both implementations of Grounding DINO, on small networks of the real architectures; never with weights nobody gave."""

import socket
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evernorm.errors import MachineError, WeightsError
from evernorm.params.groups import Device, GroundingParams, MaskParams, StructureKind
from evernorm.structure.grounding.architecture import architecture_of
from evernorm.structure.grounding.sources import load_detector
from evernorm.structure.segmenter import build_segmenter
from tests.helpers.grounding import hub_model, package_state, save_hub_model, save_tiny_bert, small_hub_model

CPU = torch.device("cpu")
PHRASES = ("metal nut", "screws", "a part")
ENGINES = ["transformers", "groundingdino"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tokenizer and a configuration of BERT."""
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def state(bert):
    """The tensors of a small groundingdino."""
    return package_state(bert)


@pytest.fixture(scope="module")
def checkpoints(bert, state, tmp_path_factory):
    """The same weights for both engines; the file as the published one is: wrapped, named by what trained it, with
    tensors that the model has not."""
    folder = tmp_path_factory.mktemp("same")
    more = {"label_enc.weight": torch.zeros(3, 4), "bert.embeddings.position_ids": torch.arange(512)[None]}
    torch.save(
        {"model": {f"module.{name}": each for name, each in {**state, **more}.items()}, "epoch": 3},
        folder / "any_name.pth",
    )
    hub = save_hub_model(hub_model(state), bert, folder / "hub")
    return {"transformers": str(hub), "groundingdino": str(folder / "any_name.pth")}


@pytest.fixture(scope="module")
def small(bert, tmp_path_factory):
    """A directory of transformers that is small."""
    return save_hub_model(small_hub_model(), bert, tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def image():
    """A photograph's stand-in, 90 × 100."""
    return np.random.default_rng(0).integers(0, 255, (90, 100, 3)).astype(np.uint8)


def params(engine, checkpoint, bert="nowhere/bert", **more):
    return GroundingParams(
        engine=engine, checkpoint=str(checkpoint), text_encoder=str(bert), size=224, **more
    )


def load(engine, checkpoint, bert="nowhere/bert"):
    return load_detector(params(engine, checkpoint, bert), PHRASES, CPU)


@pytest.fixture(scope="module")
def detectors(checkpoints, bert):
    """Both engines with the same weights, loaded without network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
        return {engine: load(engine, checkpoints[engine], bert) for engine in ENGINES}


# -- answers ------------------------------------------------------------------------------------------


def test_both_engines_give_the_same_answer_with_the_same_weights(detectors, image):
    """Boxes, probabilities and whose the tokens are; so a threshold means the same for both."""
    one, other = (detectors[engine] for engine in ENGINES)
    np.testing.assert_array_equal(one.owners, other.owners)
    answers = one(image), other(image)
    assert (40, 4) == answers[0].boxes.shape
    assert (40, len(one.owners)) == answers[0].tokens.shape
    torch.testing.assert_close(answers[0].boxes, answers[1].boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(answers[0].tokens, answers[1].tokens, atol=1e-5, rtol=0)
    # They are alike because the networks are, not because nothing is said.
    assert answers[0].tokens.std(0).min() > 0.05
    assert answers[0].boxes.std(0).min() > 0.05
    told = one(image[:, ::-1].copy())
    assert (told.tokens - answers[0].tokens).abs().max() > 0.01


def test_the_answer_is_that_of_transformers_called_by_its_own_processor(detectors, checkpoints, image):
    """The same caption, the same pixels; here the image needs no resizing, in which they differ by rounding."""
    from transformers import AutoTokenizer, GroundingDinoImageProcessor, GroundingDinoProcessor

    image = np.tile(image, (3, 3, 1))[:224, :260]
    detector = detectors["transformers"]
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 224, "longest_edge": 1333}),
        AutoTokenizer.from_pretrained(checkpoints["transformers"]),
    )
    with torch.inference_mode():
        expected = detector.model(**processor(images=image, text=[list(PHRASES)], return_tensors="pt"))
    found = detector(image)
    torch.testing.assert_close(found.boxes, expected.pred_boxes[0], atol=1e-4, rtol=0)
    tokens = expected.logits[0].sigmoid()
    torch.testing.assert_close(found.tokens, tokens[:, : len(detector.owners)], atol=1e-4, rtol=0)
    assert not tokens[:, len(detector.owners) :].any()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_image_has_the_same_answer(detectors, image, engine):
    """To the bit, whatever was searched in between."""
    first = detectors[engine](image)
    detectors[engine](image[::-1].copy())
    again = detectors[engine](image)
    assert torch.equal(first.boxes, again.boxes)
    assert torch.equal(first.tokens, again.tokens)


@pytest.mark.parametrize("shape", [(1, 1), (2, 400), (300, 1)])
def test_slivers_of_images_are_searched(small, shape):
    """Queries are chosen among patches, of which there must be enough."""
    assert (40, 4) == load("transformers", small)(np.zeros((*shape, 3), np.uint8)).boxes.shape


# -- the package --------------------------------------------------------------------------------------


def test_the_package_is_left_as_it_is_and_silent(checkpoints, bert, capfd):
    """Its functions are its own again, also after a failure; nothing is printed while its model is built."""
    import groundingdino.models.GroundingDINO.groundingdino as package
    from groundingdino.util import get_tokenlizer as text

    def own():
        return package.BertModelWarper, text.get_tokenlizer, text.get_pretrained_language_model

    before = own()
    assert all(each.__module__.startswith("groundingdino.") for each in before)
    load("groundingdino", checkpoints["groundingdino"], bert)
    assert before == own()
    assert ("", "") == tuple(capfd.readouterr())


def test_every_tensor_arrives_also_where_one_name_stands_for_several(state, bert, tmp_path):
    """A .safetensors file holds what decoder layers share once."""
    once = {
        name: each.contiguous()
        for name, each in state.items()
        if not name.startswith("transformer.decoder.bbox")
    }
    once = {name: each for name, each in once.items() if not name.startswith("bbox_embed.1")}
    save_file(once, tmp_path / "g.safetensors")
    loaded = load("groundingdino", tmp_path / "g.safetensors", bert).model
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.parametrize(
    ("width", "window", "name"),
    [(96, 7, "swin_T_224_1k"), (128, 12, "swin_B_384_22k"), (192, 12, "swin_L_384_22k")],
)
def test_the_architecture_is_read_from_the_tensors(width, window, name):
    """The published ones by width and window; layers, queries and levels by what there is."""
    blocks = "backbone.0.layers.0.blocks.0.attn.relative_position_bias_table"
    shapes = {
        "backbone.0.patch_embed.proj.weight": (width, 3, 4, 4),
        blocks: ((2 * window - 1) ** 2, 3),
        **{f"backbone.0.norm{n}.weight": (1,) for n in (1, 2, 3)},
        **{f"input_proj.{n}.0.weight": (1,) for n in range(4)},
        **{f"transformer.encoder.layers.{n}.linear1.weight": (2048, 256) for n in range(6)},
        **{f"transformer.decoder.layers.{n}.norm1.weight": (256,) for n in range(5)},
        "transformer.tgt_embed.weight": (900, 256),
    }
    assert {
        "backbone": name,
        "return_interm_indices": [1, 2, 3],
        "num_feature_levels": 4,
        "enc_layers": 6,
        "dec_layers": 5,
        "dim_feedforward": 2048,
        "num_queries": 900,
    } == architecture_of({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})


@pytest.mark.parametrize("module", ["groundingdino.models.GroundingDINO.groundingdino", "addict"])
def test_without_the_package_it_is_said_how_to_install_it(module, checkpoints, monkeypatch):
    """Or what it needs; the other engine needs neither."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "groundingdino"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    said = rf"{module.partition('.')[0]} is not installed: `pip install --no-deps groundingdino-py==0\.4\.0`"
    with pytest.raises(MachineError, match=said):
        load("groundingdino", checkpoints["groundingdino"])


# -- weights that are missing or do not fit -----------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "checkpoint", "said"),
    [
        ("transformers", "", "is empty"),
        ("groundingdino", "", "is empty"),
        ("transformers", "nowhere/dino.pth", "is no directory"),
        ("transformers", "/a/b/c", "is no directory"),
        ("transformers", "dino", "is no directory"),
        ("transformers", __file__, "is a file, which the engine groundingdino reads"),
        ("groundingdino", "nowhere/dino.pth", "is no file"),
        ("groundingdino", "IDEA-Research/grounding-dino-tiny", "is no file"),
    ],
)
def test_without_weights_there_is_no_grounding(engine, checkpoint, said):
    """The message names the ways to get them."""
    masks = MaskParams(structure=StructureKind.GROUNDED_SAM, grounding=params(engine, checkpoint))
    with pytest.raises(
        WeightsError, match=rf"{said}.*directory.*grounding-dino-tiny.*swint_ogc\.pth.*superpixels"
    ):
        build_segmenter(masks, "metal", Device.CPU)


def test_a_hub_out_of_reach_says_what_else_there_is(monkeypatch):
    """A hub name goes to transformers, which may ask the network; its failure is told with the other ways."""
    import transformers

    def fail(name, *, local_files_only, **_):
        assert not local_files_only
        raise OSError(f"no network for {name}")

    monkeypatch.setattr(transformers.GroundingDinoForObjectDetection, "from_pretrained", fail)
    with pytest.raises(WeightsError, match=r"no network for IDEA-Research/grounding-dino-tiny.*superpixels"):
        load("transformers", "IDEA-Research/grounding-dino-tiny")


@pytest.mark.parametrize("broken", ["a tensor is missing", "another shape", "no tokenizer"])
def test_an_unfitting_directory_is_refused(small, tmp_path, broken):
    """transformers would fill what is missing at random and only warn."""
    for file in small.iterdir():
        if broken != "no tokenizer" or not file.name.startswith("tokenizer"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    if broken != "no tokenizer":
        tensors = load_file(small / "model.safetensors")
        found = tensors.pop("model.text_projection.bias")
        if broken == "another shape":
            tensors["model.text_projection.bias"] = found[1:].clone()
        save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    said = {
        "a tensor is missing": r"lacks 1 tensors of Grounding DINO \(model.text_projection.bias",
        "another shape": "cannot be loaded by transformers",
        "no tokenizer": f"{tmp_path} has no tokenizer",
    }
    with pytest.raises(WeightsError, match=said[broken]):
        load("transformers", tmp_path)


@pytest.mark.parametrize("broken", ["a tensor is missing", "another shape", "another text encoder"])
def test_an_unfitting_file_is_refused(state, bert, tmp_path, broken):
    """With how many tensors, and which."""
    tensors = dict(state)
    name = "bert.embeddings.word_embeddings.weight" if "text" in broken else "feat_map.weight"
    found = tensors.pop(name)
    if "missing" not in broken:
        tensors[name] = found[1:].clone()
    torch.save(tensors, tmp_path / "g.pth")
    said = rf"g\.pth lacks 1 of the \d+ tensors.*\({name}.*masks\.grounding\.text_encoder says"
    with pytest.raises(WeightsError, match=said):
        load("groundingdino", tmp_path / "g.pth", bert)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"conv1.weight": torch.zeros(4, 3, 7, 7)}, "has no backbone"),
        ([torch.zeros(3)], "holds a list"),
        (
            {
                "backbone.0.patch_embed.proj.weight": torch.zeros(48, 3, 4, 4),
                "backbone.0.layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(169, 3),
                "transformer.encoder.layers.0.linear1.weight": torch.zeros(8, 8),
                "transformer.tgt_embed.weight": torch.zeros(8, 8),
            },
            "width 48 and windows of 7; expected one of 96 and 7,",
        ),
    ],
)
def test_another_networks_file_is_refused(tmp_path, tensors, said):
    """With what was found and how to get the right one."""
    torch.save(tensors, tmp_path / "g.pth")
    with pytest.raises(WeightsError, match=rf"{said}.*Set masks\.grounding\.checkpoint"):
        load("groundingdino", tmp_path / "g.pth")


def test_a_file_with_code_in_it_is_refused(tmp_path):
    """Only tensors are read; a pickle that would run code is not."""

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"w": Bomb()}, tmp_path / "g.pth")
    with pytest.raises(WeightsError, match="cannot be read as tensors"):
        load("groundingdino", tmp_path / "g.pth")
    assert not (tmp_path / "ran").exists()


def test_a_text_encoder_that_is_not_there_is_told(checkpoints, tmp_path):
    """An empty directory here; the message says what belongs into it."""
    with pytest.raises(WeightsError, match=r"(?s)text_encoder.*cannot be loaded.*tokenizer and config\.json"):
        load("groundingdino", checkpoints["groundingdino"], tmp_path)
