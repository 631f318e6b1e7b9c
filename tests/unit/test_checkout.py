"""A builder's checkout holds what one class needs, however many it has built."""

from pathlib import Path

import pytest

from tasks.fleet.checkout import FOLDER, checked_out, fetch
from tasks.fleet.snapshot import REFS
from tasks.workspace.pipeline import push, track
from tasks.workspace.workspace import Workspace
from tests.helpers.workspaces import git


@pytest.fixture
def handed(tmp_path, monkeypatch):
    """A Git remote, and a commit there that names the data of two classes, which a DVC remote has."""
    workspace = Workspace.open_or_create(tmp_path / "workspace")
    git(tmp_path, "init", "-q", "--bare", str(tmp_path / "origin.git"))
    with workspace.dvc.ask("remote") as repo, repo.config.edit("repo") as config:
        config["remote"] = {"storage": {"url": str(tmp_path / "remote")}}
        config["core"]["remote"] = "storage"
    workspace.dvc.close()
    folders = [workspace.paths.data(name) for name in ("cloth", "metal")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "image.png").write_text(f"an image of {folder.name}")
    track(workspace, folders)
    push.fn(workspace)
    workspace.commit("Two classes")
    monkeypatch.setenv(FOLDER, str(tmp_path / "checkouts"))
    git(workspace.root, "push", "-q", tmp_path / "origin.git", f"HEAD:{REFS}/{workspace.head}")
    return str(tmp_path / "origin.git"), workspace.head


def _has(checkout: Path) -> tuple[set[str], int]:
    """The classes whose images are there, and how many objects its cache has."""
    cache = checkout / ".dvc/cache/files"
    images = {path.parent.name for path in (checkout / "data").glob("*/image.png")}
    return images, sum(path.is_file() for path in cache.rglob("*"))


def test_it_holds_what_the_last_class_needed(handed):
    """Of the class before nothing is left; the same class again finds its own."""
    with checked_out(*handed) as checkout:
        fetch.fn(checkout, "cloth")
        assert ({"cloth"}, 2) == _has(checkout.root)
    with checked_out(*handed) as checkout:
        fetch.fn(checkout, "metal")
        assert ({"metal"}, 2) == _has(checkout.root)
        image = checkout.paths.data("metal") / "image.png"
        before = image.stat()
        fetch.fn(checkout, "metal")
        assert (before.st_ino, before.st_mtime_ns) == (image.stat().st_ino, image.stat().st_mtime_ns)
        assert "an image of metal" == image.read_text()
        assert "" == checkout.git("status", "--porcelain")


def test_a_cache_that_others_use_too_stays(handed, tmp_path):
    """One outside the checkout, as DVC's `cache.dir` may name."""
    with checked_out(*handed) as checkout:
        with checkout.dvc.ask("cache") as repo, repo.config.edit("local") as config:
            config["cache"]["dir"] = str(tmp_path / "cache")
        checkout.dvc.close()
        for name in ("cloth", "metal"):
            fetch.fn(checkout, name)
        assert ({"metal"}, 0) == _has(checkout.root)
        assert 4 == sum(path.is_file() for path in (tmp_path / "cache/files").rglob("*"))
