"""Drawn product classes: a woven cloth and a turned metal part, with defects and pixel-exact masks.

A scene (every thread, every turning mark, the pose, the lamp, the sensor's noise) is drawn at random; a
defect changes the scene; both scenes are rendered, and what differs visibly between the two is the mask.
So a mask is what the defect really changed, not an outline somebody drew around it.

Lengths are pixels, angles radians, brightness 0 to 1 until the last step. Places are (x, y) from the
image's centre, x to the right and y down.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from evernorm.errors import DataError

SIZE = 256
VISIBLE = 6
"""Smallest change of a channel, in grey levels of 255, that counts as a change."""
SPECK = 8
"""Changed areas of fewer pixels than this are put back as they were."""

_Rng = np.random.Generator
_Image = npt.NDArray[np.uint8]  # [SIZE, SIZE, 3]
_Mask = npt.NDArray[np.bool_]  # [SIZE, SIZE]
_Field = npt.NDArray[np.floating]  # [SIZE, SIZE] where nothing else is said
_Place = tuple[float, float]
_Scene = TypeVar("_Scene")


def draw(kind: str, rng: np.random.Generator, defect: str | None = None) -> tuple[_Image, _Mask]:
    """Draw one image of a class.

    The generator advances by the same two numbers whatever is drawn, and the scene depends on the first
    alone: from the same generator state, a defective image equals the normal one outside its mask.

    Args:
        kind: What to draw, "textile" or "machined_part".
        rng: Where the seeds of the scene and of the defect come from.
        defect: One of ``DEFECTS[kind]``, or None for a normal image.

    Returns:
        The image, uint8 RGB [256, 256, 3], and the mask of the pixels the defect changed, bool [256, 256];
        without a defect the mask is empty, with one it never is.

    Raises:
        DataError: No such kind, or no such defect of this kind.
    """
    if kind not in _PRODUCTS:
        raise DataError(f"no drawn class {kind!r}; choose one of {', '.join(_PRODUCTS)}")
    if defect is not None and defect not in DEFECTS[kind]:
        raise DataError(f"{kind} has no defect {defect!r}; choose one of {', '.join(DEFECTS[kind])}")
    product = _PRODUCTS[kind]
    scene_rng, defect_rng = (np.random.default_rng(seed) for seed in rng.integers(2**63, size=2))
    scene = product.scene(scene_rng)
    normal = product.render(scene)
    mask = np.zeros((SIZE, SIZE), np.bool_)
    if defect is None:
        return normal, mask
    while not mask.any():  # too faint to be seen, or hidden in a bore: that is no defect, draw another
        defective = product.render(product.defects[defect](scene, defect_rng))
        mask = _changed(normal, defective)
    return np.where(mask[..., None], defective, normal), mask


def _changed(normal: _Image, defective: _Image) -> _Mask:
    """Pixels that differ visibly, with pinholes closed and specks dropped."""
    change = np.abs(normal.astype(np.int16) - defective).max(axis=-1) >= VISIBLE
    closed = ndimage.binary_closing(np.pad(change, 2), np.ones((3, 3)), iterations=2)[2:-2, 2:-2]
    areas, _ = ndimage.label(closed, np.ones((3, 3)))
    large = np.bincount(areas.ravel()) >= SPECK
    large[0] = False
    mask: _Mask = large[areas]
    return mask


# --- what both classes are drawn with --------------------------------------------------------------------

_Y, _X = np.mgrid[:SIZE, :SIZE].astype(np.float32) - (SIZE - 1) / 2


def _expose(light: _Field, noise: _Field) -> _Image:
    """What the camera stores of light [SIZE, SIZE, 3]: lens blur, sensor noise, 8 bits."""
    blurred = ndimage.gaussian_filter(light, (0.55, 0.55, 0), truncate=3)
    stored: _Image = np.clip((blurred + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
    return stored


def _noise(rng: _Rng, sigma: float) -> _Field:
    """Sensor noise [SIZE, SIZE, 3], mostly common to the channels, as it is after demosaicing."""
    grey = rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    colour = rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32)
    return np.float32(sigma) * (grey + np.float32(0.4) * colour)


def _lamp(rng: _Rng) -> _Field:
    """Exposure, a gradient across the image and darker corners; around 1."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.10)
    gradient = slope * (np.cos(angle) * _X + np.sin(angle) * _Y) / SIZE * 2
    vignette = rng.uniform(0.02, 0.05) * (_X**2 + _Y**2) / (SIZE / 2) ** 2
    return np.asarray(rng.normal(1.0, 0.03) + gradient - vignette, np.float32)


def _clouds(rng: _Rng, cells: int) -> _Field:
    """Smooth noise of about unit deviation with `cells` bumps across the image."""
    coarse = Image.fromarray(rng.standard_normal((cells + 3, cells + 3), dtype=np.float32))
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) * np.float32(1.25)


def _cover(distance: _Field) -> _Field:
    """Share of a pixel that lies inside a shape, from the signed distance to its outline, inside positive."""
    share: _Field = np.clip(distance + 0.5, 0, 1)
    return share


def _blot(rng: _Rng, centre: _Place, radius: float, ragged: float) -> _Field:
    """Signed distance to the outline of an uneven blot, inside positive."""
    x, y = _X - np.float32(centre[0]), _Y - np.float32(centre[1])
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.3)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    distance: _Field = radius * (1 + ragged * _clouds(rng, 24)) - np.hypot(along / stretch, across * stretch)
    return distance


def _curl(rng: _Rng, centre: _Place, length: float, turning: float) -> npt.NDArray[np.float64]:
    """A slightly shaky line that turns by `turning`, mostly halfway; points (x, y) [48, 2]."""
    shaky = 0.04 * np.cumsum(rng.standard_normal(48))
    heading = rng.uniform(0, 2 * np.pi) + turning * np.tanh(np.linspace(-2, 2, 48)) / 2 + shaky
    path = np.cumsum(np.stack((np.cos(heading), np.sin(heading)), axis=-1), axis=0) * length / 48
    return np.asarray(path - path.mean(axis=0) + centre)


def _stroke(points: npt.NDArray[np.float64], width: float) -> _Field:
    """Share of each pixel under a line of `width` through `points`."""
    fine = 4
    canvas = Image.new("L", (SIZE * fine, SIZE * fine))
    path = [(float(x), float(y)) for x, y in (points + SIZE / 2) * fine]
    ImageDraw.Draw(canvas).line(path, fill=255, width=max(1, round(width * fine)), joint="curve")
    return np.asarray(canvas.reduce(fine), dtype=np.float32) / 255


def _octaves(rng: _Rng, low: float, high: float) -> float:
    """A size or a strength between the bounds, with as many from `low` to twice it as in any octave above."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


# --- textile ---------------------------------------------------------------------------------------------

PITCH = 7.5
"""Distance between neighbouring threads."""
_THREADS = 64


@dataclass(frozen=True)
class _Cloth:
    """A plain weave; the first of each pair is the warp (upright threads), the second the weft."""

    at: tuple[_Field, _Field]  # position across the threads, in threads
    here: tuple[_Field, _Field]  # share of the thread that is there: 0 where it is torn or missing
    width: tuple[_Field, _Field]  # in threads, [thread, 4-pixel step along it]
    tone: tuple[_Field, _Field]  # brightness of the yarn, [thread, step]
    dye: _Field  # colours of warp, weft and the table below, [3, 3]
    tint: _Field  # light that dirt lets through, [SIZE, SIZE, 3]
    loop: _Field  # share of the pixel covered by yarn lying on the cloth
    shade: _Field  # lamp and shadows
    noise: _Field


def _cloth(rng: _Rng) -> _Cloth:
    """Draw a flawless piece of cloth: its pose, the unevenness of its yarn, its dye and the light."""
    tilt, pitch = rng.normal(0, 0.03), PITCH * rng.normal(1, 0.015)
    at, width, tone = [], [], []
    for across, along in ((_X, _Y), (_Y, -_X)):
        bow = rng.normal(0, 0.15) * (along / SIZE * 2) ** 2 + 0.06 * _clouds(rng, 5)
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
        tint=np.repeat(1 + np.float32(0.015) * _clouds(rng, 5)[..., None], 3, axis=-1),
        loop=bare,
        shade=_lamp(rng),
        noise=_noise(rng, 0.012),
    )


def _render_cloth(cloth: _Cloth) -> _Image:
    """Photograph the cloth: of two crossing threads the upper one hides the lower."""
    thread = [np.floor(at) for at in cloth.at]
    height, light, there = [], [], []
    for own, along in ((0, _Y), (1, -_X)):
        yarn = thread[own].astype(np.intp), ((along + SIZE) / 4).astype(np.intp)
        off, width, position = cloth.at[own] - thread[own] - 0.5, cloth.width[own][yarn], cloth.at[1 - own]
        arch = np.sqrt(np.clip(1 - (2 * off / width) ** 2, 0, 1))
        # Plain weave: a thread goes over and under those it crosses in turn, half a wave a crossing.
        wave = np.cos(np.pi * (thread[own] + position - 0.5 + own))
        twist = np.sin(2 * np.pi * (2.0 * position + 1.2 * off))
        there.append(_cover((width / 2 - np.abs(off)) * PITCH) * cloth.here[own])
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
    return _expose(colour * cloth.tint * cloth.shade[..., None], cloth.noise)


def _on_cloth(rng: _Rng) -> _Place:
    """Somewhere on the cloth, not at the very border."""
    x, y = rng.uniform(-0.42, 0.42, 2) * SIZE
    return float(x), float(y)


def _torn(cloth: _Cloth, rng: _Rng) -> _Cloth:
    """A hole, or a spot worn thin; each thread ends where it happened to break."""
    tear = _blot(rng, _on_cloth(rng), PITCH * _octaves(rng, 0.6, 2.6), 0.12)
    worn = rng.uniform(0.6, 1.0)
    ends = rng.normal(0, 0.6 * PITCH, (2, _THREADS)).astype(np.float32)
    warp, weft = (
        here * (1 - worn * _cover(tear + end[at.astype(np.intp)]))
        for here, end, at in zip(cloth.here, ends, cloth.at, strict=True)
    )
    return replace(cloth, here=(warp, weft))


def _wrong_thread(cloth: _Cloth, rng: _Rng) -> _Cloth:
    """One thread missing or too thick, over part of its length or all of it; its neighbours give way."""
    own, (x, y) = int(rng.integers(2)), _on_cloth(rng)
    extent = _cover((_octaves(rng, 30, 200) - np.abs((_Y - y, _X - x)[own])) / 5)
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


def _stained(cloth: _Cloth, rng: _Rng) -> _Cloth:
    """A drop of oil (brown) or of dye (grey), darker along its dried edge."""
    blot = _blot(rng, _on_cloth(rng), _octaves(rng, 9, 36), 0.18)
    soft, strength = rng.uniform(1, 6), _octaves(rng, 0.25, 0.85)
    absorbs = np.array([(0.55, 0.75, 1.0), (0.9, 0.95, 0.9)], np.float32)[rng.integers(2)]
    soaked = _cover(blot / soft) * (0.75 + 0.1 * _clouds(rng, 16)) + 0.3 * np.exp(-((blot / 2.5) ** 2))
    return replace(cloth, tint=cloth.tint * np.clip(1 - strength * soaked[..., None] * absorbs, 0, 1))


def _snagged(cloth: _Cloth, rng: _Rng) -> _Cloth:
    """A thread pulled out into a loop that lies on the cloth and throws a shadow."""
    turning = rng.choice((-1, 1)) * rng.uniform(2.0, 5.5)
    path = _curl(rng, _on_cloth(rng), _octaves(rng, 32, 140), turning)
    loop = rng.uniform(0.7, 1.0) * _stroke(path, rng.uniform(0.35, 0.6) * PITCH)
    shadow = ndimage.shift(ndimage.gaussian_filter(loop, 1.2), (2.0, 1.5), order=1)
    return replace(cloth, loop=loop, shade=cloth.shade * (1 - 0.45 * shadow))


# --- machined part ---------------------------------------------------------------------------------------

RADIUS, HUB, BORE, BOLT_CIRCLE, BOLT = 104.0, 46.0, 21.0, 75.0, 9.0
"""Radii of the disc, of its raised hub, of the bore, of the circle of bolt holes and of one hole."""
_BOLTS = 6


@dataclass(frozen=True)
class _Part:
    """A turned flange on a rubber mat."""

    x: _Field  # from the part's axis
    y: _Field
    turn: float  # angle of the first bolt hole
    outline: _Field  # signed distance to the outer edge, inside positive
    bolts: _Field  # radius of each bolt hole, [_BOLTS]
    grooves: _Field  # turning marks, [quarter pixel along the radius]
    lamps: tuple[tuple[float, float, float], ...]  # angle, strength and spread of each highlight
    slope: _Field  # of the surface to the right and down, [2, SIZE, SIZE]
    marks: _Field  # light added by scratches
    raw: _Field  # share of the pixel that is broken, unmachined metal
    rust: _Field  # share of the pixel that is rusty
    grain: _Field  # unevenness of chamfers, raw metal and rust
    metal: _Field  # colour, [3]
    mat: _Field  # the ground's light, [SIZE, SIZE, 3]
    shade: _Field
    noise: _Field


def _part(rng: _Rng) -> _Part:
    """Draw a flawless part: its pose, its turning marks, harmless handling marks, the lamps and the mat."""
    centre, size = rng.normal(0, 2.5, 2).astype(np.float32), np.float32(rng.normal(1, 0.008))
    x, y = (_X - centre[0]) / size, (_Y - centre[1]) / size
    radius = np.hypot(x, y)
    feed = np.sin(np.arange(4 * SIZE) * np.pi / 2 / rng.uniform(2.9, 3.5) + rng.uniform(0, 2 * np.pi))
    uneven, broad = rng.standard_normal((2, 4 * SIZE))
    grooves = (
        0.5 * feed + 1.8 * ndimage.gaussian_filter1d(uneven, 2.5) + 4 * ndimage.gaussian_filter1d(broad, 25)
    )
    main = rng.normal(-0.8, 0.15)
    lamps = (
        (main, rng.normal(0.32, 0.025), rng.uniform(0.11, 0.15)),
        (main + rng.normal(1.3, 0.1), rng.normal(0.14, 0.02), rng.uniform(0.15, 0.25)),
    )
    marks = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(rng.integers(1, 5)):
        handled = _curl(rng, _on_face(rng), _octaves(rng, 8, 50), rng.normal(0, 0.4))
        marks += np.float32(rng.normal(0, 0.035)) * _stroke(handled, 0.6)
    warmer = rng.normal(0, 0.015) * np.array((1, 0, -1))
    mat = 0.13 + 0.012 * _clouds(rng, 110) + 0.006 * _clouds(rng, 12)
    mat = mat * (0.35 + 0.65 / (1 + np.exp((RADIUS + 3 - np.hypot(x - 4, y - 6)) / 4)))
    return _Part(
        x=x,
        y=y,
        turn=rng.uniform(0, 2 * np.pi),
        outline=RADIUS - radius,
        bolts=np.full(_BOLTS, BOLT, np.float32),
        grooves=grooves.astype(np.float32),
        lamps=lamps,
        slope=np.zeros((2, SIZE, SIZE), np.float32),
        marks=marks,
        raw=np.zeros_like(marks),
        rust=np.zeros_like(marks),
        grain=_clouds(rng, 90),
        metal=(np.array((0.98, 1.0, 1.03)) * (1 + warmer)).astype(np.float32),
        mat=mat[..., None] * (np.array((0.95, 1.0, 1.02)) * (1 + warmer)).astype(np.float32),
        shade=_lamp(rng) * (1 + np.float32(0.03) * _clouds(rng, 3)),
        noise=_noise(rng, 0.010),
    )


def _render_part(part: _Part) -> _Image:
    """Photograph the part."""
    radius, angle = np.hypot(part.x, part.y), np.arctan2(part.y, part.x)
    lamp = part.lamps[0][0]

    # Grooves run round the axis, so each lamp shows as a pair of bright wedges (anisotropic reflection).
    groove = part.grooves[(4 * radius).astype(np.intp)] * np.where(
        radius < HUB, np.float32(0.6), np.float32(1)
    )
    tilt = (part.slope[1] * part.x - part.slope[0] * part.y) / (radius + 1)
    light = 0.33 + 0.03 * groove + 0.8 * (part.slope[0] * np.cos(lamp) + part.slope[1] * np.sin(lamp))
    for direction, strength, spread in part.lamps:
        light += strength * np.exp(-(np.sin(angle - direction + 0.04 * groove + 1.5 * tilt) ** 2) / spread)
    light = np.clip(light, 0.10, None) + part.marks

    def bevel(where: _Field, facing: _Field) -> None:
        """Lay a chamfer over the share `where` of each pixel that faces the angle `facing`."""
        glint = np.clip(np.cos(facing - lamp), 0, 1)
        light[...] += where * (0.30 + 0.55 * glint**2 + 0.02 * part.grain - light)

    def bore(outline: _Field, outward: _Field, chamfer: float) -> None:
        """Cut a hole by its signed distance; its chamfer faces its axis, its far wall catches some light."""
        bevel(_cover(outline + chamfer), outward + np.pi)
        wall = np.clip(np.cos(outward - lamp), 0, 1) * np.exp(-np.clip(outline, 0, None) / 3)
        light[...] += _cover(outline) * (0.05 + 0.20 * wall - light)

    bevel(_cover(2.0 - np.abs(radius - HUB)), angle)
    bore(BORE - radius, angle, 3.0)
    # Fold the circle of bolt holes into the one sector that holds one hole.
    sector = 2 * np.pi / _BOLTS
    bolt = np.floor((angle - part.turn) / sector + 0.5)
    folded = angle - part.turn - bolt * sector
    x, y = radius * np.cos(folded) - BOLT_CIRCLE, radius * np.sin(folded)
    drilled = part.bolts[bolt.astype(np.intp) % _BOLTS]
    holes = np.where(drilled > 0, drilled - np.hypot(x, y), -np.float32(SIZE))
    bore(holes, np.arctan2(y, x) + angle - folded, 2.0)
    bevel(_cover(4.0 - part.outline), angle)
    light += part.raw * (0.55 + 0.12 * part.grain - light)

    colour = light[..., None] * part.metal
    solid = _cover(-holes) * _cover(radius - BORE)
    iron = np.array((0.40, 0.23, 0.12), np.float32) * (0.8 + 0.25 * part.grain)[..., None]
    colour += (part.rust * solid)[..., None] * (iron - colour)
    scene = part.mat + _cover(part.outline)[..., None] * (colour - part.mat)
    return _expose(scene * part.shade[..., None], part.noise)


def _on_face(rng: _Rng, low: float = BORE + 6, high: float = RADIUS - 8) -> _Place:
    """Somewhere on the part, at a distance from its axis between the bounds."""
    radius, angle = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    return float(radius * np.cos(angle)), float(radius * np.sin(angle))


def _scratched(part: _Part, rng: _Rng) -> _Part:
    """A scratch: a bright or dark line with its raised lip beside it."""
    line = _curl(rng, _on_face(rng), _octaves(rng, 18, 120), rng.normal(0, 0.4))
    width, strength = rng.uniform(1.0, 2.2), _octaves(rng, 0.3, 0.9) * rng.choice((-1, 1))
    lip = _stroke(line + rng.normal(0, 0.9, 2), width)
    return replace(part, marks=part.marks + strength * (_stroke(line, width) - 0.5 * lip))


def _dented(part: _Part, rng: _Rng) -> _Part:
    """A round dent: the surface slopes towards its middle and throws the highlights elsewhere."""
    (x, y), size = _on_face(rng), _octaves(rng, 3.5, 10)
    away = np.stack((_X - x, _Y - y))
    steep = rng.uniform(0.4, 1.1) / size * np.exp(-(away**2).sum(axis=0) / (2 * size**2))
    return replace(part, slope=part.slope + steep * away)


def _chipped(part: _Part, rng: _Rng) -> _Part:
    """The rim chipped, or a burr left standing on it: raw metal either way."""
    size = _octaves(rng, 5, 15)
    bite = _blot(rng, _on_face(rng, RADIUS - 0.2 * size, RADIUS + 0.5 * size), size, 0.25)
    if rng.uniform() < 0.6:
        facet = rng.uniform(1, 3)
        return replace(part, outline=np.minimum(part.outline, -bite), raw=_cover(bite + facet))
    burr = np.minimum(bite, part.outline + rng.uniform(2, 6) * (1 + 0.5 * _clouds(rng, 40)))
    return replace(part, outline=np.maximum(part.outline, burr), raw=_cover(burr) * _cover(2 - part.outline))


def _undrilled(part: _Part, rng: _Rng) -> _Part:
    """A bolt hole never drilled, or only begun with a smaller drill."""
    begun = rng.uniform(0, 0.65)
    bolts = part.bolts.copy()
    bolts[rng.integers(_BOLTS)] *= begun if begun > 0.25 else 0
    return replace(part, bolts=bolts)


def _rusty(part: _Part, rng: _Rng) -> _Part:
    """A patch of rust, from a brown breath to a crust."""
    blot = _blot(rng, _on_face(rng), _octaves(rng, 6, 24), 0.3)
    patch = _cover(blot / rng.uniform(3, 8)) * np.clip(0.8 + 0.4 * part.grain, 0, 1)
    return replace(part, rust=_octaves(rng, 0.25, 0.95) * patch)


@dataclass(frozen=True)
class _Product(Generic[_Scene]):
    """How a class is drawn."""

    scene: Callable[[_Rng], _Scene]
    render: Callable[[_Scene], _Image]
    defects: dict[str, Callable[[_Scene, _Rng], _Scene]]


_PRODUCTS: dict[str, _Product[Any]] = {
    "textile": _Product(
        _cloth,
        _render_cloth,
        {"hole": _torn, "thread": _wrong_thread, "stain": _stained, "snag": _snagged},
    ),
    "machined_part": _Product(
        _part,
        _render_part,
        {
            "scratch": _scratched,
            "dent": _dented,
            "chip": _chipped,
            "missing_hole": _undrilled,
            "rust": _rusty,
        },
    ),
}

DEFECTS: dict[str, tuple[str, ...]] = {kind: tuple(product.defects) for kind, product in _PRODUCTS.items()}
"""The defects each class can have."""
