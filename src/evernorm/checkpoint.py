"""A training that can be killed: its state after each epoch, in a folder, from which it goes on as if it had not been.

::

    epoch-0007.safetensors     values, Adam's moments, and whatever else the training keeps
    history.json               what happened in each epoch; written last, the length of its `loss` names the epoch
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evernorm.errors import StateError, TrainingError
from evernorm.files import below, read_arrays, read_json, write_arrays, write_json
from evernorm.types import Arrays, Floats

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def store(
    folder: Path,
    history: Mapping[str, Any],
    values: "Mapping[str, Tensor]",
    optimizer: "Optimizer",
    further: Arrays,
) -> None:
    """Write the state after an epoch, and remove the one before.

    Args:
        folder: Where.
        history: As JSON has it; `loss` has a figure an epoch.
        values: What is trained, by name.
        optimizer: Adam over these values.
        further: What else to keep, under names that do not begin with ``value.`` or a moment.
    """
    import torch

    epoch, arrays = len(history["loss"]), dict(further)
    for name, value in values.items():
        # A value that has had no gradient yet has no moments: those it would begin with.
        blank = {
            "exp_avg": torch.zeros_like(value),
            "exp_avg_sq": torch.zeros_like(value),
            "step": torch.zeros(()),
        }
        moments = optimizer.state.get(value) or blank
        arrays[f"value.{name}"] = value.detach().cpu().numpy()
        arrays |= {f"{moment}.{name}": moments[moment].cpu().numpy() for moment in _MOMENTS}
    write_arrays(folder / f"epoch-{epoch:04d}.safetensors", arrays)
    write_json(folder / "history.json", history)
    (folder / f"epoch-{epoch - 1:04d}.safetensors").unlink(missing_ok=True)


def is_stored(folder: Path) -> bool:
    """Whether there is anything to go on from."""
    return (folder / "history.json").is_file()


def restore(
    folder: Path, values: "Mapping[str, Tensor]", optimizer: "Optimizer"
) -> tuple[dict[str, Any], Arrays]:
    """Set values and moments to what `store` wrote; to be called within `restoring`.

    Returns:
        History, and all arrays.
    """
    import torch

    history: dict[str, Any] = read_json(folder / "history.json")
    arrays = read_arrays(folder / f"epoch-{len(history['loss']):04d}.safetensors")
    stored = named("value", arrays, values)
    with torch.no_grad():
        for name, value in values.items():
            value.copy_(torch.from_numpy(stored[name]))
            moments = {moment: torch.from_numpy(arrays[f"{moment}.{name}"]) for moment in _MOMENTS}
            step = moments.pop("step").reshape(())  # stays on the CPU
            on_device = {moment: each.to(value.device) for moment, each in moments.items()}
            optimizer.state[value] = {**on_device, "step": step}
    return history, arrays


def named(kind: str, arrays: Arrays, values: "Mapping[str, Tensor]") -> dict[str, Floats]:
    """The arrays ``kind.name`` by the names of the values; to be called within `restoring`.

    Raises:
        ValueError: They are not of the values' names and shapes.
    """
    stored = below(arrays, f"{kind}.")
    found, wanted = ({name: tuple(each.shape) for name, each in of.items()} for of in (stored, dict(values)))
    if found != wanted:
        raise ValueError(f"values {found}, expected {wanted}")
    return stored


@contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Whatever is wrong with what is stored is told as that.

    Raises:
        StateError: It is damaged, or belongs to another training.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, StateError) as error:
        raise StateError(
            f"{folder} holds no state of this training ({error}); remove it to train from the beginning"
        ) from error


def finite(what: str, value: "Tensor", epoch: int, cure: str) -> float:
    """The value of a loss or gradient.

    Args:
        what: Its name, for the message.
        value: A single number.
        epoch: Counted from 0.
        cure: What to do where it is no number any more.

    Raises:
        TrainingError: It is none.
    """
    number = value.item()
    if not math.isfinite(number):
        raise TrainingError(f"the training's {what} is {number} in epoch {epoch + 1}; {cure}")
    return number
