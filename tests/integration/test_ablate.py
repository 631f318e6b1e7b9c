"""`evernorm ablate`: every variant is what it says, is recorded once, and costs only what it changes."""

import json
import shutil
from pathlib import Path

import pytest

from evernorm.files import read_arrays
from tasks.workspace.workspace import Workspace
from tests.helpers.workspaces import dvc, lock

VARIANTS = ("no CPM", "CPM", "CPM + SCL")
FILES = {"no CPM": "no-CPM-seed0.json", "CPM": "CPM-seed0.json", "CPM + SCL": "CPM-SCL-seed0.json"}


@pytest.fixture(scope="module")
def ablated(adapted, tmp_path_factory, evernorm, ucad):
    """A workspace that learned two classes and then the variants of table 6, the command, and what it said."""
    workspace = tmp_path_factory.mktemp("ablated") / "workspace"
    shutil.copytree(adapted[0], workspace, symlinks=True)
    command = ("ablate", "--data", adapted[1], "--workspace", workspace, "--order", "cloth,metal", *ucad)
    command = (*command, "--tables", "6")
    return workspace, command, evernorm(*command)


def summaries(workspace: Path) -> dict[str, dict]:
    return {name: json.loads((workspace / "ablation" / file).read_text()) for name, file in FILES.items()}


def variants(workspace: Path) -> dict:
    """The MLflow runs of variants, with their client."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("evernorm comparisons").experiment_id
    return client, client.search_runs([experiment], "tags.`evernorm.kind` = 'line'")


def test_the_tables_have_a_line_a_variant(ablated):
    """Printed and kept: means, then every class."""
    workspace, _, done = ablated
    table = (workspace / "ablation/table.txt").read_text()
    assert table in done.stdout
    means, classes = table.split("Image AUROC of each class")
    for part in (means, classes):
        lines = [line.strip() for line in part.splitlines()]
        assert [1, 1, 1] == [sum(line.startswith(f"{name}   ") for line in lines) for name in VARIANTS]
    assert "cloth   metal" in classes
    found = {path.name for path in (workspace / "ablation").iterdir()}
    assert {"table.txt", *FILES.values()} == found


def test_an_ablation_registers_nothing(ablated):
    """No version and no champion but those of before, whatever the variants were like; the summaries say so."""
    workspace, _, done = ablated
    versions = variants(workspace)[0].search_model_versions("name = 'continual-bank'")
    assert {"1", "2"} == {str(each.version) for each in versions}
    assert 3 == done.stdout.count("not registered (an experiment)")
    assert [None] * 3 == [each["registered"] for each in summaries(workspace).values()]


def test_every_variant_is_what_it_says(ablated, adapted):
    """No memory of earlier classes; keys without prompts; and UCAD itself, whatever the variant before had set."""
    workspace, _, done = ablated
    found = summaries(workspace)
    assert ["finetune", "ucad", "ucad"] == [found[name]["method"] for name in VARIANTS]
    assert (None, 1, 1) == tuple(found[name]["routing_accuracy"] for name in VARIANTS)
    assert [False, True, True] == [found[name]["unknown"] is not None for name in VARIANTS]
    assert found["no CPM"]["forgetting"]["chaudhry"] > found["CPM"]["forgetting"]["chaudhry"]
    whole = json.loads((adapted[0].parent / "summary.json").read_text())
    for part in ("per_class", "unknown", "bank_bytes"):
        assert whole[part] == found["CPM + SCL"][part]
    assert found["CPM"]["per_class"] != whole["per_class"]
    assert lock(adapted[0]) == lock(workspace)
    # What was learned with these parameters before is not learned again.
    assert 2 == done.stderr.partition("CPM + SCL")[2].count("up to date")


def test_without_prompts_a_stage_leaves_a_line_and_keys_still_route(ablated, tmp_path):
    """`ucad.prompts.kind: none`, restored from what the variant left."""
    workspace = shutil.copytree(ablated[0], tmp_path / "workspace", symlinks=True)
    Workspace.open(workspace).configure(["ucad.prompts.kind=none"])
    assert "Running stage" not in dvc(workspace, "repro")
    for name in ("cloth", "metal"):
        prompts = workspace / "bank" / name / "prompts"
        assert ["choice.json"] == [path.name for path in prompts.iterdir()]
        assert {"trained": "none"} == json.loads((prompts / "choice.json").read_text())
        entry = read_arrays(workspace / "bank" / name / "knowledge/entry.safetensors")
        assert {"keys", "keys_grid", "descriptors", "rows", "rows_grid"} == set(entry)
    metrics = json.loads((workspace / "metrics/metal.json").read_text())
    assert (1, 1) == (metrics["routing_accuracy"], metrics["unknown"]["recognised"])


def test_a_second_call_records_nothing_twice(ablated, evernorm):
    """One MLflow run a variant with its parameters, figures and summary; the same table again."""
    workspace, command, _ = ablated
    client, runs = variants(workspace)
    assert sorted(VARIANTS) == sorted(run.data.tags["evernorm.line"] for run in runs)
    for run in runs:
        name = run.data.tags["evernorm.line"]
        told = {
            "no CPM": "finetune.knowledge.budget=196",
            "CPM": "ucad.prompts.kind=none",
            "CPM + SCL": "as they are",
        }
        assert (told[name], "FINISHED") == (run.data.params["settings"], run.info.status)
        assert summaries(workspace)[name]["mean"]["image_auroc"] == run.data.metrics["mean_image_auroc"]
        kept = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert {FILES[name], "params.json"} == kept
    table = (workspace / "ablation/table.txt").read_bytes()
    done = evernorm(*command)
    assert 6 == done.stderr.count("up to date")
    assert table == (workspace / "ablation/table.txt").read_bytes()
    again = variants(workspace)[1]
    assert {run.info.run_id for run in runs} == {run.info.run_id for run in again}
    for run in again:
        assert 2 == len(client.get_metric_history(run.info.run_id, "mean_image_auroc"))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--tables", ",", "--tables : the tables of ucad are: 6, 7, 8, training"),
        ("--method", "separate", "method separate has no ablations"),
        ("--tables", "6,9", "--tables 9: the tables of ucad are: 6, 7, 8, training"),
        ("--seeds", "0,one", "--seeds '0,one': expected numbers, as in 0,1,2"),
        ("--seeds", "-1", "--seeds '-1': expected numbers, as in 0,1,2"),
        ("--set", "ucad.prompts.epochs=0", "ucad.prompts.epochs is 0"),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence_and_changes_nothing(option, value, said, tmp_path, evernorm):
    """No traceback, no workspace."""
    arguments = ("ablate", "--data", tmp_path, "--workspace", tmp_path / "w", option, value)
    done = evernorm(*arguments, check=False)
    assert (1, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == list(tmp_path.iterdir())
