"""A second checkout of a workspace on the same disk, in which what has arrived is put together for builders."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from evernorm.files import write_bytes, write_json
from tasks.fleet.snapshot import REMOTE
from tasks.workspace.workspace import MARKER, Workspace

_FOLDER = ".evernorm/beside"


@contextmanager
def beside(workspace: Workspace) -> Iterator[Workspace]:
    """A workspace as this one is now, with the same remotes and the same DVC cache; it is gone in the end.

    Args:
        workspace: Held by the caller.

    Raises:
        PipelineError: Git refuses.
    """
    root, folder = workspace.root, workspace.root / _FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    workspace.git("clone", "-q", "--shared", str(root), str(folder))
    second = Workspace(folder)
    second.git("remote", "set-url", REMOTE, workspace.git("config", "--default", "", f"remote.{REMOTE}.url"))
    for name in ("params.yaml", "versions.json", ".dvc/config"):  # as they are, committed or not
        if (root / name).is_file():
            shutil.copyfile(root / name, folder / name)
    local = root / ".dvc" / "config.local"
    own = local.read_text() if local.is_file() else ""
    write_bytes(
        folder / ".dvc" / "config.local", f"{own}\n[cache]\n    dir = {root / '.dvc' / 'cache'}\n".encode()
    )
    write_json(folder / MARKER, {"schema": 1, "id": workspace.identity})
    try:
        with second.locked():
            yield second
    finally:
        shutil.rmtree(folder, ignore_errors=True)
