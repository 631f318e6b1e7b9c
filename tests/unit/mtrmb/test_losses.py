"""MTRMB's Eq. 2 and Eq. 7 against sums written out, and what their gradients do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evernorm.prompts.cross_modal import cross_modal_loss, query_match

RNG = np.random.default_rng(0)
QUERIES, CONTEXTS = RNG.normal(0, 3, (2, 6, 4)), RNG.normal(0, 2, (2, 6, 4))
LABELS = RNG.integers(0, 3, (2, 6))


def cosine(one, two):
    return one @ two / np.sqrt((one @ one) * (two @ two))


def by_hand(queries, contexts, labels, temperature):
    """−log of the share of the own part in the softmax, patch by patch."""
    terms = []
    for patches, words, parts in zip(queries, contexts, labels, strict=True):
        for patch, part in zip(patches, parts, strict=True):
            weights = [np.exp(cosine(patch, word) / temperature) for word in words]
            own = sum(weight for weight, other in zip(weights, parts, strict=True) if other == part)
            terms.append(-np.log(own / sum(weights)))
    return np.mean(terms)


def cross(queries, contexts, labels, temperature=0.5):
    return cross_modal_loss(
        torch.as_tensor(queries), torch.as_tensor(contexts), torch.as_tensor(labels), temperature
    )


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_patches_against_words_is_the_sum_written_out(temperature):
    """Eq. 7, with the words as each patch reads them."""
    expected = by_hand(QUERIES, CONTEXTS, LABELS, temperature)
    assert expected == pytest.approx(cross(QUERIES, CONTEXTS, LABELS, temperature).item(), rel=1e-12)


def test_words_that_all_patches_read_alike_say_nothing():
    """The loss is that of a guess among the patches, whatever the words and the patches are."""
    same = np.repeat(CONTEXTS[:, :1], 6, axis=1)
    guess = -np.mean([np.log((labels[:, None] == labels).mean(axis=1)) for labels in LABELS])
    assert guess == pytest.approx(cross(QUERIES, same, LABELS).item())


def test_one_part_has_nothing_to_find():
    """The loss is 0, and so is its gradient."""
    queries = torch.tensor(QUERIES, requires_grad=True)
    loss = cross(queries, CONTEXTS, np.ones_like(LABELS))
    loss.backward()
    assert 0 == pytest.approx(loss.item(), abs=1e-12)
    assert 0 == pytest.approx(queries.grad.abs().max().item(), abs=1e-12)


def test_its_gradient_is_right_and_brings_patches_to_the_words_of_their_part():
    """Against finite differences; a step down raises the cosines within parts over those between them."""
    queries, contexts = torch.tensor(QUERIES, requires_grad=True), torch.tensor(CONTEXTS, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, c: cross(q, c, LABELS), (queries, contexts))
    cross(queries, contexts, LABELS).backward()

    def gap(patches, words):
        same = LABELS[:, :, None] == LABELS[:, None, :]
        cosines = np.array(
            [[[cosine(p, w) for w in ws] for p in ps] for ps, ws in zip(patches, words, strict=True)]
        )
        return cosines[same].mean() - cosines[~same].mean()

    moved = QUERIES - 0.5 * queries.grad.numpy(), CONTEXTS - 0.5 * contexts.grad.numpy()
    assert gap(*moved) > gap(QUERIES, CONTEXTS)


def test_queries_and_keys_by_hand():
    """1 − cosine to the best key, the mean: one query lies on a key, one at 60 degrees from the nearest."""
    keys = torch.tensor([[2.0, 0.0], [-1.0, 0.0]])
    queries = torch.tensor([[-3.0, 0.0], [0.5, 0.75**0.5]])
    assert 0.25 == pytest.approx(query_match(queries, keys).item())


@given(
    scale=st.floats(0.01, 100),
    queries=st.lists(st.lists(st.floats(0.1, 3), min_size=3, max_size=3), min_size=1, max_size=5),
)
def test_the_match_knows_directions_alone(scale, queries):
    """The length of neither queries nor keys counts; it is between 0 and 2."""
    keys = torch.tensor([[1.0, 2.0, 0.5], [-1.0, 0.3, 0.2]], dtype=torch.float64)
    found = torch.tensor(queries, dtype=torch.float64)
    match = query_match(found, keys).item()
    assert match == pytest.approx(query_match(found * scale, keys / scale).item(), abs=1e-9)
    assert -1e-9 <= match <= 2


def test_a_step_down_the_match_turns_the_best_key_alone():
    """Towards its query; the other key stays."""
    keys = torch.tensor([[1.0, 0.1], [-1.0, 0.0]], requires_grad=True)
    query = torch.tensor([[1.0, 1.0]])
    before = query_match(query, keys)
    before.backward()
    assert not keys.grad[1].any()
    assert query_match(query, keys - 0.1 * keys.grad).item() < before.item()
