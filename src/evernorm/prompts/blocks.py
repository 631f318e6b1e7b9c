"""A backbone as a chain of blocks that can be entered in the middle, with a prompt at each block."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evernorm.errors import ParamsError
from evernorm.prompts.params import PromptKind

if TYPE_CHECKING:
    from torch import Tensor, nn

    from evernorm.features.backbone import TimmBackbone

Prompts = Mapping[int, "Tensor"]


class BlockChain:
    """The blocks of a vision transformer, an EfficientNet or a ResNet, one after another.

    That the chain computes what the network does is checked on a blank image when it is made.

    Attributes:
        kind: Of its prompts, prefix or additive.
        ends: The block after which each feature level of the network is complete.
        widths: Channels of each block's input.

    Raises:
        ParamsError: The network is no such chain.
    """

    def __init__(self, backbone: "TimmBackbone", kind: PromptKind) -> None:
        import torch

        network: Any = backbone.network
        named = _blocks(network)
        if kind is PromptKind.AUTO:
            attentive = all(hasattr(block, "attn") for _, block in named)
            kind = PromptKind.PREFIX if attentive else PromptKind.ADDITIVE
        self.kind = kind
        self.grid = backbone.grid
        self._network = network
        self._extra_tokens = getattr(network, "num_prefix_tokens", 0)
        self.blocks = [block for _, block in named]
        modules = {level: network.feature_info[level]["module"] for level in backbone.architecture.layers}
        self.ends = {
            level: max(
                (i for i, (name, _) in enumerate(named) if f"{name}.".startswith(f"{module}.")), default=-1
            )
            for level, module in modules.items()
        }
        if not self.blocks:
            raise self._refusal(backbone)
        # Ends the pass of a thread that only wants the input of the first block; others go through.
        self._entering = threading.local()
        self.blocks[0].register_forward_pre_hook(self._stop)
        size = backbone.preprocess.size
        probe = torch.zeros(1, 3, size, size, device=backbone.device)
        try:
            with torch.inference_mode():
                self.widths = self._widths(probe)
                none = {i: self._nothing(width, probe) for i, width in enumerate(self.widths)}
                levels, _ = self.run(self.stem(probe), 0, len(self.blocks), self.ends, none)
                same = all(
                    torch.allclose(levels[level], whole, rtol=1e-4, atol=1e-5)
                    for level, whole in zip(backbone.architecture.layers, backbone.levels(probe), strict=True)
                )
        except (AttributeError, KeyError, TypeError, IndexError, RuntimeError) as error:
            raise self._refusal(backbone) from error
        if not same:
            raise self._refusal(backbone)

    def stem(self, inputs: "Tensor") -> "Tensor":
        """The input of the first block: ``[n, channels, rows, columns]`` or tokens ``[n, tokens, channels]``."""
        self._entering.now = True
        try:
            self._network.forward_features(inputs)
        except _ReachedError as reached:
            return reached.tensor
        finally:
            self._entering.now = False
        raise AttributeError("the network does not pass through its first block")

    def _stop(self, _module: "nn.Module", arguments: tuple[Any, ...]) -> None:
        if getattr(self._entering, "now", False):
            raise _ReachedError(arguments[0])

    def run(
        self, state: "Tensor", start: int, stop: int, wanted: Mapping[int, int], prompts: Prompts
    ) -> "tuple[dict[int, Tensor], Tensor]":
        """Run blocks `start` to `stop` (exclusive).

        Args:
            state: Input of block `start`.
            start: First block.
            stop: The block before which to end.
            wanted: Feature level → the block that completes it.
            prompts: Block → prompts of the n images; additive ``[n, channels]``, prefix ``[n, 2, length, channels]``.

        Returns:
            The wanted levels ``[n, channels, rows, columns]`` that were completed, and the input of block `stop`.
        """
        levels: dict[int, Tensor] = {}
        for number in range(start, stop):
            state = self._step(self.blocks[number], state, prompts.get(number))
            levels |= {level: self._image(state) for level, end in wanted.items() if end == number}
        return levels, state

    def _step(self, block: Any, state: "Tensor", prompt: "Tensor | None") -> "Tensor":
        result: Tensor
        if prompt is None:
            result = block(state)
        elif self.kind is PromptKind.PREFIX:
            attended = attend_with_prefix(block.attn, block.norm1(state), prompt)
            state = state + block.ls1(attended)
            result = state + block.ls2(block.mlp(block.norm2(state)))
        else:  # UCAD: k^i = f^i(k^(i-1) + p^i)
            result = block(state + (prompt[:, :, None, None] if state.ndim == 4 else prompt[:, None]))
        return result

    def _image(self, state: "Tensor") -> "Tensor":
        """Tokens as a picture, without class and register tokens; a picture as it is."""
        if state.ndim == 4:
            return state
        patches = state[:, self._extra_tokens :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.grid)

    def _widths(self, probe: "Tensor") -> list[int]:
        """The channels that enter each block, seen on one pass."""
        widths: list[int] = []
        state = self.stem(probe)
        for block in self.blocks:
            widths.append(state.shape[1 if state.ndim == 4 else 2])
            state = block(state)
        return widths

    def _nothing(self, width: int, like: "Tensor") -> "Tensor":
        """A prompt that changes nothing: zeros to add, or a prefix of length 0."""
        return like.new_zeros((1, 2, 0, width) if self.kind is PromptKind.PREFIX else (1, width))

    def _refusal(self, backbone: "TimmBackbone") -> ParamsError:
        kinds = {
            PromptKind.PREFIX: "a plain vision transformer (vit_…, deit_…)",
            PromptKind.ADDITIVE: "a vision transformer, an EfficientNet or a ResNet",
        }
        return ParamsError(
            f"features.backbone {backbone.architecture.name!r} cannot take {self.kind.value} prompts; choose "
            f"{kinds.get(self.kind, kinds[PromptKind.ADDITIVE])}, or set prompts.kind to none"
        )


def attend_with_prefix(attention: Any, tokens: "Tensor", prefix: "Tensor") -> "Tensor":
    """Self-attention whose keys and values are preceded by learned ones (prefix tuning; Li and Liang, 2021).

    Args:
        attention: timm's ``Attention``.
        tokens: ``[n, tokens, channels]``.
        prefix: ``[n, 2, length, channels]``, keys and values.

    Returns:
        ``[n, tokens, channels]``.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    heads = (attention.num_heads, attention.head_dim)
    query, key, value = attention.qkv(tokens).reshape(*tokens.shape[:2], 3, *heads).permute(2, 0, 3, 1, 4)
    first_key, first_value = prefix.reshape(*prefix.shape[:3], *heads).permute(1, 0, 3, 2, 4)
    attended = scaled_dot_product_attention(
        attention.q_norm(query),
        torch.cat([first_key, attention.k_norm(key)], dim=2),
        torch.cat([first_value, value], dim=2),
    )
    result: Tensor = attention.proj(attention.norm(attended.transpose(1, 2).flatten(2)))
    return result


def _blocks(network: Any) -> "list[tuple[str, nn.Module]]":
    """The blocks and their names, in order: ``blocks.3``, ``blocks.2.1`` or ``layer2.0``."""
    parents = ["blocks"] if hasattr(network, "blocks") else ["layer1", "layer2", "layer3", "layer4"]
    found: list[tuple[str, nn.Module]] = []
    for parent in (name for name in parents if hasattr(network, name)):
        for place, child in getattr(network, parent).named_children():
            name = f"{parent}.{place}"
            inner = child.named_children() if type(child).__name__ == "Sequential" else ()
            found += [(f"{name}.{number}", block) for number, block in inner] or [(name, child)]
    return found


class _ReachedError(Exception):
    """Ends a forward pass at the first block."""

    def __init__(self, tensor: "Tensor") -> None:
        self.tensor = tensor
