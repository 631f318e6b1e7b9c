"""What a commit describes: stages, data, metrics and parameters, and whether they agree with each other."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from evernorm.errors import StateError
from evernorm.params.dotted import looked_up
from tasks.audit.commit import Commit
from tasks.audit.records import (
    DvcFile,
    Hashed,
    Kind,
    Lock,
    LockedStage,
    md5,
    parse,
    read_yaml,
    sha256,
)
from tasks.audit.report import Node, Notes, Output
from tasks.stages import STAGES


@dataclass(frozen=True)
class Described:
    """What a commit says of the classes of a version.

    Attributes:
        commit: The commit.
        classes: In the order of the stream.
        lock_sha256: Of dvc.lock.
        stages: By name; those that are there.
        data: By class; those whose .dvc file can be read.
        metrics: By class; the bytes.
        params: The tree in params.yaml; None where it cannot be read.
        versions: The tree in versions.json; None where it cannot be read.
        pipeline: The tree in dvc.yaml; None where it cannot be read.
    """

    commit: Commit
    classes: tuple[str, ...]
    lock_sha256: str
    stages: dict[str, LockedStage]
    data: dict[str, Hashed]
    metrics: dict[str, bytes]
    params: dict[str, Any] | None
    versions: dict[str, Any] | None
    pipeline: dict[str, Any] | None

    @cached_property
    def nodes(self) -> dict[str, str]:
        """The node of the lineage that each output belongs to, by the output's path."""
        made = {out.path: name for name, stage in self.stages.items() for out in stage.outs}
        return {**made, **{out.path: out.path for out in self.data.values()}, self.model: "model"}

    @property
    def model(self) -> str:
        """Path of the bank that is registered."""
        return f"models/{self.classes[-1]}"

    @cached_property
    def outputs(self) -> dict[str, Hashed]:
        """What DVC stores, by path."""
        outs = [*self.data.values(), *(out for stage in self.stages.values() for out in stage.outs)]
        tracked = {f"metrics/{name}.json" for name in self.classes}  # by Git
        return {out.path: out for out in outs if out.path not in tracked}

    def node_of(self, path: str) -> str:
        """The node that an output or a file in it belongs to."""
        return next((node for out, node in self.nodes.items() if f"{path}/".startswith(f"{out}/")), "commit")

    @property
    def lineage(self) -> tuple[Node, ...]:
        """From images to model."""
        nodes = []
        for name in self.classes:
            if name in self.data:
                nodes.append(Node(name=f"data/{name}", inputs=(), outputs=(_output(self.data[name]),)))
            for stage in (f"{each}@{name}" for each in STAGES):
                if stage in self.stages:
                    made = [out for out in self.stages[stage].outs if out.path != self.model]
                    nodes.append(
                        Node(
                            name=stage,
                            inputs=tuple(map(_output, self.stages[stage].deps)),
                            outputs=tuple(map(_output, made)),
                        )
                    )
        if self.model in self.outputs:
            nodes.append(Node(name="model", inputs=(), outputs=(_output(self.outputs[self.model]),)))
        return tuple(nodes)


def describe(commit: Commit, classes: tuple[str, ...], notes: Notes) -> Described | None:
    """Read what a commit says of these classes; None where its dvc.lock cannot be read."""
    content = _read(commit, "dvc.lock", "commit", notes)
    lock = _parsed(Lock, content, commit, "dvc.lock", "commit", notes)
    if content is None or lock is None:
        notes.skip("dvc.lock", f"nothing that the dvc.lock of commit {commit} names: it cannot be read")
        return None
    wanted = [f"{stage}@{name}" for name in classes for stage in STAGES]
    for stage in wanted:
        notes.count("dvc.lock", "stages")
        if stage not in lock.stages:
            notes.find("dvc.lock", stage, "missing", f"a stage in dvc.lock of commit {commit}", stage)
    data, metrics = {}, {}
    for name in classes:
        node, path = f"data/{name}", f"data/{name}.dvc"
        record = _parsed(DvcFile, _read(commit, path, node, notes), commit, path, node, notes)
        if record is not None:
            # A .dvc file names its output from where it is.
            data[name] = record.outs[0].model_copy(update={"path": node})
        if (figures := _read(commit, f"metrics/{name}.json", f"evaluate@{name}", notes)) is not None:
            metrics[name] = figures
    return Described(
        commit,
        classes,
        sha256(content),
        {stage: lock.stages[stage] for stage in wanted if stage in lock.stages},
        data,
        metrics,
        _tree(commit, "params.yaml", notes),
        _tree(commit, "versions.json", notes),
        _tree(commit, "dvc.yaml", notes),
    )


def check_lock(described: Described, lists: Mapping[str, Mapping[str, str]], notes: Notes) -> None:
    """Compare every input with the output that it is, metrics with their hash, parameters with the files they are in.

    Args:
        described: What the commit says.
        lists: DVC's hash of each file, by path, in each output of which that is known.
        notes: What is found goes there.
    """
    for name, stage in described.stages.items():
        _check_outputs(name, stage, described, notes)
        for dep in stage.deps:
            _check_input(name, dep, described, lists, notes)
        for file, tree in (("params.yaml", described.params), ("versions.json", described.versions)):
            for key, value in stage.params.get(file, {}).items() if tree is not None else ():
                notes.count("dvc.lock", "parameters")
                notes.compare("dvc.lock", f"{name} parameter {key}", value, looked_up(tree, key), name)
    for name, content in described.metrics.items():
        stage_name, path = f"evaluate@{name}", f"metrics/{name}.json"
        notes.count("dvc.lock", "metrics")
        outs = described.stages[stage_name].outs if stage_name in described.stages else ()
        named = next((out.md5 for out in outs if out.path == path), None)
        notes.compare("dvc.lock", f"{stage_name} output {path}", named, md5(content), stage_name)


def _read(commit: Commit, path: str, node: str, notes: Notes) -> bytes | None:
    notes.count("git", "files")
    try:
        return commit.read(path)
    except StateError as error:
        notes.find("git", path, error.message, f"a file in commit {commit}", node)
        return None


def _parsed(
    kind: type[Kind], content: bytes | None, commit: Commit, path: str, node: str, notes: Notes
) -> Kind | None:
    if content is None:
        return None
    try:
        return parse(kind, content)
    except StateError as error:
        notes.find("git", path, error.message, f"what DVC writes, in commit {commit}", node)
        return None


def _tree(commit: Commit, path: str, notes: Notes) -> dict[str, Any] | None:
    content = _read(commit, path, "commit", notes)
    try:
        tree = read_yaml(content) if content is not None else None
    except StateError as error:
        tree = error.message
    if isinstance(tree, dict):
        return tree
    if content is not None:
        notes.find("git", path, str(tree), f"a mapping in commit {commit}", "commit")
    return None


def _check_outputs(name: str, stage: LockedStage, described: Described, notes: Notes) -> None:
    """Compare the outputs of a stage with those that dvc.yaml names."""
    if described.pipeline is None:
        return
    step, _, item = name.partition("@")
    named: list[Any] = []
    for kind in ("outs", "metrics"):
        listed = looked_up(described.pipeline, f"stages.{step}.do.{kind}")
        for each in listed if isinstance(listed, list) else ():
            named += each if isinstance(each, Mapping) else [each]  # one with options is a key
    expected, found = {str(each).replace("${key}", item) for each in named}, {out.path for out in stage.outs}
    for path in sorted(expected - found):
        notes.find("dvc.lock", f"{name} output {path}", "missing", "as in dvc.yaml", name)
    for path in sorted(found - expected):
        notes.find("dvc.lock", f"{name} output {path}", "not in dvc.yaml", "none", name)


def _check_input(
    name: str, dep: Hashed, described: Described, lists: Mapping[str, Mapping[str, str]], notes: Notes
) -> None:
    """Compare an input of a stage with the output that it is, or is a file of, or with what Git keeps."""
    notes.count("dvc.lock", "inputs")
    within = next((out for out in described.outputs if dep.path.startswith(f"{out}/")), None)
    if dep.path in described.outputs:
        made: str | None = described.outputs[dep.path].md5
    elif within is None:
        made = _tracked(described.commit, dep.path)
    elif within in lists:
        made = lists[within].get(dep.path)
    else:  # noted where it was looked for
        return
    notes.compare("dvc.lock", f"{name} input {dep.path}", dep.md5, made, name)


def _tracked(commit: Commit, folder: str) -> str | None:
    """DVC's hash of a folder that Git keeps; None where there is none."""
    paths = sorted(commit.files(folder))
    try:
        listing = [
            {"md5": md5(commit.read(path)), "relpath": path.removeprefix(f"{folder}/")} for path in paths
        ]
    except StateError:
        return None
    return f"{md5(json.dumps(listing, sort_keys=True).encode())}.dir" if listing else None


def _output(out: Hashed) -> Output:
    return Output(path=out.path, md5=out.md5, size=out.size, files=out.nfiles)
