"""The stream and its experiences, as Prefect flows."""

import time
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.console import Reporter
from tasks.pipeline import STAGES, StageRun, reproduce
from tasks.registry import Registered, register
from tasks.tracking import Recorded, record
from tasks.workspace import Workspace


@dataclass(frozen=True)
class Learned:
    """What came of one experience.

    Attributes:
        name: The class.
        stages: How each stage went.
        recorded: Its MLflow runs.
        registered: Its version of the bank.
    """

    name: str
    stages: tuple[StageRun, ...]
    recorded: Recorded
    registered: Registered


@flow(name="learn-experience", flow_run_name="learn {name}")
def learn_experience(root: Path, name: str) -> Learned:
    """Learn one class: the stages that are not up to date, then the record, then the gate."""
    workspace = Workspace.open(root)
    stages = tuple(reproduce(root, stage, name) for stage in STAGES)
    workspace.commit(f"Learn {name}")
    recorded = record(root, name, stages)
    registered = register(root, name, recorded)
    return Learned(name, stages, recorded, registered)


@flow(name="learn-stream")
def learn_stream(root: Path) -> list[Learned]:
    """Learn every class of the stream in its order; what is learned already is only looked at."""
    workspace = Workspace.open(root)
    order = workspace.params.order
    reporter = Reporter(len(order))
    learned = []
    with workspace.locked():
        for name in order:
            started = time.perf_counter()
            reporter.begin(name)
            learned.append(learn_experience(root, name))
            reporter.end(learned[-1].stages, learned[-1].registered, time.perf_counter() - started)
    return learned
