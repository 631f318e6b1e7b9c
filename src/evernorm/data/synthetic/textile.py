"""A woven cloth: a plain weave with holes, wrong threads, stains and snags."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from evernorm.data.synthetic.drawing import (
    SIZE,
    Field,
    Picture,
    Place,
    Product,
    Rng,
    X,
    Y,
    blot,
    clouds,
    cover,
    curl,
    expose,
    lamplight,
    octaves,
    sensor_noise,
    stroke,
)

PITCH = 7.5
"""Distance between neighbouring threads."""
_THREADS = 64


@dataclass(frozen=True)
class _Cloth:
    """A plain weave; the first of each pair is the warp (upright threads), the second the weft."""

    at: tuple[Field, Field]  # position across the threads, in threads
    here: tuple[Field, Field]  # share of the thread that is there: 0 where it is torn or missing
    width: tuple[Field, Field]  # in threads, [thread, 4-pixel step along it]
    tone: tuple[Field, Field]  # brightness of the yarn, [thread, step]
    dye: Field  # colours of warp, weft and the table below, [3, 3]
    tint: Field  # light that dirt lets through, [SIZE, SIZE, 3]
    loop: Field  # share of the pixel covered by yarn lying on the cloth
    shade: Field  # lamp and shadows
    noise: Field


def _cloth(rng: Rng) -> _Cloth:
    """Draw a flawless piece of cloth: its pose, the unevenness of its yarn, its dye and the light."""
    tilt, pitch = rng.normal(0, 0.03), PITCH * rng.normal(1, 0.015)
    at, width, tone = [], [], []
    for across, along in ((X, Y), (Y, -X)):
        bow = rng.normal(0, 0.15) * (along / SIZE * 2) ** 2 + 0.06 * clouds(rng, 5)
        position = (np.cos(tilt) * across + np.sin(tilt) * along) / pitch + bow
        at.append((position + _THREADS / 2 + rng.uniform(-2, 2)).astype(np.float32))
        uneven = rng.standard_normal((_THREADS, SIZE // 2), dtype=np.float32)
        thread = rng.standard_normal((2, _THREADS, 1), dtype=np.float32)
        yarn = 2.5 * ndimage.gaussian_filter1d(uneven, 3.0, axis=1) + 0.8 * thread[0]
        width.append(0.86 + 0.05 * yarn)
        tone.append(1 + 0.025 * yarn + 0.025 * thread[1])
    dye = np.array([(0.47, 0.54, 0.62), (0.78, 0.76, 0.70), (0.10, 0.09, 0.09)], np.float32)
    warmer = rng.normal(0, 0.014) * np.array((1, 0, -1))
    dye[:2] *= rng.normal(1, 0.02, (2, 1)) + warmer
    bare = np.zeros((SIZE, SIZE), np.float32)
    return _Cloth(
        at=(at[0], at[1]),
        here=(bare + 1, bare + 1),
        width=(width[0], width[1]),
        tone=(tone[0], tone[1]),
        dye=dye,
        tint=np.repeat(1 + np.float32(0.015) * clouds(rng, 5)[..., None], 3, axis=-1),
        loop=bare,
        shade=lamplight(rng),
        noise=sensor_noise(rng, 0.012),
    )


def _render_cloth(cloth: _Cloth) -> Picture:
    """Photograph the cloth: of two crossing threads the upper one hides the lower."""
    thread = [np.floor(at) for at in cloth.at]
    height, light, there = [], [], []
    for own, along in ((0, Y), (1, -X)):
        yarn = thread[own].astype(np.intp), ((along + SIZE) / 4).astype(np.intp)
        off, width, position = cloth.at[own] - thread[own] - 0.5, cloth.width[own][yarn], cloth.at[1 - own]
        arch = np.sqrt(np.clip(1 - (2 * off / width) ** 2, 0, 1))
        # Plain weave: a thread goes over and under those it crosses in turn, half a wave a crossing.
        wave = np.cos(np.pi * (thread[own] + position - 0.5 + own))
        twist = np.sin(2 * np.pi * (2.0 * position + 1.2 * off))
        there.append(cover((width / 2 - np.abs(off)) * PITCH) * cloth.here[own])
        height.append(wave + 0.6 * arch - 4 * (1 - there[own]))
        light.append(cloth.tone[own][yarn] * (0.42 + 0.40 * arch + 0.16 * wave + 0.035 * twist))
    warp_on_top = np.clip((height[0] - height[1]) / 0.3 + 0.5, 0, 1)
    warp, weft = there[0] * warp_on_top, there[1] * (1 - warp_on_top)
    layers = warp * light[0], weft * light[1], 1 - warp - weft
    colour = sum(
        (layer[..., None] * dye for layer, dye in zip(layers, cloth.dye, strict=True)), np.float32(0)
    )
    round_loop = 0.45 + 0.75 * ndimage.gaussian_filter(cloth.loop, 1.0, truncate=3)
    colour += cloth.loop[..., None] * (cloth.dye[1] * round_loop[..., None] - colour)
    return expose(colour * cloth.tint * cloth.shade[..., None], cloth.noise)


def _on_cloth(rng: Rng) -> Place:
    """Somewhere on the cloth, not at the very border."""
    x, y = rng.uniform(-0.42, 0.42, 2) * SIZE
    return float(x), float(y)


def _torn(cloth: _Cloth, rng: Rng) -> _Cloth:
    """A hole, or a spot worn thin; each thread ends where it happened to break."""
    tear = blot(rng, _on_cloth(rng), PITCH * octaves(rng, 0.6, 2.6), 0.12)
    worn = rng.uniform(0.6, 1.0)
    ends = rng.normal(0, 0.6 * PITCH, (2, _THREADS)).astype(np.float32)
    warp, weft = (
        here * (1 - worn * cover(tear + end[at.astype(np.intp)]))
        for here, end, at in zip(cloth.here, ends, cloth.at, strict=True)
    )
    return replace(cloth, here=(warp, weft))


def _wrong_thread(cloth: _Cloth, rng: Rng) -> _Cloth:
    """One thread missing or too thick, over part of its length or all of it; its neighbours give way."""
    own, (x, y) = int(rng.integers(2)), _on_cloth(rng)
    extent = cover((octaves(rng, 30, 200) - np.abs((Y - y, X - x)[own])) / 5)
    middle = np.floor(cloth.at[own][int(y + SIZE / 2), int(x + SIZE / 2)]) + 0.5
    off = cloth.at[own] - middle
    at, here = list(cloth.at), list(cloth.here)
    if rng.uniform() < 0.5:
        give = 0.15
        here[own] = here[own] * (1 - rng.uniform(0.7, 1.0) * extent * (np.abs(off) < 0.5))
    else:
        give = -rng.uniform(0.5, 0.85)
    at[own] = middle + off * (1 + give * extent * np.exp(-1.5 * off**2))
    return replace(cloth, at=(at[0], at[1]), here=(here[0], here[1]))


def _stained(cloth: _Cloth, rng: Rng) -> _Cloth:
    """A drop of oil (brown) or of dye (grey), darker along its dried edge."""
    drop = blot(rng, _on_cloth(rng), octaves(rng, 9, 36), 0.18)
    soft, strength = rng.uniform(1, 6), octaves(rng, 0.25, 0.85)
    absorbs = np.array([(0.55, 0.75, 1.0), (0.9, 0.95, 0.9)], np.float32)[rng.integers(2)]
    soaked = cover(drop / soft) * (0.75 + 0.1 * clouds(rng, 16)) + 0.3 * np.exp(-((drop / 2.5) ** 2))
    return replace(cloth, tint=cloth.tint * np.clip(1 - strength * soaked[..., None] * absorbs, 0, 1))


def _snagged(cloth: _Cloth, rng: Rng) -> _Cloth:
    """A thread pulled out into a loop that lies on the cloth and throws a shadow."""
    turning = rng.choice((-1, 1)) * rng.uniform(2.0, 5.5)
    path = curl(rng, _on_cloth(rng), octaves(rng, 32, 140), turning)
    loop = rng.uniform(0.7, 1.0) * stroke(path, rng.uniform(0.35, 0.6) * PITCH)
    shadow = ndimage.shift(ndimage.gaussian_filter(loop, 1.2), (2.0, 1.5), order=1)
    return replace(cloth, loop=loop, shade=cloth.shade * (1 - 0.45 * shadow))


TEXTILE = Product(
    _cloth,
    _render_cloth,
    {"hole": _torn, "thread": _wrong_thread, "stain": _stained, "snag": _snagged},
)
