"""Attention and dropout, beside torch's own."""

import numpy as np
import pytest
import torch
from torch import nn

from evernorm.reconstruction.attention import Attention, Dropout
from evernorm.reconstruction.params import UniAdSizes
from evernorm.reconstruction.uniad import _EncoderLayer, neighbours

HIDDEN = neighbours((4, 4), 3)
MASK = torch.zeros(HIDDEN.shape).masked_fill(HIDDEN, -torch.inf)


def test_attention_is_torchs():
    """Values by the same names, the same result, the same gradients."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(16, 2, batch_first=True)
    ours = Attention(16, 2, 0.0)
    ours.load_state_dict(theirs.state_dict())
    query, source = torch.randn(2, 3, 16, 16, requires_grad=True).unbind()
    expected, _ = theirs(query, source, source, attn_mask=HIDDEN, need_weights=False)
    found = ours(query, source, MASK)
    torch.testing.assert_close(expected, found)
    expected.square().sum().backward()
    found.square().sum().backward()
    for name, value in theirs.named_parameters():
        torch.testing.assert_close(value.grad, ours.get_parameter(name).grad, msg=name)


def test_a_layer_of_the_encoder_is_torchs():
    """Normalised after each half, as theirs is by default."""
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(16, 2, 64, 0.0, batch_first=True)
    ours = _EncoderLayer(UniAdSizes(width=16, heads=2, dropout=0.0))
    ours.load_state_dict(theirs.state_dict())
    state = torch.randn(3, 16, 16)
    torch.testing.assert_close(theirs(state, src_mask=HIDDEN), ours(state, MASK))


@pytest.mark.parametrize("shape", [(1001,), (3, 5, 7), (2, 300, 300)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_each_value_or_makes_it_nothing(shape, dtype):
    """What is kept is divided by the probability of it; the gradient passes where the value does."""
    values = torch.ones(shape, dtype=dtype, requires_grad=True)
    made = Dropout(0.25)(values)
    np.testing.assert_allclose(made.detach().float().unique(), [0, 4 / 3], rtol=4e-3)
    made.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(made, values.grad)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_drops_the_share_that_it_should(p):
    """Within five standard deviations, and each value apart from those beside it."""
    torch.manual_seed(1)
    count = 400_000
    kept = Dropout(p)(torch.ones(count)).numpy() > 0
    spread = np.sqrt(p * (1 - p) / count)
    assert abs(kept.mean() - (1 - p)) <= 5 * spread + 2**-16
    for apart in (1, 2, 3, 4):
        both = (kept[apart:] & kept[:-apart]).mean()
        np.testing.assert_allclose(both, (1 - p) ** 2, atol=10 * spread + 2**-15)


def test_dropout_follows_torchs_seed_and_rests_where_nothing_is_trained():
    """The same seed, the same values; another draw, others; itself in eval mode."""
    layer, values = Dropout(0.5), torch.randn(64, 64)
    torch.manual_seed(3)
    first, second = layer(values), layer(values)
    torch.manual_seed(3)
    torch.testing.assert_close(first, layer(values), rtol=0, atol=0)
    assert not torch.equal(first, second)
    torch.testing.assert_close(values, layer.eval()(values), rtol=0, atol=0)
