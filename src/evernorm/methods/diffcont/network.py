"""DiffCont's network: a class-conditional U-Net, a projector at its bottleneck and a classifier head (section 3.4).

The U-Net is diffusers'. Its first class embedding stands for no class: what an image is embedded with, since its class
is what the head is asked for (the null label of classifier-free guidance; docs/decisions/diffcont-readings.md).
"""

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from evernorm.errors import MachineError, StateError
from evernorm.files import below
from evernorm.methods.diffcont.params import DiffContPrompts
from evernorm.types import Arrays

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

NO_CLASS = 0
"""The class embedding of an image whose class nobody has told; class k has k + 1."""
PREFIX = "network."
_FIXED = ("shift", "scale", "mean", "std")


@dataclass(frozen=True)
class Walked:
    """What the network makes of n noisy images.

    Attributes:
        predicted: What `diffusion.target` is, ``[n, C, H, W]``.
        embeddings: Whitened embeddings ``[n, d]``.
        logits: Of the head, ``[n, T]``.
    """

    predicted: "Tensor"
    embeddings: "Tensor"
    logits: "Tensor"


class Network:
    """U-Net, projector, whitening and head.

    Attributes:
        parts: The modules `unet`, `projector` and `head`.
        fixed: Mean and deviation of the inputs' channels (`shift`, `scale`) and of the projector's (`mean`, `std`),
            ``[·, 1, 1]``, from the first class; frozen with the projector.

    Args:
        channels: Of what is diffused.
        params: The sizes.
        classes: How many classes it knows.
        seed: First values.
    """

    def __init__(self, channels: int, params: DiffContPrompts, classes: int, seed: int = 0) -> None:
        import torch
        from torch import nn

        bottom = params.side
        for _ in params.widths[1:]:
            bottom = (bottom + 1) // 2
        self.params, self.channels, self.classes = params, channels, classes
        self.dim = params.embedding * bottom**2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.parts = nn.ModuleDict(
                {
                    "unet": _unet(channels, params, classes + 1),
                    "projector": nn.Conv2d(params.widths[-1], params.embedding, 1),
                    "head": nn.Linear(self.dim, classes),
                }
            )
        self.parts["projector"].requires_grad_(False)
        self.fixed = {
            "shift": torch.zeros(channels, 1, 1),
            "scale": torch.ones(channels, 1, 1),
            "mean": torch.zeros(params.embedding, 1, 1),
            "std": torch.ones(params.embedding, 1, 1),
        }

    @property
    def device(self) -> "torch.device":
        """Where it is."""
        return self.fixed["mean"].device

    def to(self, device: "torch.device") -> "Network":
        """Move it."""
        self.parts.to(device)
        self.fixed = {name: value.to(device) for name, value in self.fixed.items()}
        return self

    def walk(self, noisy: "Tensor", steps: "Tensor", rows: "Tensor") -> Walked:
        """Say what is behind the noise of images, and embed them.

        Args:
            noisy: ``[n, C, H, W]``, standardised.
            steps: int64 ``[n]``, how noisy.
            rows: int64 ``[n]``, class embeddings: `NO_CLASS`, or k + 1.
        """
        unet: Any = self.parts["unet"]
        bottom: list[Tensor] = []
        hook = unet.mid_block.register_forward_hook(lambda _module, _inputs, out: bottom.append(out))
        try:
            predicted = unet(noisy, steps, rows, return_dict=False)[0]
        finally:
            hook.remove()
        embeddings = self._project(bottom[0])
        return Walked(predicted, embeddings, self.classify(embeddings))

    def embed(self, noisy: "Tensor", steps: "Tensor") -> "Tensor":
        """Whitened embeddings ``[n, d]`` of images of which no class is told; only the way down is walked."""
        import torch

        unet: Any = self.parts["unet"]
        rows = torch.full_like(steps, NO_CLASS)
        told = unet.time_embedding(unet.time_proj(steps).to(noisy.dtype)) + unet.class_embedding(rows)
        state = unet.conv_in(noisy)
        for block in unet.down_blocks:
            state, _ = block(hidden_states=state, temb=told)
        return self._project(unet.mid_block(state, told))

    def classify(self, embeddings: "Tensor") -> "Tensor":
        """Logits of the head, ``[n, T]``."""
        logits: Tensor = self.parts["head"](embeddings)
        return logits

    def standardise(self, inputs: "Tensor") -> "Tensor":
        """Inputs with the mean 0 and the deviation 1 that the noise has."""
        return (inputs - self.fixed["shift"]) / self.fixed["scale"]

    def _project(self, bottom: "Tensor") -> "Tensor":
        projected: Tensor = self.parts["projector"](bottom)
        return ((projected - self.fixed["mean"]) / self.fixed["std"]).flatten(1)  # section 4.5

    def parameters(self) -> "dict[str, nn.Parameter]":
        """By name, of what is trained: all but the projector (docs/decisions/diffcont-readings.md)."""
        parts = [name for name in self.parts if name != "projector"]
        return {
            f"{part}.{name}": each for part in parts for name, each in self.parts[part].named_parameters()
        }

    def grown(self, seed: int) -> "Network":
        """The same with room for one class more: its rows are drawn, all others kept bit for bit."""
        grown = Network(self.channels, self.params, self.classes + 1, seed)
        values = grown.parts.state_dict()
        for name, value in self.parts.state_dict().items():
            values[name][: len(value)] = value
        grown.parts.load_state_dict(values)
        grown.fixed = dict(self.fixed)
        return grown.to(self.device)

    def arrays(self) -> Arrays:
        """Its state, by name."""
        state = {**self.parts.state_dict(), **self.fixed}
        return {f"{PREFIX}{name}": value.cpu().numpy().copy() for name, value in state.items()}

    @classmethod
    def of(cls, arrays: Arrays, params: DiffContPrompts, device: "torch.device") -> "Network":
        """Undo `arrays`; in eval mode, without gradients.

        Raises:
            StateError: They belong to a network of other sizes.
        """
        import torch

        values = {name: torch.from_numpy(np.array(each)) for name, each in below(arrays, PREFIX).items()}
        try:
            network = cls(len(values["shift"]), params, len(values["head.weight"]))
            network.fixed = {name: values.pop(name) for name in _FIXED}
            network.parts.load_state_dict(values)
        except (KeyError, RuntimeError) as error:
            raise StateError(
                f"the network of these classes has other sizes than diffcont.prompts says; learn them again with "
                f"these: {error}"
            ) from error
        network.parts.eval().requires_grad_(False)
        return network.to(device)


def _unet(channels: int, params: DiffContPrompts, rows: int) -> Any:
    """The paper's blocks, Down · AttnDown · Down · Down and their mirror, for as many levels as there are widths."""
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise MachineError(
            "diffcont needs the package diffusers: pip install 'evernorm[diffusion]'"
        ) from error
    widths = params.widths
    common = gcd(*widths)
    down, up = ["DownBlock2D"] * len(widths), ["UpBlock2D"] * len(widths)
    down[1], up[-2] = "AttnDownBlock2D", "AttnUpBlock2D"
    unet = UNet2DModel(
        sample_size=params.side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        attention_head_dim=gcd(common, 32),  # the paper gives none; diffusers' 8 is slower on a CPU
        norm_num_groups=gcd(common // 4, 32),
        num_class_embeds=rows,
    )
    if params.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet
