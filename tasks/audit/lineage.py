"""The records that results carry of what they were made from."""

import json
from collections.abc import Mapping
from typing import Any

from evernorm.files import sha256_json
from evernorm.lineage import SCHEMA
from tasks.audit.lock import Described
from tasks.audit.objects import Stored
from tasks.audit.records import looked_up
from tasks.audit.report import Notes

_FOLDERS = {
    "masks": "masks/{}",
    "prompts": "bank/{}/prompts",
    "knowledge": "bank/{}/knowledge",
    "weibull": "bank/{}/weibull",
}
_OWN = {"masks", "weibull"}  # whose records name the parameters of their group without the group
_LINKED = {
    "prompt": _FOLDERS["prompts"],
    "entry": _FOLDERS["knowledge"],
    "calibration": _FOLDERS["weibull"],
    "features": "features/{}",
}


def check_lineage(described: Described, stored: Stored, notes: Notes) -> None:
    """Compare the records of entries, and the chain of the last evaluation, with what the commit holds."""
    for name in described.classes:
        for stage, folder in _FOLDERS.items():
            _check_record(name, stage, folder.format(name), described, stored, notes)
    _check_chain(described, stored, notes)


def _check_record(
    name: str, stage: str, folder: str, described: Described, stored: Stored, notes: Notes
) -> None:
    path, node = f"{folder}/lineage.json", f"{stage}@{name}"
    files = stored.lists.get(folder)
    if files is None or files.keys() == {f"{folder}/choice.json"}:  # a part that the method does not have
        return
    if path not in files:
        notes.find("lineage", path, "missing", "the record of what it was made from", node)
        return
    record = _read(path, node, stored, notes)
    if record is None:
        return
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
        return
    for file, found in inputs.items():
        _compare(f"{path} input {file}", found, file, node, stored, notes)
    notes.compare("lineage", f"{path} params_sha256", record.get("params_sha256"), sha256_json(params), node)
    # Only what the stage depends on: other parameters may have changed since it ran.
    locked = described.stages[node].params.get("params.yaml", {}) if node in described.stages else {}
    known = {stage: params} if stage in _OWN else params
    for key, value in locked.items():
        if key.partition(".")[0] in known:
            notes.count("lineage", "parameters")
            found = looked_up(known, key)
            if not _within(value, found):
                notes.find("lineage", f"{path} parameter {key}", str(found), str(value), node)


def _check_chain(described: Described, stored: Stored, notes: Notes) -> None:
    """What the last evaluation read of every class, which DVC does not know."""
    last = described.classes[-1]
    path, node = f"bank/{last}/evaluation/chain.json", f"evaluate@{last}"
    if f"bank/{last}/evaluation" not in stored.lists:
        return
    record = _read(path, node, stored, notes)
    links = record.get("links") if record is not None else []
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        notes.find("lineage", path, "no chain", "a link for each class", node)
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
        _compare(f"{path} {name}", link.get("manifest"), f"data/{name}/manifest.json", node, stored, notes)
        for part, folder in _LINKED.items():
            pinned = link.get(part)
            for file, found in pinned.items() if isinstance(pinned, dict) else ():
                _compare(f"{path} {name}", found, f"{folder.format(name)}/{file}", node, stored, notes)


def _compare(what: str, found: Any, file: str, node: str, stored: Stored, notes: Notes) -> None:
    """Compare the hash that a record has of a file with the file's."""
    oid = stored.files.get(file)
    if oid is None:
        if any(file.startswith(f"{folder}/") for folder in stored.lists):
            notes.find("lineage", what, str(found), f"{file}, which the commit does not have", node)
        return
    notes.count("lineage", "inputs")
    if oid in stored.sha256:  # otherwise it is a finding of the cache's
        notes.compare("lineage", what, found, stored.sha256[oid], node)


def _read(path: str, node: str, stored: Stored, notes: Notes) -> Mapping[str, Any] | None:
    content = stored.read(path)
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
