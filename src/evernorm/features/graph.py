"""A frozen network as ONNX graphs, which other engines than torch run; the weights stay in one file beside them.

A graph names its weights by their places in that file, so that several graphs of one network share them, and torch
reads the same file. torch's exporter by tracing is used, as the networks are traced as they run, hooks and all; the
graphs are checked against torch when they are made.
"""

import importlib.util
import json
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evernorm.errors import MachineError, ParamsError
from evernorm.features.engine import load_graph
from evernorm.files import write_arrays, write_bytes
from evernorm.params.groups import PassEngine
from evernorm.types import Arrays

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS = "backbone.safetensors"
REVISION = 1  # raised whenever the same network gives another graph
_NETWORK = "network."  # where a module that is traced keeps the network
_OPSET = 17
_TOLERANCE = 1e-4  # of the largest value


@dataclass(frozen=True)
class Traced:
    """What becomes a graph.

    Attributes:
        module: The frozen network is its `network`.
        inputs: An example of each input, of one image, by name, in the order in which the module takes them.
        outputs: Names of what it gives.
    """

    module: "nn.Module"
    inputs: "Mapping[str, Tensor]"
    outputs: Sequence[str]


def write_graphs(
    folder: Path, traced: Mapping[str, Traced], weights: Arrays, engine: PassEngine
) -> list[str]:
    """Write graphs and weights, and see that an engine computes what torch does.

    Args:
        folder: Where ``<name>.onnx`` and `WEIGHTS` are written.
        traced: By name.
        weights: Of the network, by the names of its state; of none, no file is written.
        engine: What will run them, not torch.

    Returns:
        Names of the files.

    Raises:
        MachineError: What converts is not installed.
        ParamsError: The network cannot be converted, or gives something else then.
    """
    files, places, stored = [f"{name}.onnx" for name in traced], {}, b""
    if weights:
        write_arrays(folder / WEIGHTS, weights)
        files, places, stored = [WEIGHTS, *files], _places(folder / WEIGHTS), (folder / WEIGHTS).read_bytes()
    for name, each in traced.items():
        path = folder / f"{name}.onnx"
        write_bytes(path, _exported(each, path, places, stored))
        _compare(path, each, engine)
    return files


def can_convert() -> bool:
    """Whether what converts is installed."""
    return importlib.util.find_spec("onnx") is not None


def _places(file: Path) -> dict[str, tuple[int, int]]:
    """Offset and length of each array in a safetensors file."""
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(size))
    begin = 8 + size
    return {
        name: (begin + told["data_offsets"][0], told["data_offsets"][1] - told["data_offsets"][0])
        for name, told in header.items()
        if name != "__metadata__"
    }


def _exported(traced: Traced, path: Path, places: Mapping[str, tuple[int, int]], stored: bytes) -> bytes:
    import torch

    try:
        import onnx
        from onnx.external_data_helper import set_external_data
    except ImportError as error:
        raise MachineError(
            "a network is converted for inference engines by onnx: `pip install onnx`, or set features.engine to torch"
        ) from error
    try:
        with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
            warnings.simplefilter("ignore")  # on shapes that become constants, as they are meant to
            torch.onnx.export(
                traced.module.eval(),
                tuple(traced.inputs.values()),
                path,
                input_names=list(traced.inputs),
                output_names=list(traced.outputs),
                opset_version=_OPSET,
                dynamo=False,
                do_constant_folding=False,  # or the weights would not be those of the file any more
                training=torch.onnx.TrainingMode.PRESERVE,
            )
    except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        raise ParamsError(
            f"{type(traced.module.network).__name__} cannot be converted for inference engines ({error}); set "
            f"features.engine to torch"
        ) from error
    model = onnx.load(path)
    for array in model.graph.initializer:
        offset, length = places.get(array.name.removeprefix(_NETWORK), (0, 0))
        if length and stored[offset : offset + length] == array.raw_data:
            set_external_data(array, WEIGHTS, offset=offset, length=length)
            array.ClearField("raw_data")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _compare(path: Path, traced: Traced, engine: PassEngine) -> None:
    """See that the graph gives what torch gives, on noise."""
    import torch

    rng = np.random.default_rng(0)
    noise = {name: _noise(value, rng) for name, value in traced.inputs.items()}
    with torch.inference_mode():
        given: Any = traced.module(*noise.values())
    wanted = dict(zip(traced.outputs, given if isinstance(given, tuple) else (given,), strict=True))
    found = load_graph(path, engine)({name: value.numpy() for name, value in noise.items()})
    for name, value in wanted.items():
        one, other = value.numpy(), found[name]
        off = np.abs(one - other).max(initial=0) / max(float(np.abs(one).max(initial=0)), 1e-12)
        if off > _TOLERANCE:
            raise ParamsError(
                f"{engine.value} computes another {name} than torch does (off by {off:.1e} of the largest value); set "
                f"features.engine to torch"
            )


def _noise(example: "Tensor", rng: np.random.Generator) -> "Tensor":
    import torch

    if example.dtype == torch.uint8:
        return torch.from_numpy(rng.integers(0, 256, example.shape, np.uint8))
    if example.dtype == torch.bool:
        return example
    return torch.from_numpy(rng.normal(size=example.shape).astype(np.float32))
