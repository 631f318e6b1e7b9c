"""The records that results carry of what they were made from."""

import json
from collections.abc import Mapping
from typing import Any

from evernorm.files import sha256_json
from evernorm.lineage import SCHEMA
from evernorm.params.dotted import looked_up
from tasks.audit.lock import Described
from tasks.audit.objects import Held
from tasks.audit.report import Notes

_FOLDERS = {
    "masks": "masks/{}",
    "prompts": "bank/{}/prompts",
    "knowledge": "bank/{}/knowledge",
    "weibull": "bank/{}/weibull",
    "evaluate": "bank/{}/evaluation",
}
_OWN = {"masks", "weibull"}  # whose records name the parameters of their group without the group
_LINKED = {
    "prompts": _FOLDERS["prompts"],
    "knowledge": _FOLDERS["knowledge"],
    "weibull": _FOLDERS["weibull"],
    "features": "features/{}",
}


def check_lineage(described: Described, held: Held, notes: Notes) -> None:
    """Compare the records of entries, and the links of the last evaluation, with what the commit holds."""
    weights: dict[tuple[str, str], object] = {}
    for name in described.classes:
        for stage, folder in _FOLDERS.items():
            record = _check_record(name, stage, folder.format(name), described, held, notes)
            if (
                record is not None and record.get("weights") != ""
            ):  # of a stage in which no backbone had a part
                weights[name, stage] = record.get("weights")
    expected = weights.get((described.classes[-1], "evaluate"))
    for (name, stage), found in weights.items() if expected is not None else ():
        what = f"{_FOLDERS[stage].format(name)}/lineage.json weights"
        notes.compare("lineage", what, found, expected, f"{stage}@{name}")
    _check_links(described, held, notes)


def _check_record(
    name: str, stage: str, folder: str, described: Described, held: Held, notes: Notes
) -> Mapping[str, Any] | None:
    """Compare the record of a result with its inputs and with dvc.lock; None where there is none to be had."""
    path, node = f"{folder}/lineage.json", f"{stage}@{name}"
    files = held.lists.get(folder)
    if files is None or files.keys() == {f"{folder}/choice.json"}:  # a part that the method does not have
        return None
    if path not in files:
        notes.find("lineage", path, "missing", "the record of what it was made from", node)
        return None
    record = _read(path, node, held, notes)
    if record is None:
        return None
    notes.count("lineage", "records")
    params, inputs = record.get("params"), record.get("inputs")
    if (record.get("schema"), record.get("stage")) != (SCHEMA, stage) or not (
        isinstance(params, dict) and isinstance(inputs, dict) and inputs
    ):
        notes.find(
            "lineage",
            path,
            f"schema {record.get('schema')!r} of {record.get('stage')!r}",
            f"schema {SCHEMA} of {stage!r} with inputs and parameters",
            node,
        )
        return None
    for file, found in inputs.items():
        _compare(f"{path} input {file}", found, file, node, held, notes)
    notes.compare("lineage", f"{path} params_sha256", record.get("params_sha256"), sha256_json(params), node)
    locked = described.stages[node].params if node in described.stages else {}
    revision = locked.get("versions.json", {}).get(f"revisions.{stage}")
    notes.compare("lineage", f"{path} revision", record.get("revision"), revision, node)
    # Only what the stage depends on: other parameters may have changed since it ran.
    known = {stage: params} if stage in _OWN else params
    for key, value in locked.get("params.yaml", {}).items():
        if key.partition(".")[0] in known:
            notes.count("lineage", "parameters")
            found = looked_up(known, key)
            if not _within(value, found):
                notes.find("lineage", f"{path} parameter {key}", str(found), str(value), node)
    return record


def _check_links(described: Described, held: Held, notes: Notes) -> None:
    """What the last evaluation read of every class, which DVC does not know."""
    last = described.classes[-1]
    path, node = f"bank/{last}/evaluation/links.json", f"evaluate@{last}"
    if f"bank/{last}/evaluation" not in held.lists:
        return
    record = _read(path, node, held, notes)
    links = record.get("links") if record is not None else []
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        notes.find("lineage", path, "no links", "a link for each class", node)
        return
    if record is not None:
        notes.compare(
            "lineage",
            f"{path} classes",
            ",".join(str(link.get("class")) for link in links),
            ",".join(described.classes),
            node,
        )
    for link in links:
        name = link.get("class")
        notes.count("lineage", "links")
        _compare(f"{path} {name}", link.get("manifest"), f"data/{name}/manifest.json", node, held, notes)
        for part, folder in _LINKED.items():
            pinned = link.get(part)
            for file, found in pinned.items() if isinstance(pinned, dict) else ():
                _compare(f"{path} {name}", found, f"{folder.format(name)}/{file}", node, held, notes)


def _compare(what: str, found: Any, file: str, node: str, held: Held, notes: Notes) -> None:
    """Compare the hash that a record has of a file with the file's."""
    oid = held.files.get(file)
    if oid is None:
        if any(file.startswith(f"{folder}/") for folder in held.lists):
            notes.find("lineage", what, str(found), f"{file}, which the commit does not have", node)
        return
    notes.count("lineage", "inputs")
    if oid in held.sha256:  # otherwise it is a finding of the cache's
        notes.compare("lineage", what, found, held.sha256[oid], node)


def _read(path: str, node: str, held: Held, notes: Notes) -> Mapping[str, Any] | None:
    content = held.read(path)
    if content is None:
        notes.skip("lineage", f"{path}: no place holds it")
        return None
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    notes.find("lineage", path, "no JSON object", "a record", node)
    return None


def _within(value: Any, found: Any) -> bool:
    """Whether all of a value is found; defaults that params.yaml leaves out may be added."""
    if isinstance(value, Mapping) and isinstance(found, Mapping):
        return all(key in found and _within(each, found[key]) for key, each in value.items())
    return bool(value == found)
