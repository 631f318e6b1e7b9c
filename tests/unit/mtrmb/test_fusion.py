"""Cross-modal attention (MTRMB Eq. 3 and 4) against loops, and a fusion that learned nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evernorm.prompts.fusion import Text, attend, first_fusion, fuse, stacked
from evernorm.text.encoder import MOST_TOKENS, Tokens

RNG = np.random.default_rng(0)
PATCHES = RNG.normal(2, 3, (3, 5, 8)).astype(np.float32)
WORDS = RNG.normal(-1, 2, (7, 6)).astype(np.float32)


def text(words=WORDS, count=1):
    features = torch.from_numpy(words)[None].expand(count, -1, -1)
    return Text(features, torch.ones((count, 1, words.shape[0]), dtype=torch.bool))


def trained(seed=3):
    """Weights none of which is zero."""
    rng = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(rng.normal(0, 0.5, value.shape).astype(np.float32))
        for name, value in first_fusion(8, 6, 4, 0).items()
    }


def test_attention_is_its_formula():
    """softmax(Q Kᵀ / √w) V, query by query."""
    query, key, value = (RNG.normal(0, 1, shape) for shape in ((5, 4), (7, 4), (7, 3)))
    expected = []
    for each in query:
        weights = np.exp([each @ other / 2 for other in key])
        expected.append((weights[:, None] * value).sum(axis=0) / weights.sum())
    found = attend(*(torch.tensor(part)[None] for part in (query, key, value)))[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_fusion_that_learned_nothing_changes_nothing():
    """Bit by bit the unfused features, though patches read the words."""
    weights = {name: torch.from_numpy(value) for name, value in first_fusion(8, 6, 4, 0).items()}
    fused = fuse(torch.from_numpy(PATCHES), text(), weights)
    assert torch.equal(torch.from_numpy(PATCHES), fused.patches)
    assert fused.contexts.abs().min() > 0
    assert not first_fusion(8, 6, 0, 0)


def test_both_ways_take_part():
    """Patches change with the words, the words' part in them with the image: no weight is without effect."""
    weights = trained()
    before = fuse(torch.from_numpy(PATCHES), text(), weights).patches
    for name in weights:
        changed = {**weights, name: weights[name] * 1.5}
        assert not torch.allclose(
            before, fuse(torch.from_numpy(PATCHES), text(), changed).patches, atol=1e-4
        ), name
    assert not torch.allclose(
        before, fuse(torch.from_numpy(PATCHES), text(WORDS[::2]), weights).patches, atol=1e-3
    )


def test_every_weight_gets_a_gradient_once_the_way_back_is_open():
    """At first those back to patches and, through what patches read, those of the words."""
    weights = {name: value.requires_grad_() for name, value in trained().items()}
    fuse(torch.from_numpy(PATCHES), text(), weights).patches.square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in weights.values())


def test_what_is_padded_is_not_read_and_each_image_has_its_own_weights():
    """Images of two classes together give what each gives alone."""
    classes = [Tokens(("a",) * 7, WORDS), Tokens(("b",) * 3, WORDS[:3] * 2)]
    each = [trained(1), trained(2)]
    features, there = stacked([classes[0], classes[1], classes[0]])
    assert (3, MOST_TOKENS, 6) == features.shape
    together = fuse(
        torch.from_numpy(PATCHES),
        Text(torch.from_numpy(features), torch.from_numpy(there)),
        {name: torch.stack([each[0][name], each[1][name], each[0][name]]) for name in each[0]},
    ).patches
    for number, kind in enumerate((0, 1, 0)):
        alone = fuse(torch.from_numpy(PATCHES[[number]]), text(classes[kind].features), each[kind]).patches
        torch.testing.assert_close(together[[number]], alone, rtol=1e-4, atol=1e-4)


@given(st.permutations(range(7)))
def test_the_order_of_the_words_does_not_count(order):
    """Attention is over a set; only the encoder knows their order."""
    fused = fuse(torch.from_numpy(PATCHES), text(WORDS[list(order)]), trained()).patches
    torch.testing.assert_close(
        fused, fuse(torch.from_numpy(PATCHES), text(), trained()).patches, rtol=1e-4, atol=1e-4
    )


def test_first_weights_are_drawn_from_the_seed():
    """The same seed, the same bytes; unit gain into the common space, zeros back."""
    one, again, other = (first_fusion(400, 300, 16, seed) for seed in (0, 0, 1))
    assert {name: value.tobytes() for name, value in one.items()} == {
        n: v.tobytes() for n, v in again.items()
    }
    assert one["fusion.image_query"].tobytes() != other["fusion.image_query"].tobytes()
    assert pytest.approx(1 / 20, rel=0.1) == one["fusion.image_query"].std()
    assert not one["fusion.image_back"].any()
    assert not one["fusion.text_back"].any()
