"""A bank as one ONNX graph: preparing an image, the frozen pass, routing, score, map and decision.

The graph does what `MemoryDetector` does (`memory.candidates`, `memory.routing`, `memory.scoring`) for one image, and
holds all that it needs. It runs where neither evernorm nor torch is installed.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from evernorm.alignment.alignment import MEASURED
from evernorm.errors import MachineError, ParamsError
from evernorm.export.resizing import resizing
from evernorm.features.engine import choose_engine
from evernorm.features.frozen import PATCHES, backbone_kit
from evernorm.features.kit import Kit
from evernorm.maps import map_operators
from evernorm.memory.candidates import WITHIN
from evernorm.memory.params import Routing, Score
from evernorm.memory.scoring import TOP
from evernorm.methods.detector import Detector
from evernorm.methods.memory.base import MemoryDetector, RoutedMethodParams
from evernorm.params.groups import Device, PassEngine
from evernorm.types import Arrays

if TYPE_CHECKING:
    from onnx import ModelProto

OUTPUTS = ("class", "score", "threshold", "anomalous", "map", "map_threshold")
_HEAD = '<ir_version: 8, opset_import: ["": 17]>'
_FROZEN = "frozen/"
_BODY = """
    place_now = Gather (order, turn)
    own = Gather (rows, place_now)
    own_norms = Gather (norms, place_now)
    own_turned = Transpose <perm = [1, 0]> (own)
    product = MatMul (centred, own_turned)
    twice = Mul (product, minus_two)
    apart = Add (twice, own_norms)
    least = ReduceMin <axes = [1], keepdims = 0> (apart)
    whole_distance = Add (least, lengths)
    positive = Max (whole_distance, nothing)
    found = Sqrt (positive)
    value = {statistic} <axes = [0], keepdims = 0> (found)
    lower = Less (value, best_before)
    alike = Equal (value, best_before)
    earlier = Less (place_now, place_before)
    first_of_equals = And (alike, earlier)
    better = Or (lower, first_of_equals)
    best_after = Where (better, value, best_before)
    place_after = Where (better, place_now, place_before)
    patches_after = Where (better, found, patches_before)
    goes_on = Gather (nearer, turn)
"""
_TAIL = """
    flat = Reshape (features, flat_shape)
    image_mean = ReduceMean <axes = [0], keepdims = 1> (flat)
    image_centred = Sub (image_mean, descriptor_centre)
    image_turned = Transpose <perm = [1, 0]> (image_centred)
    image_length = ReduceSumSquare <keepdims = 0> (image_centred)
    inner = MatMul (descriptors, image_turned)
    inner_twice = Mul (inner, minus_two)
    inner_apart = Add (inner_twice, descriptor_norms)
    described = Add (inner_apart, image_length)
    by_class = Reshape (described, class_shape)
    to_class = ReduceMin <axes = [1], keepdims = 0> (by_class)
    to_class_positive = Max (to_class, nothing)
    to_class_distance = Sqrt (to_class_positive)
    nearest, order = TopK <axis = 0, largest = 0, sorted = 1> (to_class_distance, asked)
    at_first = Constant <value_int = 0> ()
    the_nearest = Gather (nearest, at_first)
    limit = Mul (the_nearest, within)
    is_near = LessOrEqual (nearest, limit)
    is_near_too = Slice (is_near, second, end)
    nearer = Concat <axis = 0> (is_near_too, no_more)
    centred = Sub (flat, row_centre)
    lengths = ReduceSumSquare <axes = [1], keepdims = 0> (centred)
    best, place, patches = Loop <body = ask (int64 turn, bool going, float best_before, int64 place_before, float[{count}] patches_before)
        => (bool goes_on, float best_after, int64 place_after, float[{count}] patches_after) {{ {body} }}> (turns, yes, far, no_place, no_patches)
    highest, highest_places = TopK <axis = 0, largest = 1, sorted = 1> (patches, top)
    raw = ReduceMean <axes = [0], keepdims = 0> (highest)
    mean = Gather (means, place)
    deviation = Gather (deviations, place)
    above = Sub (raw, mean)
    score = Div (above, deviation)
    raw_threshold = Gather (raw_thresholds, place)
    anomalous = Greater (raw, raw_threshold)
    threshold = Gather (thresholds, place)
    patch_mean = Gather (patch_means, place)
    patch_deviation = Gather (patch_deviations, place)
    patches_above = Sub (patches, patch_mean)
    patch_scores = Div (patches_above, patch_deviation)
    on_grid = Reshape (patch_scores, grid_shape)
    down = MatMul (map_rows, on_grid)
    map = MatMul (down, map_columns)
    map_threshold = Gather (map_thresholds, place)
    class = Identity (place)
"""


def refusals(detector: Detector) -> list[str]:
    """Why a bank cannot become one graph; empty where it can."""
    if type(detector) is not MemoryDetector or not detector.traits.routes:
        return [f"method is {detector.learner.name}; patchcore_cl and separate can be exported"]
    if not detector.states:
        return ["the bank is empty; learn a class first"]
    own, kind = detector.learner.own.knowledge, detector.learner.params.calibration.alignment
    faults = []
    if own.score is not Score.TOP:
        faults.append(f"{detector.learner.name}.knowledge.score is {own.score.value}; top can be exported")
    if kind in MEASURED:
        faults.append(f"calibration.alignment is {kind.value}; weibull and none can be exported")
    return faults


def graph_of(detector: Detector, shape: tuple[int, int]) -> "ModelProto":
    """The graph of a bank, for images of one height and width.

    Input ``image``: uint8 ``[H, W, 3]``, RGB. Outputs: ``class``, int64, the place among the classes; ``score`` and
    ``threshold``, float32, as `Prediction` has them; ``anomalous``, bool; ``map``, float32 ``[side, side]``, the
    standardised anomaly map at the size of the backbone's input; ``map_threshold``, float32.

    Raises:
        ParamsError: The bank cannot become one graph.
        MachineError: What writes graphs or checks them is not installed, or Pillow is of an unknown kind.
    """
    faults = refusals(detector)
    if faults or not isinstance(detector, MemoryDetector):
        raise ParamsError("this bank cannot be exported as one graph", faults)
    import onnx
    from onnx import compose

    backbone = detector.learner.backbone
    side, count, dim = backbone.preprocess.size, backbone.grid[0] * backbone.grid[1], backbone.dim
    nodes, tables = resizing(backbone.preprocess, shape)
    head = _parsed(
        f"prepare (uint8[{shape[0]}, {shape[1]}, 3] image",
        f"(uint8[1, {side}, {side}, 3] resized) {{ {nodes} }}",
        tables,
    )
    frozen = compose.add_prefix(onnx.load(_kit(detector).folder / f"{PATCHES}.onnx"), _FROZEN)
    statistic = detector.learner.params.own(RoutedMethodParams).evaluate.routing
    body = _BODY.format(statistic="ReduceMean" if statistic is Routing.MEAN else "ReduceMax")
    tail = _parsed(
        f"judge (float[1, {count}, {dim}] features",
        f"(int64 class, float score, float threshold, bool anomalous, float[{side}, {side}] map, float map_threshold) "
        f"{{ {_TAIL.format(count=count, body=body)} }}",
        _tables(detector),
    )
    whole = compose.merge_models(head, frozen, io_map=[("resized", f"{_FROZEN}images")])
    whole = compose.merge_models(whole, tail, io_map=[(f"{_FROZEN}{PATCHES}", "features")])
    onnx.checker.check_model(whole)
    return whole


def _kit(detector: MemoryDetector) -> Kit:
    """The frozen pass, also of a bank that is to be run by torch."""
    if kits := detector.kits():
        return kits[0]
    if (engine := choose_engine(PassEngine.AUTO, Device.CPU)) is PassEngine.TORCH:
        raise MachineError("a graph is checked by what will run it: `pip install openvino`, or onnxruntime")
    return backbone_kit(detector.learner.backbone.trainable, engine)


def _parsed(inputs: str, outputs: str, tables: Arrays) -> "ModelProto":
    """A model of text: its input, its outputs and nodes, and the tables that the nodes name."""
    from onnx import numpy_helper, parser

    kinds = {"float32": "float", "int64": "int64", "bool": "bool"}
    named = [f"{kinds[array.dtype.name]}{list(array.shape) or ''} {name}" for name, array in tables.items()]
    model: ModelProto = parser.parse_model(f"{_HEAD} {', '.join([inputs, *named])}) => {outputs}")
    del model.graph.input[1:]
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tables.items())
    return model


def _tables(detector: MemoryDetector) -> Arrays:
    """All numbers that the graph needs beside the network."""
    backbone, readings = detector.learner.backbone, detector.readings
    count, classes = backbone.grid[0] * backbone.grid[1], len(detector.classes)
    finder = detector.candidates
    whole = finder.descriptors if not finder.exhaustive else [memory.rows[:1] for memory in detector.memories]
    most = classes if finder.exhaustive else min(finder.most, classes)
    descriptors, rows = _padded(whole), _padded([memory.rows for memory in detector.memories])
    descriptor_centre, row_centre = (each.mean(axis=(0, 1)) for each in (descriptors, rows))
    descriptors, rows = descriptors - descriptor_centre, rows - row_centre
    side = backbone.preprocess.size
    map_rows, map_columns = map_operators(backbone.grid, side, (side, side))
    thresholds = np.array([reading.threshold for reading in readings], np.float32)
    tables: dict[str, Any] = {
        "flat_shape": np.array([count, backbone.dim]),
        "class_shape": np.array([classes, descriptors.shape[1]]),
        "grid_shape": np.array(backbone.grid),
        "descriptors": descriptors.reshape(-1, backbone.dim),
        "descriptor_norms": np.einsum("tkd,tkd->tk", descriptors, descriptors).reshape(-1, 1),
        "descriptor_centre": descriptor_centre[None],
        "rows": rows,
        "norms": np.einsum("tkd,tkd->tk", rows, rows),
        "row_centre": row_centre[None],
        "asked": np.array([most]),
        "turns": np.array(most),
        "within": np.array(np.inf if finder.exhaustive else WITHIN, np.float32),
        "second": np.array([1]),
        "end": np.array([np.iinfo(np.int64).max]),
        "no_more": np.array([False]),
        "yes": np.array(True),
        "far": np.array(np.finfo(np.float32).max),
        "no_place": np.array(0),
        "no_patches": np.zeros(count, np.float32),
        "minus_two": np.array(-2, np.float32),
        "nothing": np.array(0, np.float32),
        "top": np.array([max(1, round(TOP * count))]),
        "means": [reading.mean for reading in readings],
        "deviations": [reading.std for reading in readings],
        "raw_thresholds": thresholds,
        "thresholds": [float(reading.standardise(reading.threshold)) for reading in readings],
        "patch_means": [reading.patch_mean for reading in readings],
        "patch_deviations": [reading.patch_std for reading in readings],
        "map_thresholds": [
            float(reading.standardise_patches(thresholds[place : place + 1])[0])
            for place, reading in enumerate(readings)
        ],
        "map_rows": map_rows,
        "map_columns": np.ascontiguousarray(map_columns.T),
    }
    return {name: _plain(value) for name, value in tables.items()}


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _padded(parts: Any) -> Any:
    """Arrays ``[k, d]`` of each class as one ``[T, K, d]``; where a class has fewer rows, its first is there again."""
    most = max(len(part) for part in parts)
    return np.stack([np.concatenate([part, np.repeat(part[:1], most - len(part), axis=0)]) for part in parts])
