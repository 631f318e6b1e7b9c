"""`Preprocess.resize` as a graph, for images of one size: Pillow's resampling, to the last bit.

Pillow weighs the pixels around each place by a kernel as wide as the scale, along one axis and then the other, with
weights in whole 2⁻²², and rounds to bytes after each. The graph multiplies with the weights in two parts of eleven bits,
whose products and sums float32 holds exactly. Which axis comes first depends on the sizes in a way of Pillow's own: it is
seen by trying.
"""

from typing import Any

import numpy as np

from evernorm.errors import MachineError
from evernorm.features.preprocess import Preprocess
from evernorm.types import Arrays, Doubles, Floats, Image

_PART = 1 << 11
_TRIED = 4  # images of noise; of very small ones, one may come out the same either way


def resizing(preprocess: Preprocess, shape: tuple[int, int]) -> tuple[str, Arrays]:
    """Nodes that make ``resized``, uint8 ``[1, side, side, 3]``, of ``image``, uint8 ``[H, W, 3]``, and their tables.

    Raises:
        MachineError: The Pillow that is installed resizes in another way.
    """
    tables: dict[str, Any] = {
        "zero": np.float32(0),
        "white": np.float32(255),
        "part": np.float32(_PART),
        "half": np.float32(_PART // 2),
    }
    for name, pixels in zip(("rows", "columns"), shape, strict=True):
        high, low = _weights(pixels, preprocess.size, preprocess.interpolation)
        tables |= {f"{name}_high": high, f"{name}_low": low}
    noise = np.random.default_rng(0).integers(0, 256, (_TRIED, *shape, 3)).astype(np.uint8)
    for first, second in (("columns", "rows"), ("rows", "columns")):
        if all(
            np.array_equal(preprocess.resize(each), _resized(each, tables, first, second)) for each in noise
        ):
            return _nodes(first, second), {name: np.asarray(value) for name, value in tables.items()}
    raise MachineError(
        f"the Pillow that is installed resizes images of {shape[1]} x {shape[0]} pixels in a way that is not known here; "
        "install a version that this version of evernorm was tested with"
    )


def _nodes(first: str, second: str) -> str:
    across, back = ("[2, 0, 1]", "[2, 1, 0]") if first == "columns" else ("[2, 1, 0]", "[1, 2, 0]")
    return f"""
    pixels = Cast <to = 1> (image)
    by_channel = Transpose <perm = {across}> (pixels)
    {_applied("once", first, "by_channel")}
    turned = Transpose <perm = [0, 2, 1]> (once)
    {_applied("both", second, "turned")}
    last = Transpose <perm = {back}> (both)
    bytes = Cast <to = 2> (last)
    first_axis = Constant <value_ints = [0]> ()
    resized = Unsqueeze (bytes, first_axis)
    """


def _resized(image: Image, tables: Arrays, first: str, second: str) -> Image:
    """What the nodes make."""
    axes = {"rows": 0, "columns": 1}
    pixels = image.astype(np.float64)
    for name in (first, second):
        weights = tables[f"{name}_high"].astype(np.float64) / _PART + tables[f"{name}_low"] / float(_PART**2)
        summed = np.moveaxis(np.tensordot(pixels, weights, axes=(axes[name], 0)), -1, axes[name])
        pixels = np.clip(np.floor(summed + 0.5), 0, 255)
    return pixels.astype(np.uint8)


def _applied(name: str, axis: str, pixels: str) -> str:
    """The last axis of ``[3, …, pixels]`` resized to bytes, half up."""
    return f"""
    {name}_low = MatMul ({pixels}, {axis}_low)
    {name}_low_share = Div ({name}_low, part)
    {name}_carry = Floor ({name}_low_share)
    {name}_high = MatMul ({pixels}, {axis}_high)
    {name}_carried = Add ({name}_high, {name}_carry)
    {name}_half_up = Add ({name}_carried, half)
    {name}_share = Div ({name}_half_up, part)
    {name}_floor = Floor ({name}_share)
    {name} = Clip ({name}_floor, zero, white)
    """


def _weights(pixels: int, side: int, interpolation: str) -> tuple[Floats, Floats]:
    """Of each pixel for each place, ``[pixels, side]``: the first, 2⁻¹¹ each, and the second, 2⁻²², add up to them."""
    # Operation by operation as Pillow's, as the last bit of a double decides which 2⁻²² is nearest.
    scale = pixels / side
    centres = (np.arange(side) + 0.5) * scale
    apart = np.abs((np.arange(pixels)[:, None] - centres + 0.5) * (1 / max(scale, 1.0)))
    weights = _bilinear(apart) if interpolation == "bilinear" else _bicubic(apart)
    weights *= 1 / weights.sum(axis=0)
    whole = np.sign(weights) * np.floor(np.abs(weights) * _PART**2 + 0.5)
    high = np.floor(whole / _PART)
    return high.astype(np.float32), (whole - high * _PART).astype(np.float32)


def _bilinear(apart: Doubles) -> Doubles:
    return np.maximum(1 - apart, 0)


def _bicubic(t: Doubles) -> Doubles:
    """Keys (1981), a = −.5."""
    inner, outer = (1.5 * t - 2.5) * t * t + 1, (((t - 5) * t + 8) * t - 4) * -0.5
    weights: Doubles = np.where(t < 1, inner, np.where(t < 2, outer, 0))
    return weights
