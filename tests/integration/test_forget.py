"""`evernorm forget`: what remains is as if the class had never been learned, whatever happens meanwhile."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from evernorm.errors import ParamsError, PipelineError
from evernorm.files import write_json
from tasks.workspace.forget import begin, check
from tasks.workspace.workspace import Workspace
from tests.helpers.workspaces import dvc, git, kill_at, lock

CLASSES = ("cloth", "metal", "blue")


@pytest.fixture
def three_and_two(request, tmp_path, fresh, evernorm, small, open_gate, ucad):
    """Workspaces with the method of the parameter: one that learned three classes, and one that never learned the one named."""
    method, name = request.param
    of_method = {"patchcore_cl": "three_learned", "ucad": "three_adapted"}
    three, two = request.getfixturevalue(of_method[method]), tmp_path / "two"
    if (method, name) == ("patchcore_cl", "blue"):
        return three, request.getfixturevalue("learned")[0]
    if method == "ucad":  # it learned the first class and never another
        shutil.copytree(request.getfixturevalue("interrupted")[0], two, symlinks=True)
        photos, settings = request.getfixturevalue("adapted")[1], ucad
    else:
        fresh(two)
        photos, settings = three.parent / "photos", (*small, *open_gate)
    names = ",".join(each for each in CLASSES if each != name)
    evernorm("learn", "--data", photos, "--workspace", two, "--order", names, *settings)
    return three, two


@pytest.fixture(scope="module")
def forgot(tmp_path_factory, learned, evernorm):
    """A workspace that learned cloth and metal and forgot cloth, and what it said; tests may look, not touch."""
    workspace = shutil.copytree(learned[0], tmp_path_factory.mktemp("forgot") / "workspace", symlinks=True)
    return workspace, evernorm("forget", "cloth", "--reason", "sold [off]", "--workspace", workspace)


@pytest.fixture
def copy(learned, tmp_path):
    """A copy of the workspace that learned cloth and metal, to change."""
    return shutil.copytree(learned[0], tmp_path / "workspace", symlinks=True)


def files(workspace: Path) -> dict[str, bytes]:
    """Everything that is learned, by its path."""
    folders = ("data", "masks", "bank", "features", "models", "metrics")
    paths = [path for each in folders for path in (workspace / each).rglob("*") if path.is_file()]
    return {str(path.relative_to(workspace)): path.read_bytes() for path in paths}


def versions(workspace: Path) -> tuple[dict, str]:
    """The registered versions by number, and the champion's number."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    found = {str(each.version): each for each in client.search_model_versions("name = 'continual-bank'")}
    return found, str(client.get_model_version_by_alias("continual-bank", "champion").version)


def assert_forgotten(workspace: Path, name: str, reason: str, known: list[str], version: str) -> None:
    """The class is gone from every place, and the bank without it is committed, registered and champion."""
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    expected = {
        each: {"after": before, "needs": "start"}
        for before, each in zip(["start", *known], known, strict=False)
    }
    assert expected == params["stream"]
    assert set(known) == {stage.partition("@")[2] for stage in lock(workspace)}
    assert [] == [path for path in files(workspace) if name in Path(path).parts or f"{name}." in path]
    assert [] == list((workspace / ".evernorm").rglob(f"*@{name}.json"))
    assert not (workspace / ".evernorm/forgetting.json").exists()
    ignored = [path.read_text() for path in workspace.glob("*/.gitignore")]
    assert not any(f"/{name}\n" in text for text in ignored)
    record = json.loads((workspace / "forgotten.json").read_text())
    assert [(name, reason)] == [(each["class"], each["reason"]) for each in record]
    assert f"Forget {name}, version {version}: {reason}\n" == git(workspace, "log", "-1", "--format=%s")
    assert git(workspace, "status", "--porcelain") == ""
    assert "forgotten.json" in git(workspace, "ls-files")
    found, champion = versions(workspace)
    assert (version, int(version)) == (champion, len(found))
    tags = found[version].tags
    assert (name, reason) == (tags["evernorm.forgot"], tags["evernorm.reason"])
    assert ",".join(known) == tags["evernorm.classes"]
    assert git(workspace, "rev-parse", "HEAD").strip() == tags["evernorm.git_commit"]


@pytest.mark.parametrize(
    ("three_and_two", "name"),
    [
        ((method, name), name)
        for method, name in (("patchcore_cl", "cloth"), ("patchcore_cl", "blue"), ("ucad", "metal"))
    ],
    indirect=["three_and_two"],
)
def test_what_remains_is_byte_for_byte_what_never_learned_the_class(three_and_two, name, tmp_path, evernorm):
    """The first, the last or the middle of three: entries, calibrations, banks, figures and DVC's lock are equal."""
    three, innocent = three_and_two
    forgetful = shutil.copytree(three, tmp_path / "forgetful", symlinks=True)
    before = lock(three)
    evernorm("forget", name, "--reason", "sold", "--workspace", forgetful)
    remaining = [each for each in CLASSES if each != name]
    expected, found = files(innocent), files(forgetful)
    assert set(expected) == set(found)
    assert [] == [path for path in expected if expected[path] != found[path]]
    assert lock(innocent) == lock(forgetful)
    # An earlier class is not touched.
    earlier = {stage for stage in before if stage.partition("@")[2] in CLASSES[: CLASSES.index(name)]}
    assert {stage: before[stage] for stage in earlier} == {stage: lock(forgetful)[stage] for stage in earlier}
    assert_forgotten(forgetful, name, "sold", remaining, str(len(CLASSES) + 1))


def test_a_person_reads_what_was_removed_and_where_the_class_still_is(forgot):
    """The new champion, the versions that still hold the class, and how to erase what is left."""
    workspace, done = forgot
    assert_forgotten(workspace, "cloth", "sold [off]", ["metal"], "3")
    for said in (
        "Forgot cloth (sold [off])",
        "the bank knows metal.",
        "continual-bank version 3 is champion",
        "continual-bank versions 1, 2 and their MLflow runs",
        "dvc gc -w",
    ):
        assert said in done.stdout


def test_predict_and_status_know_the_remaining_classes_only(forgot, learned, evernorm):
    """An image of the forgotten class is taken for one of those that remain."""
    workspace, _ = forgot
    images = [learned[1] / name / "test/good/000.png" for name in ("cloth", "metal")]
    answers = json.loads(evernorm("predict", *images, "--workspace", workspace, "--json").stdout)
    assert ["metal", "metal"] == [answer["class"] for answer in answers]
    status = evernorm("status", "--workspace", workspace).stdout
    assert "cloth" not in status
    assert "champion: version 3" in status


def test_dvc_gc_erases_the_images_as_is_said(forgot, learned, tmp_path):
    """After the command that the person reads, the cache holds no image of the class and all of the others."""
    workspace = shutil.copytree(forgot[0], tmp_path / "workspace", symlinks=True)

    def cached(name: str) -> set[bool]:
        images = (learned[1] / name / "train").rglob("*.png")
        hashes = [hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in images]
        return {(workspace / ".dvc/cache/files/md5" / each[:2] / each[2:]).is_file() for each in hashes}

    assert ({True}, {True}) == (cached("cloth"), cached("metal"))
    dvc(workspace, "gc", "-w", "-f")
    assert ({False}, {True}) == (cached("cloth"), cached("metal"))


@pytest.mark.parametrize(
    ("name", "reason", "said"),
    [
        ("cloth", "sold", "'cloth' is not known; the stream names metal"),
        ("metl", "sold", "did you mean metal?"),
        ("metal", "sold", "metal is the only class"),
        ("metal", " \n", "--reason has 0 characters"),
    ],
)
def test_what_cannot_be_forgotten_is_told_in_a_sentence_and_changes_nothing(
    forgot, name, reason, said, evernorm
):
    """A class forgotten already, a misspelt one, the only one; a reason that is none."""
    workspace, _ = forgot
    before = (git(workspace, "rev-parse", "HEAD"), files(workspace), len(versions(workspace)[0]))
    done = evernorm("forget", name, "--reason", reason, "--workspace", workspace, check=False)
    assert (1, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert before == (git(workspace, "rev-parse", "HEAD"), files(workspace), len(versions(workspace)[0]))
    assert git(workspace, "status", "--porcelain") == ""


def test_the_last_class_forgotten_leaves_a_version_of_its_own_that_learning_keeps(
    copy, learned, evernorm, small
):
    """The same bank as an earlier version, registered anew; a later run neither adds nor prefers another."""
    evernorm("forget", "metal", "--reason", "sold", "--workspace", copy)
    assert_forgotten(copy, "metal", "sold", ["cloth"], "3")
    found, _ = versions(copy)
    assert found["1"].run_id == found["3"].run_id
    done = evernorm("learn", "--data", learned[1], "--workspace", copy, "--order", "cloth", *small)
    assert "up to date" in done.stderr
    assert ({"1", "2", "3"}, "3") == (set(versions(copy)[0]), versions(copy)[1])


def test_a_class_learned_again_is_forgotten_no_longer_and_can_be_forgotten_again(
    copy, learned, evernorm, small
):
    """The list follows, the earlier version of the full bank returns, and the second forgetting is registered too."""
    evernorm("forget", "metal", "--reason", "sold", "--workspace", copy)
    done = evernorm("learn", "--data", learned[1], "--workspace", copy, *small)
    assert "metal was forgotten (sold) and is learned again" in done.stderr
    assert [] == json.loads((copy / "forgotten.json").read_text())
    assert "2" == versions(copy)[1]
    evernorm("forget", "metal", "--reason", "sold", "--workspace", copy)
    assert_forgotten(copy, "metal", "sold", ["cloth"], "4")


@pytest.mark.parametrize(
    "moment",
    [
        "tasks.workspace.forget.edited",
        "tasks.workspace.forget.shutil.rmtree",
        "tasks.workspace.workspace.Workspace.commit",
        "flows.learn.stamp",
        "tasks.tracking.promotions._apply",
        "flows.forget.finish",
    ],
)
def test_a_killed_forgetting_ends_as_an_undisturbed_one(moment, copy, evernorm):
    """SIGKILL between any two steps; run again, with its first reason and without a second version."""
    arguments = ("forget", "metal", "--workspace", copy, "--reason")
    kill_at(moment, *arguments, "sold")
    evernorm(*arguments, "sold, as was said")
    assert_forgotten(copy, "metal", "sold", ["cloth"], "3")


def test_nothing_else_is_done_while_a_class_is_half_forgotten(copy, learned, evernorm, small):
    """Learning, or forgetting another class, is refused and says how to go on."""
    begin(Workspace.open(copy), "metal", "sold")
    before = files(copy)
    for arguments in (
        ("learn", "--data", learned[1], *small),
        ("forget", "cloth", "--reason", "sold"),
    ):
        done = evernorm(*arguments, "--workspace", copy, check=False)
        assert done.returncode == 1
        assert (
            "forgetting metal was interrupted; run `evernorm forget metal --reason TEXT` again" in done.stderr
        )
    assert before == files(copy)


def test_a_workspace_at_work_is_left_alone(copy, evernorm):
    """Who holds it is told; nothing changes."""
    with Workspace.open(copy).locked():
        done = evernorm("forget", "metal", "--reason", "sold", "--workspace", copy, check=False)
    assert done.returncode == 1
    assert f"process {os.getpid()} is learning" in done.stderr
    assert not (copy / "forgotten.json").exists()


def test_an_empty_stream_has_nothing_to_forget(tmp_path):
    """A workspace in which nothing was learned."""
    with pytest.raises(ParamsError, match="the stream names no class yet"):
        check(Workspace.open_or_create(tmp_path / "w"), "cloth", "sold")


def test_a_stream_learned_in_part_keeps_what_it_learned(tmp_path):
    """The last class that was learned stays; one whose learning failed can go."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    workspace.configure(order=["cloth", "metal"])
    write_json(workspace.paths.metrics("cloth"), {})
    assert ["cloth"] == workspace.learned()
    with pytest.raises(ParamsError, match="cloth is the only class that is learned"):
        check(workspace, "cloth", "sold")
    check(workspace, "metal", "sold")


def test_once_it_is_out_of_the_stream_an_interrupted_forgetting_stops_nothing_else(tmp_path):
    """Otherwise a stream that fails for another reason could neither be changed nor left."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    workspace.configure(order=["cloth", "metal", "blue"])
    for name in ("cloth", "metal", "blue"):
        write_json(workspace.paths.metrics(name), {})
    begin(workspace, "metal", "sold")
    with pytest.raises(PipelineError, match="forgetting metal was interrupted"):
        check(workspace, "cloth", "sold")
    workspace.configure(order=["cloth", "blue"])
    check(workspace, "cloth", "sold")
    check(workspace, "metal", "sold")  # it goes on


def test_comments_in_the_stream_stay_when_it_is_linked_anew(tmp_path):
    """Also those beside the classes that remain."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    workspace.configure(order=["cloth", "metal", "blue"])
    path = workspace.root / "params.yaml"
    path.write_text(path.read_text().replace("  blue:\n", "  blue:   # line 3\n"))
    workspace.configure(order=["cloth", "blue"])
    linked = {"cloth": {"after": "start", "needs": "start"}, "blue": {"after": "cloth", "needs": "start"}}
    assert linked == yaml.safe_load(path.read_text())["stream"]
    assert "  blue:   # line 3\n" in path.read_text()
