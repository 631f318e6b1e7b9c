"""What docs/backup.md says of Git remote, DVC remote and MLflow, done: the workspace is lost, and is itself again."""

import shutil
import subprocess

from tests.helpers.workspaces import dvc, git


def test_a_lost_workspace_is_brought_back_from_what_was_kept_elsewhere(learned, tmp_path, evernorm, small):
    """Git and DVC remote, MLflow's database, two small files; every byte is there, and nothing is learned again."""
    workspace, photos = shutil.copytree(learned[0], tmp_path / "w", symlinks=True), learned[1]
    dvc(workspace, "remote", "add", "-d", "storage", str(tmp_path / "storage"))
    dvc(workspace, "push", "--run-cache")
    git(workspace, "-c", "user.name=me", "-c", "user.email=me@here", "commit", "-qam", "A remote")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "git"], check=True)
    git(workspace, "push", "-q", str(tmp_path / "git"), "main")
    before = git(workspace, "rev-parse", "HEAD")
    (tmp_path / "kept").mkdir()
    for name in ("workspace.json", "tracking.json"):
        shutil.copy(workspace / ".evernorm" / name, tmp_path / "kept" / name)
    shutil.copy(workspace / "mlflow.db", tmp_path / "kept.db")  # a server's, which is not lost
    shutil.rmtree(workspace)

    subprocess.run(["git", "clone", "-q", "-b", "main", tmp_path / "git", workspace], check=True)
    shutil.copytree(tmp_path / "kept", workspace / ".evernorm")
    shutil.copy(tmp_path / "kept.db", workspace / "mlflow.db")
    dvc(workspace, "pull", "--run-cache")
    status = evernorm("status", "--workspace", workspace).stdout
    assert "champion: version 2, serves cloth, metal" in status
    assert 0 == evernorm("audit", "--workspace", workspace, check=False).returncode
    done = evernorm("learn", "--data", photos, "--workspace", workspace, *small)
    assert 2 == done.stderr.count("up to date")
    assert before == git(workspace, "rev-parse", "HEAD")
    image = photos / "metal/test/good/000.png"
    assert '"class": "metal"' in evernorm("predict", image, "--workspace", workspace, "--json").stdout
