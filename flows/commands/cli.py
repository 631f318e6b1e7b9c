"""The command `evernorm`. Heavy packages are imported by the command that needs them."""

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from evernorm.errors import EvernormError, ParamsError
from flows.commands.stopping import LostServerError, give_up, leave_on_signals
from tasks.faults import of_the_machine

app = typer.Typer(
    help="Detects defects in product images; learns one class after another and forgets none.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

WorkspaceOption = Annotated[Path, typer.Option("--workspace", help="Where the stream is learned and kept.")]
DataOption = Annotated[Path, typer.Option("--data", help="A folder of classes.")]
OrderOption = Annotated[str | None, typer.Option(help="Classes in the order to learn them, a,b,c.")]
TableOption = Annotated[
    Path | None, typer.Option(help="Where table and summaries go; default: in the workspace.")
]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter, group.key=value; repeatable.")
]
DropOption = Annotated[
    bool, typer.Option("--drop-faulty", help="Leave out images that are at fault, and list them.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask, also where classes are lost or gained.")]
ReasonOption = Annotated[str, typer.Option(help="Why, in a line; kept with the record.")]
PIPELINE = {
    "boto3",
    "botocore",
    "dvc",
    "mlflow",
    "prefect",
    "prometheus_client",
    "httpx",
    "matplotlib",
    "pandas",
    "psutil",
    "ruamel",
    "ruamel.yaml",
    "sklearn",
    "threadpoolctl",
}
DEFAULT_WORKSPACE = Path("evernorm-workspace")


def main() -> None:
    """Run the command; what a person can cure is told without a traceback, and no library's warnings are."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    leave_on_signals()
    try:
        app()
    except LostServerError as error:
        give_up(error.message)
    except EvernormError as error:
        sys.exit(f"evernorm: {error}")
    except OSError as error:
        if (fault := of_the_machine(error)) is None:
            raise
        sys.exit(f"evernorm: {fault}")
    except ModuleNotFoundError as error:
        if error.name not in PIPELINE:
            raise
        sys.exit(
            f"evernorm: this needs the pipeline ({error.name} is missing): pip install 'evernorm[pipeline,lite0]'"
        )


def _tell_version(value: bool) -> None:
    if value:
        from evernorm import __version__

        print(f"evernorm {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None: ...


@app.command()
def learn(
    data: Annotated[
        Path, typer.Option("--data", help="A folder of classes (MVTec AD, VisA, BTAD, BMAD or plain).")
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    order: Annotated[
        str | None, typer.Option(help="Classes in the order to learn them, a,b,c. Default: all, by name.")
    ] = None,
    settings: SettingsOption = None,
    summary: Annotated[Path | None, typer.Option(help="Also write the summary as JSON.")] = None,
    drop_faulty: DropOption = False,
) -> None:
    """Learn the classes of a folder, one after another."""
    from flows.commands.learn import learn_folder

    learn_folder(data, workspace, _names(order), settings or [], summary, drop_faulty=drop_faulty)


@app.command()
def predict(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES...", help="Files and folders; - reads paths from standard input."),
    ],
    out: Annotated[Path | None, typer.Option(help="Write a heat map picture of each image here.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    bank: Annotated[
        Path | None, typer.Option(help="A stored bank instead of the workspace's champion.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_lines: Annotated[
        bool, typer.Option("--jsonl", help="Print one line of JSON an image, as they come; - does so anyway.")
    ] = False,
    bit_depth: Annotated[
        int | None,
        typer.Option(min=8, max=16, help="Bits used by 16-bit files that do not tell; default: as learned."),
    ] = None,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="Pictures as large as the images, not 2,000 pixels at most.")
    ] = False,
) -> None:
    """Judge images with the champion: class, score, threshold, decision, heat map; status 1: some cannot be read."""
    from flows.commands.predict import predict_images

    unreadable = predict_images(
        images,
        out,
        workspace,
        bank,
        as_json=as_json,
        as_lines=as_lines,
        bit_depth=bit_depth,
        full_size=full_size,
    )
    raise typer.Exit(1 if unreadable else 0)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="A folder, where the graph is written.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    bank: Annotated[Path | None, typer.Option(help="A stored bank, in place of the champion.")] = None,
    kind: Annotated[str, typer.Option("--format", help="onnx or openvino.")] = "onnx",
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT of the images, where the training images have several.")
    ] = None,
) -> None:
    """Write a bank as one graph: image in, class, score, map and decision out; without evernorm or torch."""
    from flows.commands.export import export as run_export

    run_export(out, workspace, bank, kind, size)


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of one class.")],
    place: Annotated[
        str, typer.Argument(metavar="DEST", help="An inbox: a directory or s3://bucket/prefix.")
    ],
    add: Annotated[
        bool, typer.Option("--add", help="Add to the delivery of the class that is there, not replace it.")
    ] = False,
    description: Annotated[
        str | None, typer.Option(help="What the class is, in a sentence or a few. Default: its class.txt.")
    ] = None,
    announce: Annotated[
        bool,
        typer.Option("--announce", help="Tell the Prefect server, so that a deployed watch looks at once."),
    ] = False,
) -> None:
    """Deliver a class into an inbox, whole and with its hashes."""
    from flows.commands.pack import pack_class

    pack_class(folder, place, add=add, description=description, announce=announce)


@app.command()
def watch(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    inbox: Annotated[
        str | None, typer.Option(help="A directory or s3://bucket/prefix; kept in params.yaml.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Look now, and no more; status 3: something is left or refused.")
    ] = False,
    settings: SettingsOption = None,
) -> None:
    """Learn the classes that arrive in an inbox, on the schedule of params.yaml."""
    from flows.commands.watch import watch_on_schedule, watch_once

    if once:
        raise typer.Exit(watch_once(workspace, inbox, settings or []))
    watch_on_schedule(workspace, inbox, settings or [])


@app.command()
def deploy(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what differs; status 1: something does.")
    ] = False,
) -> None:
    """Register work pools and deployments with a Prefect server, as the workspace's prefect.yaml says."""
    from flows.commands.deploy import deploy as run_deploy

    raise typer.Exit(run_deploy(workspace, check=check))


@app.command()
def metrics(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0: any.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of it.", min=1, max=65535)] = 9464,
    once: Annotated[bool, typer.Option("--once", help="Only print them.")] = False,
) -> None:
    """Serve metrics of a workspace to Prometheus."""
    from flows.commands.metrics import show_metrics

    show_metrics(workspace, host, port, once=once)


@app.command()
def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Say what the bank knows, class by class."""
    from flows.commands.status import show_status

    show_status(workspace)


@app.command()
def forget(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="The class to forget.")],
    reason: ReasonOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Remove a class from the bank, as if it had never been learned."""
    from flows.commands.forget import forget_in_workspace

    forget_in_workspace(workspace, name, reason)


@app.command()
def threshold(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="A class of the bank.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    rate: Annotated[
        float | None, typer.Option(help="Set this false-alarm rate for the class, as a new version.")
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Set that of all classes again.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, in a line; kept with the version.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the picture goes. Default: threshold-CLASS.png here.")
    ] = None,
) -> None:
    """Show what each false-alarm rate costs in defects found, or set one for a class."""
    from flows.commands.threshold import threshold_in_workspace

    threshold_in_workspace(workspace, name, rate, reason, out, default=default)


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="The version to make champion.")],
    reason: ReasonOption,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    yes: YesOption = False,
) -> None:
    """Make a version champion, whatever the gate said of it."""
    from flows.commands.promote import promote_in_workspace

    promote_in_workspace(workspace, str(version), reason, yes=yes)


@app.command()
def rollback(
    reason: ReasonOption, workspace: WorkspaceOption = DEFAULT_WORKSPACE, yes: YesOption = False
) -> None:
    """Make the champion before the present one champion again."""
    from flows.commands.promote import roll_back_in_workspace

    roll_back_in_workspace(workspace, reason, yes=yes)


@app.command("move-tracking")
def move_tracking(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Keep the history in the MLflow that MLFLOW_TRACKING_URI names from now on; it begins anew there."""
    from flows.commands.move_tracking import move_tracking_of

    move_tracking_of(workspace)


@app.command()
def history(
    name: Annotated[
        str | None, typer.Argument(metavar="[CLASS]", help="A class; without it, the champions.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Say who was champion when, or when a class was learned, from which data, and what served it."""
    from flows.commands.history import show_history

    show_history(workspace, name)


@app.command()
def audit(
    version: Annotated[
        str, typer.Argument(metavar="[VERSION|ALIAS]", help="A registered version.")
    ] = "champion",
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the lineage drawn.")] = None,
    exported: Annotated[
        Path | None,
        typer.Option(help="What `evernorm export` wrote: the version it names is audited, and it."),
    ] = None,
) -> None:
    """Compare a version with every byte it came from; status 0: clean, 1: findings, 2: could not check."""
    from flows.commands.audit import audit_version

    raise typer.Exit(audit_version(version, workspace, as_json, html, exported))


@app.command()
def compare(
    data: DataOption,
    workspace: WorkspaceOption = Path("evernorm-comparison"),
    order: OrderOption = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter all methods share; repeatable.")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="Methods to compare, a,b,c. Default: all.")] = None,
    own: Annotated[
        list[str] | None,
        typer.Option(
            "--settings",
            help="Parameters of one method, 'METHOD: key=value', or of one more line of it, 'METHOD/NAME: key=value'; "
            "repeatable.",
        ),
    ] = None,
    drop_faulty: DropOption = False,
    out: TableOption = None,
) -> None:
    """Learn the same stream with every method and print them side by side."""
    from flows.commands.compare import compare as run_comparison

    run_comparison(
        data,
        workspace,
        _names(order),
        settings or [],
        out,
        _names(methods),
        own,
        drop_faulty=drop_faulty,
    )


@app.command()
def ablate(
    data: DataOption,
    workspace: WorkspaceOption = Path("evernorm-ablation"),
    order: OrderOption = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter all variants share; repeatable.")
    ] = None,
    method: Annotated[str, typer.Option(help="Whose paper's tables.")] = "ucad",
    tables: Annotated[
        str | None,
        typer.Option(
            help="Default: all. ucad: 6 prompts, 7 rows, 8 feature level, training; mtrmb: 4 parts, 5 length; "
            "diffcont: 3 epochs, 4 tail, replay; revdist, recontrast, uniad: 3 regressor, 4 alignment, 5 statistics."
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the training, a,b,c.")] = "0",
    drop_faulty: DropOption = False,
    out: TableOption = None,
) -> None:
    """Learn the same stream with a method and with parts of it changed or left out, and print a table."""
    from flows.commands.ablate import ablate as run_ablation

    numbers = [int(seed) for seed in _names(seeds) or [] if seed.isdecimal()]
    if not numbers or len(numbers) != len(_names(seeds) or []):
        raise ParamsError(f"--seeds {seeds!r}: expected numbers, as in 0,1,2")
    run_ablation(
        data,
        workspace,
        _names(order),
        settings or [],
        method,
        _names(tables),
        numbers,
        out,
        drop_faulty=drop_faulty,
    )


@app.command()
def demo(folder: Annotated[Path, typer.Option(help="Where the demo lives.")] = Path("demo")) -> None:
    """Learn four classes one after another, from nothing, in a few minutes."""
    from flows.commands.demo import run_demo

    run_demo(folder)


def _names(order: str | None) -> list[str] | None:
    return [name.strip() for name in order.split(",") if name.strip()] if order else None


if __name__ == "__main__":
    main()
