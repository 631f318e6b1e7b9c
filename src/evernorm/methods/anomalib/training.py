"""A model of anomalib trained by Lightning, as anomalib trains it; nothing is written but what a killed run needs.

EfficientAd differs: it takes an image a step, and a tenth of the images, which it does not learn from, to scale its maps by.

Which images a step sees and what it draws depend on the seed and the epoch alone, so that a training goes on from an
epoch as if it had not been killed.
"""

import functools
import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evernorm.errors import StateError, TrainingError
from evernorm.methods.anomalib.library import own_files
from evernorm.methods.anomalib.model import Model, inputs
from evernorm.repeatable import deterministic
from evernorm.types import Images, Progress

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningDataModule

_STATE = "epoch.ckpt"
_SCALING = 10  # one image of so many
_FAILURES = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What models of anomalib raise for images and settings that do not go together."""


@dataclass(frozen=True)
class Schedule:
    """How long, and with what.

    Attributes:
        epochs: Of a model that does not say how many.
        batch_size: Images a step.
        seed: Of what is drawn.
    """

    epochs: int
    batch_size: int
    seed: int


def train(
    model: Model,
    images: Images,
    schedule: Schedule,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Train a model on normal images.

    Args:
        model: Is changed.
        images: uint8 ``[n, side, side, 3]``.
        schedule: How long.
        checkpoint: A folder for the state after an epoch; what is there is continued.
        progress: Called with (epochs done, epochs in all).

    Raises:
        TrainingError: The training fails: a loss that is no number, images too few for the settings.
        StateError: The checkpoint is damaged, or belongs to another training.
    """
    from anomalib.engine.plugins import AnomalibCheckpointIO
    from lightning.pytorch import Trainer

    module, device = model.module, model.backbone.device
    schedule = replace(schedule, batch_size=getattr(module, "batch_size", schedule.batch_size))
    scale = getattr(module, "map_norm_quantiles", None)
    apart = np.arange(len(images)) % _SCALING == 0 if scale else np.zeros(len(images), np.bool_)
    stored = checkpoint and checkpoint / _STATE
    callback = _after_epochs(schedule.seed, stored, progress)
    with _quiet(), deterministic(), _own_randomness(schedule.seed):
        arguments = {
            "max_epochs": schedule.epochs,
            **module.trainer_arguments,
            "accelerator": "gpu" if device.type == "cuda" else "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": True,  # by the callback alone
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "limit_val_batches": 0,
        }
        files = AnomalibCheckpointIO(extra_safe_globals=type(module).checkpoint_safe_globals())
        trainer = Trainer(callbacks=[callback], plugins=[files], **arguments)
        going_on = stored if stored and stored.is_file() else None
        if going_on is not None:
            _check(files, going_on)
        try:
            with own_files(type(module), model.own_weights):
                trainer.fit(module, datamodule=_material(images[~apart], schedule), ckpt_path=going_on)
            module.to(device)
            if scale:
                module.eval()
                module.model.quantiles.update(scale([_batch(images[apart])]))
        except _FAILURES as error:
            raise TrainingError(
                f"anomalib's {model.name} cannot be trained with {len(images)} images, batches of {schedule.batch_size} and "
                f"its settings: {error}"
            ) from error


def _check(files: Any, stored: Path) -> None:
    try:
        files.load_checkpoint(stored)
    except Exception as error:  # torch raises pickle.UnpicklingError for what weights_only refuses
        raise StateError(
            f"{stored.parent} holds no state of this training ({error}); remove it to train from the beginning"
        ) from error


def _after_epochs(seed: int, stored: Path | None, progress: Progress | None) -> "Callback":
    """What is done around epochs: what is drawn is seeded, the loss is looked at, the state is stored."""
    from lightning.pytorch.callbacks import Checkpoint

    class AroundEpochs(Checkpoint):  # type: ignore[misc]  # the kind that Lightning calls when all else is done with an epoch
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            _seed(seed, trainer.current_epoch)
            if hasattr(
                pl_module, "imagenet_iterator"
            ):  # of the epochs before, a run that goes on knows nothing
                pl_module.imagenet_iterator = iter(pl_module.imagenet_loader)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            figures = {name: float(figure) for name, figure in trainer.callback_metrics.items()}
            if odd := [f"{name} is {figure}" for name, figure in figures.items() if not np.isfinite(figure)]:
                raise TrainingError(
                    f"after epoch {trainer.current_epoch + 1} {', '.join(odd)}; set a lower rate in "
                    "anomalib.prompts.settings, if the model has one, or fewer anomalib.prompts.epochs"
                )
            if stored is not None:
                stored.parent.mkdir(parents=True, exist_ok=True)
                beside = stored.with_suffix(".tmp")
                trainer.save_checkpoint(beside)
                beside.replace(stored)
            if progress:
                progress(trainer.current_epoch + 1, trainer.max_epochs)

    return AroundEpochs()


def _material(images: Images, schedule: Schedule) -> "LightningDataModule":
    """The images as anomalib's batches, in an order drawn anew each epoch."""
    import torch
    from lightning.pytorch import LightningDataModule
    from torch.utils.data import DataLoader, Sampler

    class Shuffled(Sampler[int]):
        epoch = 0

        def set_epoch(self, epoch: int) -> None:  # Lightning calls it
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            rng = np.random.default_rng([schedule.seed, self.epoch])
            yield from rng.permutation(len(images)).tolist()

        def __len__(self) -> int:
            return len(images)

    class Material(LightningDataModule):  # type: ignore[misc]
        train_batch_size = schedule.batch_size

        def train_dataloader(self) -> "DataLoader[int]":
            return DataLoader(
                range(len(images)),  # type: ignore[arg-type]
                schedule.batch_size,
                sampler=Shuffled(),
                collate_fn=lambda numbers: _batch(images[numbers]),
                generator=torch.Generator(),
            )

    return Material()


def _batch(images: Images) -> Any:
    """All of them normal."""
    import torch
    from anomalib.data import ImageBatch

    shown = inputs(images)
    normal = torch.zeros(len(images), *shown.shape[2:], dtype=torch.bool)
    return ImageBatch(image=shown, gt_label=normal[:, 0, 0], gt_mask=normal)


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Whatever is drawn inside, what is drawn outside stays as it was."""
    from lightning.pytorch.utilities.seed import isolate_rng

    with isolate_rng():
        _seed(seed, 0)
        yield


def _seed(*seeds: int) -> None:
    import torch

    one, two, three = (int(each) for each in np.random.SeedSequence(seeds).generate_state(3))
    random.seed(one)
    np.random.seed(two)  # noqa: NPY002 (anomalib's models draw from there)
    torch.manual_seed(three)


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no advice of anomalib and Lightning; errors are told as they are."""
    from lightning.pytorch.utilities.warnings import PossibleUserWarning
    from lightning_utilities.core import rank_zero
    from tqdm.std import tqdm

    # Lightning's packages are several, and the one that was imported last speaks for all.
    loggers = [logging.getLogger(name) for name in ("anomalib", "lightning.pytorch", rank_zero.log.name)]
    levels, begin = [logger.level for logger in loggers], tqdm.__init__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", module=r"(lightning|anomalib)\.")
        tqdm.__init__ = functools.partialmethod(begin, disable=True)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            tqdm.__init__ = begin
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
