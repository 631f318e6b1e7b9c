"""`Preprocess.resize` as a graph, for images of one size: Pillow's resampling, to the last bit.

Pillow weighs the pixels around each place by a kernel as wide as the scale, along one axis and then the other, with
weights in whole 2⁻²², and rounds to bytes after each. The graph multiplies with the weights in two parts of eleven bits,
whose products and sums float32 holds exactly.
"""

from typing import Any

import numpy as np

from evernorm.features.preprocess import Preprocess
from evernorm.types import Arrays, Doubles, Floats

_PART = 1 << 11


def resize_nodes() -> str:
    """Nodes that make ``resized``, uint8 ``[1, side, side, 3]``, of ``image``, uint8 ``[H, W, 3]``, and `resize_tables`."""
    return f"""
    pixels = Cast <to = 1> (image)
    by_channel = Transpose <perm = [2, 0, 1]> (pixels)
    {_applied("across", "columns", "by_channel")}
    turned = Transpose <perm = [0, 2, 1]> (across)
    {_applied("both", "rows", "turned")}
    last = Transpose <perm = [2, 1, 0]> (both)
    bytes = Cast <to = 2> (last)
    first_axis = Constant <value_ints = [0]> ()
    resized = Unsqueeze (bytes, first_axis)
    """


def resize_tables(preprocess: Preprocess, shape: tuple[int, int]) -> Arrays:
    """What the nodes multiply with, for images of this height and width."""
    tables: dict[str, Any] = {
        "zero": np.float32(0),
        "white": np.float32(255),
        "part": np.float32(_PART),
        "half": np.float32(_PART // 2),
    }
    for name, pixels in zip(("rows", "columns"), shape, strict=True):
        high, low = _weights(pixels, preprocess.size, preprocess.interpolation)
        tables |= {f"{name}_high": high, f"{name}_low": low}
    return {name: np.asarray(value) for name, value in tables.items()}


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
    scale = pixels / side
    centres = (np.arange(side) + 0.5) * scale
    apart = np.abs(np.arange(pixels)[:, None] + 0.5 - centres) / max(scale, 1.0)
    weights = _bilinear(apart) if interpolation == "bilinear" else _bicubic(apart)
    weights /= weights.sum(axis=0)
    whole = np.sign(weights) * np.floor(np.abs(weights) * _PART**2 + 0.5)
    high = np.floor(whole / _PART)
    return high.astype(np.float32), (whole - high * _PART).astype(np.float32)


def _bilinear(apart: Doubles) -> Doubles:
    return np.maximum(1 - apart, 0)


def _bicubic(t: Doubles) -> Doubles:
    """Keys (1981), a = −.5."""
    inner, outer = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    weights: Doubles = np.where(t < 1, inner, np.where(t < 2, outer, 0))
    return weights
