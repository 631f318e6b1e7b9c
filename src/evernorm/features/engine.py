"""What runs a frozen pass: an inference engine that is kept for that, or torch.

Everything is computed in float32, one image at a time: what an image is seen as then depends on nothing but the image.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from evernorm.cuda import has_cuda
from evernorm.errors import MachineError, StateError
from evernorm.params.groups import Device, PassEngine
from evernorm.types import Arrays

Graph = Callable[[Arrays], dict[str, Any]]
"""Arrays by name → arrays by name."""


def choose_engine(engine: PassEngine, device: Device) -> PassEngine:
    """The engine that runs here; `auto` takes torch where there is CUDA, else the fastest that is installed.

    Raises:
        MachineError: The one that is asked for is not installed, or does not run on the device.
    """
    if engine is PassEngine.AUTO:
        if device is Device.CUDA or (device is Device.AUTO and _installed(PassEngine.TORCH) and has_cuda()):
            return PassEngine.TORCH
        fastest = (PassEngine.OPENVINO, PassEngine.ONNXRUNTIME, PassEngine.TORCH)
        for each in fastest:
            if _installed(each):
                return each
        raise MachineError("nothing can run the backbone here: `pip install openvino`")
    if not _installed(engine):
        raise MachineError(
            f"features.engine is {engine.value}, which is not installed: `pip install {engine.value}`, or set it to auto"
        )
    if device is Device.CUDA and engine is not PassEngine.TORCH:
        raise MachineError(
            f"features.engine is {engine.value}, which runs on a processor here, and features.device is cuda; set the "
            f"engine to auto or torch, or the device to auto or cpu"
        )
    return engine


def load_graph(path: Path, engine: PassEngine) -> Graph:
    """Make a stored graph ready to run.

    Args:
        path: An ``.onnx`` file; its weights lie beside it.
        engine: Not torch.

    Raises:
        StateError: The file is missing or damaged.
    """
    load = _openvino if engine is PassEngine.OPENVINO else _onnxruntime
    if not path.is_file():
        raise StateError(f"{path} is missing; fetch the bank again")
    try:
        return load(path)
    except Exception as error:  # each engine has errors of its own
        raise StateError(f"{path} cannot be read by {engine.value}: {error}") from error


def silence_openvino() -> None:
    """To be called before openvino is imported, as that alone would tell its makers of the import.

    Where its telemetry cannot be imported, a stub of its own takes the place, which does nothing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def _openvino(path: Path) -> Graph:
    silence_openvino()
    import openvino

    core = openvino.Core()
    # Its default on some processors is bfloat16, in which features are off by percents.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads := _threads():
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    known = [each.get_any_name() for each in compiled.inputs]
    names = [each.get_any_name() for each in compiled.outputs]

    def run(inputs: Arrays) -> dict[str, Any]:
        found = compiled([np.ascontiguousarray(inputs[name]) for name in known])
        return {name: np.array(found[place]) for place, name in enumerate(names)}

    return run


def _onnxruntime(path: Path) -> Graph:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what it warns of concerns who converts, not who runs
    options.intra_op_num_threads = _threads()
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # NumPy needs the cores in between
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = [each.name for each in session.get_inputs()]
    names = [each.name for each in session.get_outputs()]

    def run(inputs: Arrays) -> dict[str, Any]:
        found = session.run(names, {name: np.ascontiguousarray(inputs[name]) for name in known})
        return dict(zip(names, found, strict=True))

    return run


def _threads() -> int:
    """As many as NumPy and torch are told to take; 0: as many as there are cores."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() else 0


def _installed(engine: PassEngine) -> bool:
    return importlib.util.find_spec(engine.value) is not None
