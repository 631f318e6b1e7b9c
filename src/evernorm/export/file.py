"""An exported bank on disk, which says what it is and where it comes from."""

import json
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evernorm.errors import MachineError, ParamsError, StateError
from evernorm.export.whole import graph_of
from evernorm.features.engine import silence_openvino
from evernorm.files import sha256_file, write_bytes
from evernorm.methods.bank import bank_digest, load_bank
from evernorm.methods.detector import Detector
from evernorm.params.groups import Device, PassEngine

SCHEMA = 1
ABOUT = "evernorm"
"""Of the metadata, what is said of the bank: JSON."""


class Format(StrEnum):
    """What an exported bank runs on."""

    ONNX = "onnx"
    OPENVINO = "openvino"


def export_bank(
    bank: Path, out: Path, kind: Format, shape: tuple[int, int] | None, registered: tuple[str, str] | None
) -> list[Path]:
    """Write a stored bank as one graph (`whole.graph_of`): ``detector.onnx``, or ``detector.xml`` and ``detector.bin``.

    Args:
        bank: As `save_bank` wrote it.
        out: A folder.
        kind: For which engine.
        shape: Height and width of the images; None: those of all training images, where they are of one size.
        registered: Name and version of the model that the bank is registered as; None where it is not.

    Raises:
        ParamsError: The bank cannot be exported, or its images are of several sizes.
        MachineError: What writes graphs is not installed.
        StateError: The bank, or `out`, cannot be read or written.
    """
    detector = load_bank(bank, Device.CPU, PassEngine.AUTO)
    shape = shape or _one_size(detector)
    try:
        import onnx
    except ImportError as error:
        raise MachineError("graphs are written by onnx: `pip install onnx`") from error
    model = graph_of(detector, shape)
    about = json.dumps(_about(detector, bank, shape, registered), sort_keys=True)
    onnx.helper.set_model_props(model, {ABOUT: about})
    whole = model.SerializeToString(deterministic=True)
    if kind is Format.ONNX:
        write_bytes(out / "detector.onnx", whole)
        return [out / "detector.onnx"]
    silence_openvino()
    try:
        import openvino
    except ImportError as error:
        raise MachineError("what OpenVINO runs is written by it: `pip install openvino`") from error
    converted = openvino.Core().read_model(whole)
    _number(converted)
    converted.set_rt_info(about, ABOUT)
    try:
        out.mkdir(parents=True, exist_ok=True)
        openvino.save_model(converted, out / "detector.xml", compress_to_fp16=False)
    except (OSError, RuntimeError) as error:
        raise StateError(f"{out} cannot be written: {error}") from error
    return [out / "detector.xml", out / "detector.bin"]


def about_exported(file: Path) -> dict[str, Any]:
    """What an exported bank says of itself.

    Raises:
        StateError: It is missing, damaged, or none.
    """
    try:
        if file.suffix not in {".onnx", ".xml"}:
            raise ValueError("it ends neither in .onnx nor in .xml")
        if file.suffix == ".onnx":
            import onnx

            said = {each.key: each.value for each in onnx.load(file).metadata_props}[ABOUT]
        else:
            silence_openvino()
            import openvino

            said = openvino.Core().read_model(file).get_rt_info(ABOUT).astype(str)
        about: dict[str, Any] = json.loads(said)
    except Exception as error:  # each reader has errors of its own
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StateError(f"{file} is no bank that `evernorm export` wrote ({why})") from error
    if about.get("schema") != SCHEMA:
        raise StateError(f"{file} has schema {about.get('schema')}, this version reads {SCHEMA}")
    return about


def is_export_of(file: Path, bank: Path, registered: tuple[str, str], folder: Path) -> bool:
    """Whether a file is, byte for byte, what a stored bank is exported as, by what is installed here.

    Args:
        file: As `export_bank` wrote it.
        bank: The stored bank.
        registered: Name and version of the model that it is registered as.
        folder: An empty one, where it is exported once more.
    """
    about = about_exported(file)
    kind = Format.ONNX if file.suffix == ".onnx" else Format.OPENVINO
    again = export_bank(bank, folder, kind, (about["height"], about["width"]), registered)
    return all(
        beside.is_file() and sha256_file(beside) == sha256_file(each)
        for each, beside in zip(again, _files(file), strict=True)
    )


def _files(file: Path) -> Sequence[Path]:
    return [file] if file.suffix == ".onnx" else [file, file.with_suffix(".bin")]


def _number(model: Any, prefix: str = "") -> None:
    """Name its nodes by their order: OpenVINO counts on from whatever it has read before in the process."""
    for number, node in enumerate(model.get_ordered_ops()):
        if prefix or node.get_type_name() not in {"Parameter", "Result"}:
            node.set_friendly_name(f"{prefix}{number}")
        if node.get_type_name() == "Loop":
            _number(node.get_function(), f"{prefix}{number}/")


def _about(
    detector: Detector, bank: Path, shape: tuple[int, int], registered: tuple[str, str] | None
) -> dict[str, Any]:
    classes = [
        {
            "name": state.name,
            "display": state.profile.display if state.profile else state.name,
            "rate": reading.rate,
        }
        for state, reading in zip(detector.states, detector.readings, strict=True)
    ]
    return {
        "schema": SCHEMA,
        "classes": classes,
        "method": detector.learner.name,
        "alignment": detector.learner.params.calibration.alignment.value,
        "height": shape[0],
        "width": shape[1],
        "bank": bank_digest(bank),
        "weights": detector.learner.weights,
        "model": registered[0] if registered else None,
        "version": registered[1] if registered else None,
        "evernorm": version("evernorm"),
    }


def _one_size(detector: Detector) -> tuple[int, int]:
    sizes = [profile.sizes for profile in detector.profiles]
    widths, heights = (
        {side for each in sizes for side in getattr(each, name)} for name in ("width", "height")
    )
    if len(widths) == len(heights) == 1:
        return int(heights.pop()), int(widths.pop())
    told = [
        f"{profile.display}: {profile.sizes.width[0]:g} to {profile.sizes.width[1]:g} wide, "
        f"{profile.sizes.height[0]:g} to {profile.sizes.height[1]:g} high"
        for profile in detector.profiles
    ]
    raise ParamsError("a graph is for images of one size; name it with --size WIDTHxHEIGHT", told)
