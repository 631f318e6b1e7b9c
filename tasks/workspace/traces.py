"""What DVC looks at of each class, as a fingerprint: where it is as it was, DVC has nothing new to say.

DVC asks every stage of every class each time, which takes a second a class. Nothing is compared here with what is
right; that DVC found it so when the fingerprint was taken is for whoever keeps it.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from evernorm.files import sha256_file, sha256_json
from evernorm.params.yaml12 import load
from tasks.stages import STAGES
from tasks.stages.stage import result_params
from tasks.workspace.workspace import Workspace

_OBJECTS = ".dvc/cache/files/md5"


def traces(workspace: Workspace) -> dict[str, str]:
    """A fingerprint of each class of the stream that dvc.lock knows.

    It covers what dvc.lock says of the class's stages, the files that they read and wrote (by size, time and inode, as
    DVC itself knows files), their objects in DVC's cache, and what they are told to do.
    """
    path = workspace.root / "dvc.lock"
    locked: dict[str, Any] = load(path.read_bytes())["stages"] if path.is_file() else {}
    params = workspace.params
    told = [sha256_file(workspace.root / "dvc.yaml"), result_params(params)]
    look = cache(lambda name: _looked_at(workspace.root / name))  # a class reads what the one before wrote
    found = {}
    for name in params.order:
        records = [locked.get(f"{stage}@{name}") for stage in STAGES]
        if None not in records:
            seen = [_seen(record, look) for record in records if record]
            found[name] = sha256_json([told, params.stream[name].model_dump(), records, seen])
    return found


def _seen(record: dict[str, Any], look: Callable[[str], Any]) -> list[Any]:
    files = [each["path"] for kind in ("deps", "outs") for each in record.get(kind, ())]
    # That of parameters is in what the stages are told, but for others than the workspace's own.
    files += [each for each in record.get("params", ()) if each != "params.yaml"]
    objects = [
        f"{_OBJECTS}/{each['md5'][:2]}/{each['md5'][2:]}" for each in record.get("outs", ()) if "md5" in each
    ]
    return [look(each) for each in [*files, *objects]]


def _looked_at(path: Path) -> list[Any] | None:
    """Size, time and inode of a file, or of all in a folder; None where there is none."""
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except NotADirectoryError:
        stat = path.stat()
        return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    except FileNotFoundError:
        return None
    return [[entry.name, _looked_at(Path(entry.path))] for entry in entries]
