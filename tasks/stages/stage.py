"""What the stage modules share: their arguments, their paths, how they end."""

import fcntl
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from evernorm.errors import EvernormError, PipelineError, StateError
from evernorm.files import write_bytes, write_json
from evernorm.params.file import load_params
from evernorm.params.groups import Params
from evernorm.types import Progress
from tasks.faults import of_the_machine
from tasks.workspace.paths import ERROR_FILE, LOCK_FILE, PROGRESS_FILE, Paths, seconds_file
from tasks.workspace.versions import check_versions

_EVERY = 2.0  # seconds between two notes of how far a stage is

TOLD_BY_COMMAND = "EVERNORM_TELLS_ERRORS"  # set by a command, see flows.commands.environment


def main(stage: Callable[[str, Params, Paths], None]) -> None:
    """Run one stage for the class named on the command line, in the current directory.

    An error that a person can cure is kept in `ERROR_FILE` for the command that called DVC, which tells it; where
    none did, it is printed, without a traceback.
    """
    import psutil

    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # see flows.commands.environment; before torch is imported
    root = Path.cwd()
    error_file = root / ERROR_FILE
    try:
        error_file.parent.mkdir(exist_ok=True)
        error_file.unlink(missing_ok=True)
        params = load_params(root / "params.yaml")
        if len(sys.argv) != 2 or sys.argv[1] not in params.stream:
            raise StateError(
                f"usage: python -m tasks.STAGE CLASS, with one of {', '.join(params.order) or 'no class yet'}"
            )
        # A stage that outlived its killed parent may still be writing: wait for it.
        with (root / LOCK_FILE).open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            check_versions(params, Paths(root))
            stage(sys.argv[1], params, Paths(root))
        started = psutil.Process().create_time()
        write_json(
            seconds_file(root, stage.__name__, sys.argv[1]), {"seconds": round(time.time() - started, 3)}
        )
    except EvernormError as error:
        _fail(error_file, type(error).__name__, str(error))
    except OSError as error:
        if (fault := of_the_machine(error)) is None:
            raise
        _fail(error_file, PipelineError.__name__, fault)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(file: Path, kind: str, said: str) -> NoReturn:
    with suppress(OSError):  # no room for it: then nobody can read it there
        write_json(file, {"kind": kind, "said": said})
        if os.environ.get(TOLD_BY_COMMAND):
            sys.exit(1)
    sys.exit(f"evernorm: {said}")


def result_params(params: Params) -> dict[str, Any]:
    """The parameters that determine a result: those of the method and of what all share, but what changes no more than rounding."""
    shared = {"method", "seed", "features", "masks", "weibull", "calibration", "evaluate", params.method}
    values = params.model_dump(mode="json", include=shared)
    for free in ("device", "engine", "batch_size"):
        del values["features"][free]
    return values


def record_choice(folder: Path, part: str, choice: str) -> None:
    """The one-line record that a part chosen as ``none`` leaves."""
    write_json(folder / "choice.json", {part: choice})


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A progress bar with an estimate on standard error; silent where that is no terminal.

    Where a run waits for a stage, and has made `PROGRESS_FILE` to be told, the same is written there.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        job = bar.add_task(label, total=None)
        told, written = Path.cwd() / PROGRESS_FILE, time.monotonic()
        wanted = told.is_file()

        def update(done: int, total: int) -> None:
            nonlocal written
            bar.update(job, completed=done, total=total)
            if wanted and time.monotonic() - written > _EVERY:
                written = time.monotonic()
                write_bytes(told, f"{label}: {done} of {total}".encode())

        yield update
