"""`evernorm` where something is wrong: a sentence and an exit status, no traceback, and nothing changed."""

import os
import shutil
import subprocess
import sys

import pytest

from evernorm.params.groups import Params
from tasks.workspace.workspace import Workspace


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere"], "nowhere"),
        (
            ["--data", "photos", "--set", "patchcore_cl.knowledge.budgt=5"],
            "did you mean patchcore_cl.knowledge.budget?",
        ),
        (["--data", "photos", "--order", "cloth,nothing"], "nothing"),
        (["--data", "photos", "--order", "cloth,cloth"], "more than once"),
        (["--data", "photos", "--workspace", "photos"], "lies inside"),
    ],
)
def test_mistakes_are_told_in_a_sentence_and_change_nothing(arguments, said, tmp_path, evernorm, draw_photos):
    """No traceback, exit status 1, no workspace left behind."""
    draw_photos(tmp_path / "photos", names=("cloth",), train=5, good=1, defective=1)
    before = sorted(tmp_path.rglob("*"))
    done = evernorm("learn", *arguments, check=False, cwd=tmp_path)
    assert (1, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert before == sorted(tmp_path.rglob("*"))


def unprivileged() -> tuple[str, ...]:
    """What makes root as anyone: without it, nothing that root may not write would be found."""
    return (
        ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner") if os.geteuid() == 0 else ()
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("learn", "--data", "photos", "--workspace", "workspace"), "workspace cannot be written"),
        (("learn", "--data", "photos", "--workspace", "closed/new"), "closed/new"),
        (("watch", "--once", "--inbox", "photos", "--workspace", "workspace"), "workspace cannot be written"),
        (("promote", "1", "--reason", "x", "--workspace", "workspace"), "workspace cannot be written"),
        (("rollback", "--reason", "x", "--workspace", "workspace"), "workspace cannot be written"),
        (("move-tracking", "--workspace", "workspace"), "workspace cannot be written"),
        (("forget", "cloth", "--reason", "x", "--workspace", "workspace"), "workspace cannot be written"),
    ],
)
def test_what_may_not_be_written_is_told_in_a_sentence(arguments, said, learned, tmp_path, small):
    """The workspace of another user, a place where none may be made: what it is, and what to do."""
    for folder in learned:
        shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    (tmp_path / "closed").mkdir()
    subprocess.run(["chmod", "-R", "a-w", "workspace", "closed"], cwd=tmp_path, check=True)
    command = (*unprivileged(), sys.executable, "-m", "flows.commands.cli", *arguments)
    if arguments[0] == "learn":
        command += small
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    subprocess.run(["chmod", "-R", "u+w", "workspace", "closed"], cwd=tmp_path, check=True)
    assert (1, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_a_stage_that_fails_is_told_in_a_sentence_and_the_rest_stays(
    tmp_path, learned_one, evernorm, draw_photos
):
    """Identical training images cannot be calibrated: the class fails, the one before stays learned."""
    photos = draw_photos(tmp_path / "photos")
    images = sorted((photos / "metal/train/good").glob("*.png"))
    for image in images[1:]:
        shutil.copyfile(images[0], image)
    workspace = shutil.copytree(learned_one, tmp_path / "w", symlinks=True)
    arguments = ("learn", "--data", photos, "--workspace", workspace)
    done = evernorm(*arguments, "--set", "gate.max_forgetting=0.5", check=False)
    assert done.returncode == 1
    assert "weibull@metal failed" in done.stderr
    assert "params.yaml is as it was before" in done.stderr
    assert Params().gate.max_forgetting == Workspace.open(tmp_path / "w").params.gate.max_forgetting
    assert 1 == done.stderr.count("copies of one another")  # not by the stage too
    assert "Traceback" not in done.stderr
    assert "cloth" in evernorm("status", "--workspace", tmp_path / "w").stdout


def test_a_full_disk_is_told_in_a_sentence(tmp_path, evernorm, small, draw_photos):
    """Not by the packages that hit it first."""
    photos, disk = draw_photos(tmp_path / "photos"), tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        done = evernorm("learn", "--data", photos, "--workspace", disk / "w", *small, check=False)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert 1 == done.returncode
    assert "No space left on device; make room on the disk" in done.stderr
    assert 1 == len(done.stderr.splitlines())
