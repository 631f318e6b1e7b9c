"""The prompted backbone: what a prompt does to each block, checked against hooks on timm's own network."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import avg_pool2d

from evernorm.errors import ParamsError
from evernorm.features.backbone import build_backbone
from evernorm.files import read_arrays, write_arrays
from evernorm.params.groups import FeatureParams
from evernorm.prompts.blocks import attend_with_prefix
from evernorm.prompts.params import PromptKind, PromptParams
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import PromptedBackbone

ADDITIVE, PREFIX, NONE = PromptKind.ADDITIVE, PromptKind.PREFIX, PromptKind.NONE


def random_backbone(name, size=64, **more):
    return build_backbone(FeatureParams(backbone=name, image_size=size, weights="random", **more))


@pytest.fixture(scope="module")
def resnet():
    """ResNet-18 up to layer3: six blocks, levels 2 and 3."""
    return random_backbone("resnet18")


@pytest.fixture(params=["lite0", "resnet18", "vit"])
def any_backbone(request, backbone, resnet, tiny_vit):
    """An EfficientNet, a ResNet and a vision transformer."""
    return {"lite0": backbone, "resnet18": resnet, "vit": tiny_vit}[request.param]


@pytest.fixture(scope="module")
def images(drawn):
    """Three images of two classes."""
    return [*drawn("textile", 2), *drawn("machined_part", 1)]


def prompted(backbone, kind=ADDITIVE, first_block=0, key_layers=(), length=5):
    return PromptedBackbone(
        backbone, PromptParams(kind=kind, first_block=first_block, length=length), key_layers
    )


def draw_prompts(network, count, seed=0):
    """A different prompt for each of `count` images or classes, large enough to matter."""
    rng = np.random.default_rng(seed)
    return [
        Prompt(
            network.params.kind,
            {block: rng.normal(0, 0.5, shape).astype(np.float32) for block, shape in network.shapes.items()},
        )
        for _ in range(count)
    ]


def blocks_of(backbone):
    """The blocks in the order in which timm runs them."""
    network = backbone.network
    stages = (
        network.blocks if hasattr(network, "blocks") else [network.layer1, network.layer2, network.layer3]
    )
    return [block for stage in stages for block in (stage if isinstance(stage, nn.Sequential) else [stage])]


def with_hooks(backbone, images, hooks):
    """The features of timm's network while these hooks are on its modules."""
    with ExitStack() as stack:
        for handle in hooks:
            stack.callback(handle.remove)
        return backbone.features(images)


def attend_by_hand(attention, tokens, prefix):
    """Softmax over learned keys and the image's own, one head and one query at a time, in float64."""
    found = (
        attention.qkv(tokens).double().reshape(*tokens.shape[:2], 3, attention.num_heads, attention.head_dim)
    )
    result = torch.zeros(found.shape[:2] + found.shape[3:], dtype=torch.float64)
    learned = prefix.double().reshape(*prefix.shape[:3], attention.num_heads, attention.head_dim)
    for image in range(len(tokens)):
        for head in range(attention.num_heads):
            own_query, own_key, value = found[image, :, :, head].unbind(1)
            query = attention.q_norm(own_query.float()).double()
            key = attention.k_norm(own_key.float()).double()
            keys = torch.cat([learned[image, 0, :, head], key])
            values = torch.cat([learned[image, 1, :, head], value])
            for place in range(tokens.shape[1]):
                terms = [torch.exp(one @ query[place] / attention.head_dim**0.5) for one in keys]
                weighted = sum(term * one for term, one in zip(terms, values, strict=True))
                result[image, place, head] = weighted / sum(terms)
    return attention.proj(result.flatten(2).float())


# -- without prompts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("first_block", [0, 2, 5])
def test_the_chain_is_the_backbone_wherever_it_is_entered(any_backbone, images, first_block):
    """Frozen features, and those with a prompt of zeros, are the network's own."""
    network = prompted(any_backbone, first_block=first_block)
    expected = any_backbone.features(images)
    begun, keys = network.begin(images)
    nothing = Prompt(
        ADDITIVE, {block: np.zeros(shape, np.float32) for block, shape in network.shapes.items()}
    )
    np.testing.assert_allclose(keys, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(network.finish(begun, [nothing] * 3), expected, rtol=1e-5, atol=1e-5)
    assert list(range(first_block, len(blocks_of(any_backbone)))) == list(network.shapes)


@pytest.mark.parametrize("name", ["test_convnext", "swin_tiny_patch4_window7_224"])
def test_without_prompts_any_backbone_serves(name, images):
    """Kind `none` asks nothing of the network; keys may still be made of some of its levels."""
    found = random_backbone(name, layers=(1, 2))
    network = prompted(found, NONE, key_layers=(2,))
    begun, keys = network.begin(images)
    assert {} == network.shapes
    np.testing.assert_allclose(
        network.finish(begun, [Prompt(NONE, {})] * 3), found.features(images), atol=1e-5
    )
    with torch.inference_mode():
        expected = found.join(found.levels(found.inputs(images))[1:])
    np.testing.assert_allclose(keys, expected.numpy(), atol=1e-5)


# -- what a prompt does -------------------------------------------------------------------------------


@pytest.mark.parametrize("first_block", [0, 3])
def test_an_additive_prompt_is_added_to_the_input_of_each_block(any_backbone, images, first_block):
    """k^i = f^i(k^(i-1) + p^i): the same as adding the vectors by hand, another for each image."""
    network = prompted(any_backbone, first_block=first_block)
    prompts = draw_prompts(network, 3)
    found = network.finish(network.begin(images)[0], prompts)

    def adding(block):
        added = torch.from_numpy(np.stack([prompt.values[block] for prompt in prompts]))

        def add(_module, arguments):
            (state,) = arguments
            return (state + (added[..., None, None] if state.ndim == 4 else added[:, None]),)

        return add

    blocks = blocks_of(any_backbone)
    hooks = [blocks[number].register_forward_pre_hook(adding(number)) for number in network.shapes]
    expected = with_hooks(any_backbone, images, hooks)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(found, any_backbone.features(images), atol=0.01)


@pytest.fixture(params=["class token", "register and layer scale"])
def transformer(request, tiny_vit):
    """Two vision transformers of 6 blocks of 64 channels."""
    if request.param == "class token":
        return tiny_vit
    found = random_backbone("test_vit2")
    with torch.no_grad():
        for name, weight in found.network.named_parameters():
            if name.endswith("gamma"):  # timm's first values are 1e-5
                weight.copy_(torch.linspace(0.2, 1.5, 64))
    return found


@pytest.mark.parametrize("first_block", [0, 3])
def test_a_prefix_joins_the_keys_and_values_of_each_attention(transformer, images, first_block):
    """The whole network equals timm's with every attention replaced by a softmax written out."""
    network = prompted(transformer, PREFIX, first_block, length=3)
    assert dict.fromkeys(range(first_block, 6), (2, 3, 64)) == network.shapes
    prompts = draw_prompts(network, 3)
    found = network.finish(network.begin(images)[0], prompts)

    def attending(block):
        prefix = torch.from_numpy(np.stack([prompt.values[block] for prompt in prompts]))
        return lambda attention, arguments, _output: attend_by_hand(attention, arguments[0], prefix)

    blocks = blocks_of(transformer)
    hooks = [blocks[number].attn.register_forward_hook(attending(number)) for number in network.shapes]
    expected = with_hooks(transformer, images, hooks)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert not np.allclose(found, transformer.features(images), atol=0.01)


@pytest.mark.parametrize("length", [0, 1, 4])
def test_prefix_attention_normalises_queries_and_keys_of_the_image_alone(length):
    """With a norm on queries, keys and output, and heads narrower than usual; length 0 is timm's own attention."""
    from timm.layers import Attention

    torch.manual_seed(0)
    attention = Attention(12, 3, attn_head_dim=8, qkv_bias=True, qk_norm=True, norm_layer=nn.LayerNorm).eval()
    nn.init.normal_(attention.k_norm.weight)
    tokens, prefix = torch.randn(2, 7, 12), torch.randn(2, 2, length, 24)
    with torch.inference_mode():
        found = attend_with_prefix(attention, tokens, prefix)
        torch.testing.assert_close(found, attend_by_hand(attention, tokens, prefix))
        if length == 0:
            torch.testing.assert_close(found, attention(tokens))


@pytest.mark.parametrize("kind", [ADDITIVE, PREFIX])
def test_images_of_several_classes_go_together(tiny_vit, images, kind):
    """A mixed batch gives what one class at a time gives, and computing keys leaves no trace."""
    network = prompted(tiny_vit, kind, first_block=1)
    one, two = draw_prompts(network, 2)
    begun, _ = network.begin(images)
    mixed = network.finish(begun, [two, one, two])
    for number, prompt in enumerate((two, one, two)):
        begun_alone = network.begin(images[number : number + 1])[0]
        alone = network.finish(begun_alone, [prompt])
        np.testing.assert_allclose(mixed[number], alone[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(mixed, network.finish(begun, [two, one, two]))
    assert not np.allclose(mixed, network.finish(begun, [one] * 3), atol=0.01)


# -- what is computed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_block", "key_layers", "runs"),
    [
        (3, (2,), [1, 1, 1, 1, 1, 1]),  # the keys' level is complete before the first prompt
        (5, (2,), [1, 1, 1, 1, 1, 1]),
        (3, (5,), [1, 1, 1, 2, 2, 2]),  # from the first prompt on, once without and once with it
        (0, (2,), [2, 2, 2, 1, 1, 1]),  # not beyond what the keys need
        (0, (), [2, 2, 2, 2, 2, 2]),
        (2, (2,), [1, 1, 2, 1, 1, 1]),
    ],
)
def test_no_block_runs_twice_on_the_same_input(tiny_vit, images, first_block, key_layers, runs):
    """An image passes each block once where it can, and never more than twice."""
    network = prompted(tiny_vit, first_block=first_block, key_layers=key_layers)
    ran = Counter()
    blocks = blocks_of(tiny_vit)
    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            hook = block.register_forward_hook(lambda *_, number=number: ran.update([number]))
            stack.callback(hook.remove)
        begun, keys = network.begin(images)
        network.finish(begun, draw_prompts(network, 3))
    assert runs == [ran[number] for number in range(6)]
    with torch.inference_mode():
        levels = dict(zip((2, 5), tiny_vit.levels(tiny_vit.inputs(images)), strict=True))
        expected = tiny_vit.join([levels[layer] for layer in key_layers or (2, 5)])
    np.testing.assert_allclose(keys, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_threads_that_share_a_bank_do_not_disturb_each_other(backbone, images):
    """A server answers requests in threads: each gets what it would get alone."""
    network = prompted(backbone)
    (prompt,) = draw_prompts(network, 1)

    def answer(image):
        begun, keys = network.begin([image])
        return keys, network.finish(begun, [prompt])

    alone = [answer(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(answer, images * 8))
    for one, other in zip(together, alone * 8, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_a_shallow_level_is_kept_for_the_joined_features(backbone, images):
    """A level that is complete before the first prompt is the frozen one, also in the prompted features."""
    network = prompted(backbone, first_block=8, key_layers=(2,))
    begun, keys = network.begin(images)
    found, frozen = network.finish(begun, draw_prompts(network, 3)), backbone.features(images)
    width = keys.shape[2]
    np.testing.assert_allclose(keys, frozen[..., :width], atol=1e-5)
    np.testing.assert_allclose(found[..., :width], frozen[..., :width], atol=1e-5)
    assert not np.allclose(found[..., width:], frozen[..., width:], atol=0.01)


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ADDITIVE, PREFIX])
@pytest.mark.parametrize("name", ["test_convnext", "swin_tiny_patch4_window7_224"])
def test_a_network_that_is_no_chain_takes_no_prompts(name, kind):
    """The message names the backbone, the kind and the way out."""
    with pytest.raises(
        ParamsError, match=f"'{name}' cannot take {kind.value} prompts; .* prompts.kind to none"
    ):
        prompted(random_backbone(name), kind)


def test_a_network_without_attention_takes_no_prefix(any_backbone, tiny_vit):
    """Prefix tuning lives in attention; the vision transformer takes it."""
    if any_backbone is tiny_vit:
        assert 6 == len(prompted(any_backbone, PREFIX).shapes)
        return
    with pytest.raises(ParamsError, match="cannot take prefix prompts; choose a plain vision transformer"):
        prompted(any_backbone, PREFIX)


def test_attention_with_more_to_it_takes_no_prefix():
    """Relative positions would be lost, so such a transformer is refused and not silently changed."""
    found = random_backbone("test_vit_relpos", 160)
    assert 6 == len(prompted(found, ADDITIVE).shapes)
    with pytest.raises(ParamsError, match="cannot take prefix prompts"):
        prompted(found, PREFIX)


def test_a_network_that_the_chain_does_not_reproduce_is_refused(monkeypatch):
    """A step beside the blocks that only the network knows of shows on the blank image."""
    found = random_backbone("test_vit")
    original = found.network.forward_intermediates
    monkeypatch.setattr(
        found.network, "forward_intermediates", lambda *a, **k: [level + 1 for level in original(*a, **k)]
    )
    with pytest.raises(ParamsError, match="cannot take additive prompts"):
        prompted(found)


def test_every_fault_is_told_at_once(tiny_vit):
    """A first block beyond the last, and two levels that are not read."""
    with pytest.raises(ParamsError, match="test_vit cannot be prompted like this") as caught:
        prompted(tiny_vit, first_block=6, key_layers=(1, 2, 4))
    assert (
        "knowledge.key_layers 1 is not read; add it to features.layers [2, 5]",
        "knowledge.key_layers 4 is not read; add it to features.layers [2, 5]",
        "prompts.first_block is 6; there are blocks 0 to 5 up to the deepest level that is read",
    ) == caught.value.faults


def test_levels_that_are_not_read_are_told_with_a_kind_that_does_not_fit():
    """A wrong network hides no other fault."""
    with pytest.raises(ParamsError) as caught:
        prompted(random_backbone("test_convnext"), key_layers=(0,))
    assert 2 == len(caught.value.faults)
    assert "cannot take additive prompts" in str(caught.value)
    assert "knowledge.key_layers 0 is not read" in str(caught.value)


# -- on disk ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ADDITIVE, PREFIX, NONE])
def test_a_prompt_survives_the_disk(kind, tmp_path):
    """Kind, blocks in their order, bytes; also with more than ten blocks, and with none; beside its history."""
    shape = {ADDITIVE: (7,), PREFIX: (2, 3, 7)}.get(kind)
    blocks = range(2, 14) if shape else ()
    rng = np.random.default_rng(0)
    prompt = Prompt(kind, {block: rng.normal(size=shape).astype(np.float32) for block in blocks})
    write_arrays(tmp_path / "p", {**prompt.arrays(), "history.kept": np.array([3])})
    loaded = Prompt.of(kind, read_arrays(tmp_path / "p"))
    assert (kind, list(blocks)) == (loaded.kind, list(loaded.values))
    for block in blocks:
        np.testing.assert_array_equal(prompt.values[block], loaded.values[block])
    assert loaded.nbytes == 4 * len(blocks) * int(np.prod(shape or ()))


# -- the paper's backbone -----------------------------------------------------------------------------


def test_vit_b16_from_a_local_file_has_the_papers_sizes(tmp_path, images):
    """A file like timm's ViT-B/16 of ImageNet-21k: the donor's features, 196 patches of 768, six prompts of 768."""
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        donor = timm.create_model("vit_base_patch16_224.augreg_in21k", pretrained=False).eval()
    state = donor.state_dict()
    assert (21843, 768) == tuple(state["head.weight"].shape)
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.11.attn.qkv.bias"} < set(state)
    file = tmp_path / "vit_b16.safetensors"
    save_file(state, file)
    found = build_backbone(FeatureParams(backbone="vit_base_patch16_224", weights=str(file)))
    file.unlink()  # 400 MB that pytest would keep

    network = prompted(found)
    assert dict.fromkeys(range(6), (768,)) == network.shapes
    assert 6 * 768 * 4 == draw_prompts(network, 1)[0].nbytes
    assert dict.fromkeys(range(6), (2, 5, 768)) == prompted(found, PREFIX).shapes
    begun, keys = network.begin(images[:2])
    assert (2, 196, 768) == keys.shape == network.finish(begun, draw_prompts(network, 2)).shape
    with torch.inference_mode():
        (level,) = donor.forward_intermediates(
            found.inputs(images[:2]), indices=[5], norm=False, intermediates_only=True
        )
        expected = avg_pool2d(level, 3, 1, 1).flatten(2).mT
    np.testing.assert_allclose(keys, expected.numpy(), rtol=1e-4, atol=1e-4)
