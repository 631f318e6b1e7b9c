"""A turned metal flange on a rubber mat: scratched, dented, chipped, rusty or short of a bolt hole."""

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

RADIUS, HUB, BORE, BOLT_CIRCLE, BOLT = 104.0, 46.0, 21.0, 75.0, 9.0
"""Radii of the disc, of its raised hub, of the bore, of the circle of bolt holes and of one hole."""
_BOLTS = 6


@dataclass(frozen=True)
class _Part:
    """A turned flange on a rubber mat."""

    x: Field  # from the part's axis
    y: Field
    turn: float  # angle of the first bolt hole
    outline: Field  # signed distance to the outer edge, inside positive
    bolts: Field  # radius of each bolt hole, [_BOLTS]
    grooves: Field  # turning marks, [quarter pixel along the radius]
    lamps: tuple[tuple[float, float, float], ...]  # angle, strength and spread of each highlight
    slope: Field  # of the surface to the right and down, [2, SIZE, SIZE]
    marks: Field  # light added by scratches
    raw: Field  # share of the pixel that is broken, unmachined metal
    rust: Field  # share of the pixel that is rusty
    grain: Field  # unevenness of chamfers, raw metal and rust
    metal: Field  # colour, [3]
    mat: Field  # the ground's light, [SIZE, SIZE, 3]
    shade: Field
    noise: Field


def _part(rng: Rng) -> _Part:
    """Draw a flawless part: its pose, its turning marks, harmless handling marks, the lamps and the mat."""
    centre, size = rng.normal(0, 2.5, 2).astype(np.float32), np.float32(rng.normal(1, 0.008))
    x, y = (X - centre[0]) / size, (Y - centre[1]) / size
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
        handled = curl(rng, _on_face(rng), octaves(rng, 8, 50), rng.normal(0, 0.4))
        marks += np.float32(rng.normal(0, 0.035)) * stroke(handled, 0.6)
    warmer = rng.normal(0, 0.015) * np.array((1, 0, -1))
    mat = 0.13 + 0.012 * clouds(rng, 110) + 0.006 * clouds(rng, 12)
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
        grain=clouds(rng, 90),
        metal=(np.array((0.98, 1.0, 1.03)) * (1 + warmer)).astype(np.float32),
        mat=mat[..., None] * (np.array((0.95, 1.0, 1.02)) * (1 + warmer)).astype(np.float32),
        shade=lamplight(rng) * (1 + np.float32(0.03) * clouds(rng, 3)),
        noise=sensor_noise(rng, 0.010),
    )


def _render_part(part: _Part) -> Picture:
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

    def bevel(where: Field, facing: Field) -> None:
        """Lay a chamfer over the share `where` of each pixel that faces the angle `facing`."""
        glint = np.clip(np.cos(facing - lamp), 0, 1)
        light[...] += where * (0.30 + 0.55 * glint**2 + 0.02 * part.grain - light)

    def bore(outline: Field, outward: Field, chamfer: float) -> None:
        """Cut a hole by its signed distance; its chamfer faces its axis, its far wall catches some light."""
        bevel(cover(outline + chamfer), outward + np.pi)
        wall = np.clip(np.cos(outward - lamp), 0, 1) * np.exp(-np.clip(outline, 0, None) / 3)
        light[...] += cover(outline) * (0.05 + 0.20 * wall - light)

    bevel(cover(2.0 - np.abs(radius - HUB)), angle)
    bore(BORE - radius, angle, 3.0)
    # Fold the circle of bolt holes into the one sector that holds one hole.
    sector = 2 * np.pi / _BOLTS
    bolt = np.floor((angle - part.turn) / sector + 0.5)
    folded = angle - part.turn - bolt * sector
    x, y = radius * np.cos(folded) - BOLT_CIRCLE, radius * np.sin(folded)
    drilled = part.bolts[bolt.astype(np.intp) % _BOLTS]
    holes = np.where(drilled > 0, drilled - np.hypot(x, y), -np.float32(SIZE))
    bore(holes, np.arctan2(y, x) + angle - folded, 2.0)
    bevel(cover(4.0 - part.outline), angle)
    light += part.raw * (0.55 + 0.12 * part.grain - light)

    colour = light[..., None] * part.metal
    solid = cover(-holes) * cover(radius - BORE)
    iron = np.array((0.40, 0.23, 0.12), np.float32) * (0.8 + 0.25 * part.grain)[..., None]
    colour += (part.rust * solid)[..., None] * (iron - colour)
    scene = part.mat + cover(part.outline)[..., None] * (colour - part.mat)
    return expose(scene * part.shade[..., None], part.noise)


def _on_face(rng: Rng, low: float = BORE + 6, high: float = RADIUS - 8) -> Place:
    """Somewhere on the part, at a distance from its axis between the bounds."""
    radius, angle = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
    return float(radius * np.cos(angle)), float(radius * np.sin(angle))


def _scratched(part: _Part, rng: Rng) -> _Part:
    """A scratch: a bright or dark line with its raised lip beside it."""
    line = curl(rng, _on_face(rng), octaves(rng, 18, 120), rng.normal(0, 0.4))
    width, strength = rng.uniform(1.0, 2.2), octaves(rng, 0.3, 0.9) * rng.choice((-1, 1))
    lip = stroke(line + rng.normal(0, 0.9, 2), width)
    return replace(part, marks=part.marks + strength * (stroke(line, width) - 0.5 * lip))


def _dented(part: _Part, rng: Rng) -> _Part:
    """A round dent: the surface slopes towards its middle and throws the highlights elsewhere."""
    (x, y), size = _on_face(rng), octaves(rng, 3.5, 10)
    away = np.stack((X - x, Y - y))
    steep = rng.uniform(0.4, 1.1) / size * np.exp(-(away**2).sum(axis=0) / (2 * size**2))
    return replace(part, slope=part.slope + steep * away)


def _chipped(part: _Part, rng: Rng) -> _Part:
    """The rim chipped, or a burr left standing on it: raw metal either way."""
    size = octaves(rng, 5, 15)
    bite = blot(rng, _on_face(rng, RADIUS - 0.2 * size, RADIUS + 0.5 * size), size, 0.25)
    if rng.uniform() < 0.6:
        facet = rng.uniform(1, 3)
        return replace(part, outline=np.minimum(part.outline, -bite), raw=cover(bite + facet))
    burr = np.minimum(bite, part.outline + rng.uniform(2, 6) * (1 + 0.5 * clouds(rng, 40)))
    return replace(part, outline=np.maximum(part.outline, burr), raw=cover(burr) * cover(2 - part.outline))


def _undrilled(part: _Part, rng: Rng) -> _Part:
    """A bolt hole never drilled, or only begun with a smaller drill."""
    begun = rng.uniform(0, 0.65)
    bolts = part.bolts.copy()
    bolts[rng.integers(_BOLTS)] *= begun if begun > 0.25 else 0
    return replace(part, bolts=bolts)


def _rusty(part: _Part, rng: Rng) -> _Part:
    """A patch of rust, from a brown breath to a crust."""
    spot = blot(rng, _on_face(rng), octaves(rng, 6, 24), 0.3)
    patch = cover(spot / rng.uniform(3, 8)) * np.clip(0.8 + 0.4 * part.grain, 0, 1)
    return replace(part, rust=octaves(rng, 0.25, 0.95) * patch)


MACHINED_PART = Product(
    _part,
    _render_part,
    {
        "scratch": _scratched,
        "dent": _dented,
        "chip": _chipped,
        "missing_hole": _undrilled,
        "rust": _rusty,
    },
)
