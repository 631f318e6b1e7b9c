"""What the commands that change a workspace do: check everything, then run the flow, then tell."""

import json
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console

from evernorm.errors import ParamsError
from evernorm.features.weights import HUB, RANDOM
from evernorm.params.file import override, parse_params
from evernorm.params.groups import Method, Params, Stopping, chain
from flows.commands.environment import prepare
from flows.commands.runner import run_flow, say

_FILES = {
    "features.weights",
    "masks.sam.checkpoint",
    "watch.inbox",
}  # parameters that may name a file or a folder


def learn_folder(
    data: Path, root: Path, order: list[str] | None, settings: list[str], summary_file: Path | None
) -> None:
    """Validate data and settings, make or reuse the workspace, learn, show the summary.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed if data or settings are at fault.
    """
    prepare(root)
    from evernorm.data.readers import read_classes
    from evernorm.data.validate import validate
    from tasks.stages.stage import progress_bar
    from tasks.workspace.workspace import MARKER, Workspace

    console = Console(stderr=True, highlight=False)
    known = Workspace.open(root).params if (root / MARKER).is_file() else Params()
    settings = with_whole_paths(settings)
    if not known.order:
        settings = with_defaults_of_backbone(known, settings)
    names = order or sorted(read_classes(data))
    stream = _stream(known.order, names)
    params = parse_params({**override(known.model_dump(mode="json"), settings), "stream": chain(stream)})
    apart = {"stream", "gate", "watch"}
    if not known.order or params.model_dump(exclude=apart) != known.model_dump(exclude=apart):
        _check_prompts(params)
    if root.resolve().is_relative_to(data.resolve()):
        raise ParamsError(f"the workspace {root} lies inside {data}; name one outside of it with --workspace")
    with progress_bar(f"checking {data}") as progress:
        manifests = validate(data, names, progress=progress)
    workspace = Workspace.open_or_create(root)
    prepare(root)

    from tasks.inbox.arrivals import (
        refuse_arriving,  # Prefect makes its home in the workspace when it is imported
    )
    from tasks.workspace.data import bring_in
    from tasks.workspace.forget import forgotten

    with workspace.locked():
        refuse_arriving(workspace)
        again = [each for each in forgotten(workspace) if each.name in manifests]
        changed = bring_in(workspace, data, manifests)
        workspace.configure(settings, stream)
    images = sum(len(manifests[name].records) for name in changed)
    console.print(
        f"{len(manifests)} classes, {len(changed)} new or changed ({images} images) → {workspace.root}"
    )
    for each in again:
        console.print(f"{each.name} was forgotten ({each.reason}) and is learned again", markup=False)
    learn_workspace(workspace.root, summary_file)


def learn_workspace(root: Path, summary_file: Path | None) -> None:
    """Learn what the workspace's stream names and show the summary."""
    prepare(root)
    from evernorm.files import write_bytes
    from flows.commands.console import show
    from flows.learn import learn_stream
    from tasks.faults import without_secrets
    from tasks.tracking.runs import tracking_uri
    from tasks.tracking.summary import summarise
    from tasks.workspace.workspace import Workspace

    console = Console(highlight=False)
    learned, decision = run_flow(lambda: learn_stream(root))
    if decision is None:
        console.print("The stream is empty; there is nothing to learn.")
        return
    summary = summarise(root, [each.recorded for each in learned.values()], decision)
    show(summary, console)
    uri = without_secrets(tracking_uri(Workspace.open(root)))
    console.print()
    scripts = Path(sys.executable).parent
    console.print(f"MLflow:  {scripts / 'mlflow'} ui --backend-store-uri {shlex.quote(uri)}", soft_wrap=True)
    home = shlex.quote(os.environ.get("PREFECT_HOME", str(Path.home() / ".prefect")))
    if not os.environ.get("PREFECT_API_URL"):
        console.print(f"Prefect: PREFECT_HOME={home} {scripts / 'prefect'} server start", soft_wrap=True)
    if summary_file is not None:
        write_bytes(summary_file, (summary.model_dump_json(indent=2) + "\n").encode())


def forget_in_workspace(root: Path, name: str, reason: str) -> None:
    """Forget a class and say what is left of it where.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed if the class cannot be forgotten.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there

    from flows.forget import forget_class, give_up_delivery, show_forgotten
    from tasks.inbox.arrivals import arriving
    from tasks.workspace.forget import check, reason_line

    if (begun := arriving(workspace)) is not None and begun.name == name:
        reason_line(reason)
        run_flow(lambda: give_up_delivery(workspace.root, reason))
        say(f"the delivery of {name} was given up; it is not taken in before it changes")
        if not begun.update:
            return
    check(workspace, name, reason)
    forgot, decision = run_flow(lambda: forget_class(workspace.root, name, reason))
    show_forgotten(workspace, forgot, decision)


def promote_in_workspace(root: Path, version: str, reason: str) -> None:
    """Make a version champion and say so.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed then.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)
    from flows.promote import promote_version
    from tasks.workspace.forget import reason_line

    reason = reason_line(reason)
    change = run_flow(lambda: promote_version(workspace.root, version, reason))
    say(
        f"champion: version {change.before} → {version}"
        if change
        else f"version {version} is champion already"
    )


def roll_back_in_workspace(root: Path, reason: str) -> None:
    """Make the champion before the present one champion again and say so.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed then.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)
    from flows.promote import roll_back_champion
    from tasks.workspace.forget import reason_line

    reason = reason_line(reason)
    change = run_flow(lambda: roll_back_champion(workspace.root, reason))
    say(f"champion: version {change.before} → {change.after}")


def with_whole_paths(settings: list[str]) -> list[str]:
    """Stages run in the workspace: a file that is named from here is named in full."""
    whole = []
    for setting in settings:
        key, _, value = setting.partition("=")
        names_a_file = key.strip() in _FILES and value not in {"", HUB, RANDOM} and Path(value).exists()
        named = json.dumps(str(Path(value).resolve()), ensure_ascii=False) if names_a_file else ""
        whole.append(f"{key}={named}" if names_a_file else setting)
    return whole


def with_defaults_of_backbone(known: Params, settings: list[str]) -> list[str]:
    """UCAD is made for vision transformers: with one, it is the method, and its prompts are trained the paper's way."""
    params = parse_params(override(known.model_dump(mode="json"), settings))
    if not params.features.backbone.startswith(("vit_", "deit")):
        return settings
    told = {setting.partition("=")[0].strip() for setting in settings}
    chosen = [] if "method" in told else [f"method={Method.UCAD.value}"]
    if (chosen or params.method is Method.UCAD) and "prompts.stopping" not in told:
        chosen.append(f"prompts.stopping={Stopping.LAST.value}")
    return [*chosen, *settings]


def _check_prompts(params: Params) -> None:
    """Refuse prompts that the backbone cannot take now, not after hours of segmentation.

    Raises:
        ParamsError: See `PromptedBackbone`.
        WeightsError: The backbone's weights are missing or do not fit.
    """
    from evernorm.methods.parts import PARTS

    if PARTS[params.method].prompted:
        from evernorm.features.backbone import build_backbone
        from evernorm.prompts.prompted import PromptedBackbone

        backbone = build_backbone(params.features, params.seed)
        PromptedBackbone(backbone, params.prompts, params.knowledge.key_layers)


def _stream(known: tuple[str, ...], wanted: list[str]) -> list[str]:
    """The stream with new classes at its end: what is learned keeps its place."""
    again = [name for name in wanted if name in known]
    if again != [name for name in known if name in wanted]:
        raise ParamsError(
            f"the stream was learned in the order {', '.join(known)}; --order {','.join(wanted)} would change it. "
            f"Name a new --workspace for another order"
        )
    if repeated := {name for name in wanted if wanted.count(name) > 1}:
        raise ParamsError(f"--order names {', '.join(sorted(repeated))} more than once")
    stream = [*known, *(name for name in wanted if name not in known)]
    names: dict[str, list[str]] = {}
    for name in stream:
        names.setdefault(name.casefold(), []).append(name)
    if alike := [" and ".join(each) for each in names.values() if len(each) > 1]:
        raise ParamsError(f"{', '.join(alike)} differ only by case; rename all but one")
    return stream
