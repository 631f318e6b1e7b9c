"""What the stage modules share: their arguments, their paths, how they end."""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from evernorm.errors import EvernormError, StateError
from evernorm.files import write_json
from evernorm.params.file import load_params
from evernorm.params.groups import Params
from evernorm.types import Progress

ERROR_FILE = ".evernorm/error.json"
LOCK_FILE = ".evernorm/stage.lock"


def seconds_file(root: Path, stage: str, name: str) -> Path:
    """Where a stage notes how long it took when it last really ran (not: was restored)."""
    return root / ".evernorm" / "seconds" / f"{stage}@{name}.json"


@dataclass(frozen=True)
class Paths:
    """Where things are in a workspace; each is one DVC output."""

    root: Path

    def data(self, name: str) -> Path:
        """Images and manifest.json of a class."""
        return self.root / "data" / name

    def manifest(self, name: str) -> Path:
        """The manifest of a class."""
        return self.data(name) / "manifest.json"

    def training(self, name: str) -> Path:
        """The manifest of a class's training images alone."""
        return self.data(name) / "train.json"

    def masks(self, name: str) -> Path:
        """Structure of the training images."""
        return self.root / "masks" / name

    def bank(self, name: str, part: str) -> Path:
        """One of prompts, knowledge, carry, weibull, evaluation."""
        return self.root / "bank" / name / part

    def features(self, name: str) -> Path:
        """Features of the test images, one or two float32 arrays ``[n, P, d]``."""
        return self.root / "features" / name

    def training_state(self, name: str) -> Path:
        """Where an unfinished training is kept; no DVC output, as DVC removes those before a stage runs."""
        return self.root / ".evernorm" / "training" / name

    def model(self, name: str) -> Path:
        """The assembled bank after this experience."""
        return self.root / "models" / name

    def metrics(self, name: str) -> Path:
        """R[t, ·] and everything measured with it."""
        return self.root / "metrics" / f"{name}.json"


def main(stage: Callable[[str, Params, Paths], None]) -> None:
    """Run one stage for the class named on the command line, in the current directory.

    An error of the user's is printed without a traceback and kept in `ERROR_FILE` for whoever called DVC.
    """
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # see flows.commands.environment; before torch is imported
    root = Path.cwd()
    error_file = root / ERROR_FILE
    error_file.parent.mkdir(exist_ok=True)
    error_file.unlink(missing_ok=True)
    try:
        params = load_params(root / "params.yaml")
        if len(sys.argv) != 2 or sys.argv[1] not in params.stream:
            raise StateError(
                f"usage: python -m tasks.STAGE CLASS, with one of {', '.join(params.order) or 'no class yet'}"
            )
        # A stage that outlived its killed parent may still be writing: wait for it.
        with (root / LOCK_FILE).open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            stage(sys.argv[1], params, Paths(root))
        started = psutil.Process().create_time()
        write_json(
            seconds_file(root, stage.__name__, sys.argv[1]), {"seconds": round(time.time() - started, 3)}
        )
    except EvernormError as error:
        write_json(error_file, {"kind": type(error).__name__, "said": str(error)})
        sys.exit(f"evernorm: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def before(name: str, params: Params) -> str:
    """The class learned before this one, or ``start``."""
    return params.stream[name].after


def result_params(params: Params) -> dict[str, Any]:
    """The parameters that determine a result: all but stream, gate, watch, device and batch size."""
    values = params.model_dump(mode="json", exclude={"stream", "gate", "watch"})
    for free in ("device", "batch_size"):
        del values["features"][free]
    return values


def record_choice(folder: Path, part: str, choice: str) -> None:
    """The one-line record that a part chosen as ``none`` leaves."""
    write_json(folder / "choice.json", {part: choice})


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A progress bar with an estimate on standard error; silent where that is no terminal."""
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
        yield lambda done, total: bar.update(job, completed=done, total=total)
