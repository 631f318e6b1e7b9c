"""A bank on disk: everything needed to predict and to go on learning, as JSON and safetensors.

::

    bank.json                  method, classes and their profiles, parameters, weights, what rebuilds the backbone
    backbone.safetensors       its weights; not for a method without one
    backbone.json, *.onnx      its frozen passes as graphs, with what is known of them (`features.kit.Kit`); not for a
                               method that needs torch all the same
    trained.safetensors        <class>/<name>
    entries.safetensors        <class>/<name>, cut to what is read
    carry.safetensors          what the next class is learned with; not where states are independent
    alignment.safetensors      see `alignment.alignment.Alignment`; not where it changes no score
    calibration/<class>/       see `calibration.weibull.Calibration`; of aligned scores
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from evernorm.alignment.alignment import MEASURED, Alignment
from evernorm.calibration.weibull import Calibration
from evernorm.data.profile import Profile
from evernorm.errors import ParamsError, StateError
from evernorm.features.backbone import Architecture
from evernorm.features.frozen import stored_backbone
from evernorm.features.graph import WEIGHTS
from evernorm.files import (
    check_schema,
    read_arrays,
    read_json,
    sha256_files,
    sha256_json,
    write_arrays,
    write_json,
)
from evernorm.methods.detector import Detector
from evernorm.methods.learner import ClassState
from evernorm.methods.registry import learners
from evernorm.params.file import parse_params
from evernorm.params.groups import AlignmentKind, Device, PassEngine
from evernorm.types import Arrays

SCHEMA = 3
_EARLIER = (2,)  # values as float32, no descriptors


def save_bank(detector: Detector, folder: Path) -> None:
    """Write a bank as it is read now."""
    learner, states = detector.learner, detector.kept()
    architecture = None
    if learner.weights:
        architecture = learner.backbone.architecture.to_json()
        kits = detector.kits()
        for kit in kits:
            kit.store(folder)
        if not kits:
            write_arrays(folder / WEIGHTS, learner.backbone.weights())
    _write(folder / "trained.safetensors", {state.name: state.trained for state in states})
    _write(folder / "entries.safetensors", {state.name: state.entry for state in states})
    if states and states[-1].carry:
        write_arrays(folder / "carry.safetensors", states[-1].carry)
    if detector.alignment.measures:
        write_arrays(folder / "alignment.safetensors", detector.alignment.arrays())
    calibrated = {state.name: state.calibration for state in states if state.calibration is not None}
    if learner.params.calibration.alignment is not AlignmentKind.WEIBULL:
        for name, reading in zip([*calibrated][-len(detector.readings) :], detector.readings, strict=True):
            calibrated[name] = Calibration([reading], calibrated[name].routing)
    for name, calibration in calibrated.items():
        calibration.save(folder / "calibration" / name)
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "method": learner.name,
        "classes": [state.name for state in states],
        "calibrated": [*calibrated],
        "profiles": {state.name: state.profile.to_json() for state in states if state.profile is not None},
        "weights": learner.weights,
        "architecture": architecture,
        "params": learner.params.model_dump(
            mode="json",
            include={"method", "seed", "features", "masks", "weibull", "calibration", learner.name},
        ),
    }
    write_json(folder / "bank.json", record)


def bank_digest(folder: Path) -> str:
    """Hex SHA-256 of a stored bank: of the names and the bytes of all its files."""
    return sha256_json(sha256_files(folder))


def load_bank(
    folder: Path | str, device: Device = Device.AUTO, engine: PassEngine = PassEngine.AUTO
) -> Detector:
    """Read a bank, whatever its method.

    Args:
        folder: Where `save_bank` wrote it.
        device: Where the backbone runs.
        engine: What runs it.

    Raises:
        StateError: No bank there, it is damaged, or of a method or schema that this version does not know.
        MachineError: The engine is not installed.
    """
    folder = Path(folder)
    record = check_schema(read_json(folder / "bank.json"), SCHEMA, folder, earlier=_EARLIER)
    known = learners()
    if record["method"] not in known:
        raise StateError(
            f"{folder} holds a bank of method {record['method']!r}; this version knows {', '.join(known)}"
        )
    try:
        params = parse_params(record["params"], place=f"{folder.name}/bank.json")
    except ParamsError as error:
        raise StateError(
            f"{folder} was written with parameters that this version does not know", error.faults
        ) from error
    backbone = None
    if record["architecture"] is not None:
        architecture = Architecture.from_json(record["architecture"])
        backbone = stored_backbone(folder, architecture, device, engine)
        if backbone.digest != record["weights"]:
            raise StateError(
                f"{folder} holds a backbone of weights {backbone.digest[:12]}, its record says "
                f"{record['weights'][:12]}; fetch the bank again"
            )
    trained, entries = _read(folder / "trained.safetensors"), _read(folder / "entries.safetensors")
    carry = folder / "carry.safetensors"
    last = read_arrays(carry) if carry.is_file() else {}
    states = [
        ClassState(
            name,
            Calibration.load(folder / "calibration" / name) if name in record["calibrated"] else None,
            entries.get(name, {}),
            trained.get(name, {}),
            last if name == record["classes"][-1] else {},
            record["weights"],
            Profile.from_json(record["profiles"][name]) if name in record["profiles"] else None,
        )
        for name in record["classes"]
    ]
    measured = bool(states) and params.calibration.alignment in MEASURED
    arrays = read_arrays(folder / "alignment.safetensors") if measured else {}
    alignment = Alignment.of(arrays, params.calibration) if states else None
    return known[record["method"]](params, backbone).detector_of(states, alignment)


def _write(path: Path, by_class: Mapping[str, Arrays]) -> None:
    """One file for all classes: a class name has no slash."""
    write_arrays(
        path, {f"{name}/{key}": array for name, arrays in by_class.items() for key, array in arrays.items()}
    )


def _read(path: Path) -> dict[str, dict[str, npt.NDArray[Any]]]:
    by_class: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for key, array in read_arrays(path).items():
        name, _, part = key.partition("/")
        by_class.setdefault(name, {})[part] = array
    return by_class
