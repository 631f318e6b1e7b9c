"""Whether this machine has what params.yaml asks for, found out before anything is made."""

from collections.abc import Callable

from evernorm.errors import EvernormError, ParamsError
from evernorm.features.engine import choose_engine
from evernorm.methods.registry import learner_of, learners
from evernorm.params.groups import Device, Engine, FeatureParams, Params
from evernorm.params.model import default_params
from tasks.workspace.workspace import Workspace


def check_change(known: Params, params: Params) -> None:
    """Check the machine where a stream begins, or goes on with other parameters.

    Args:
        known: What the stream was learned with.
        params: What it is to be learned with.

    Raises:
        EvernormError: See `check_machine`.
    """
    apart = {"stream", "gate", "registry", "watch", "fleet"}
    if not known.order or params.model_dump(exclude=apart) != known.model_dump(exclude=apart):
        check_machine(params)


def check_changed(workspace: Workspace) -> None:
    """`check_change` for a workspace whose params.yaml anyone may have edited since its last commit.

    Raises:
        EvernormError: See `check_machine`.
    """
    try:
        known = workspace.committed_params()
    except ParamsError:  # as another version had them
        known = default_params()
    check_change(known, workspace.params)


def check_machine(params: Params) -> None:
    """Build all that the stages will build: what the method learns with, segmenter, Weibull engine.

    Raises:
        EvernormError: The only fault, as its own kind.
        ParamsError: Several faults, all listed.
    """
    checks: list[Callable[[], None]] = [
        lambda: _check_device(params.features),
        lambda: _check_method(params),
        lambda: _check_engine(params.weibull.engine),
    ]
    if learners()[params.method].traits.structured:
        checks.append(lambda: _check_segmenter(params))
    errors = []
    for check in checks:
        try:
            check()
        except EvernormError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ParamsError(
            f"{len(errors)} parts cannot be had here as the parameters ask; nothing was changed",
            [line for error in errors for line in (error.message, *error.faults)],
        )


def _check_device(features: FeatureParams) -> None:
    from evernorm.features.backbone import choose_device

    if features.device is Device.CUDA:  # the others are here without asking, and to ask is to import torch
        choose_device(features.device)
        choose_engine(features.engine, features.device)  # otherwise whoever builds the backbone says so


def _check_method(params: Params) -> None:
    # On the processor: what is built here is thrown away, and the GPU's memory is the stages'.
    features = params.features.model_copy(update={"device": Device.CPU})
    learner = learner_of(params.model_copy(update={"features": features}))
    learner.check_alignment()
    learner.check()


def _check_segmenter(params: Params) -> None:
    from evernorm.structure.segmenter import build_segmenter

    name = next(iter(params.stream), "part")  # what is looked for; the same is loaded for all
    build_segmenter(params.masks, name, Device.CPU)


def _check_engine(engine: Engine) -> None:
    from evernorm.calibration.evt import fit_high

    fit_high([1.0, 1.2, 1.5, 1.9, 2.6], 4, engine)
