"""`evernorm compare`: what it prints, what it leaves in MLflow, and what a person sees there."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from infra.services.ports import free_ports
from infra.services.servers import MLflow
from tests.helpers.audits import moved
from tests.helpers.backends import running
from tests.helpers.browser import CHROMIUM, words_of

LINES = ("patchcore_cl", "finetune", "patchcore_cl/small")
COMMON = ("method", "settings", "features.backbone", "weibull.engine", "calibration.alignment", "seed")


@dataclass
class Compared:
    """A workspace that learned two classes, was compared in, and what that said.

    Attributes:
        workspace: That.
        command: The arguments of the command.
        said: What it printed.
        progress: What it told meanwhile.
    """

    workspace: Path
    command: tuple[object, ...]
    said: str
    progress: str

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.workspace / 'mlflow.db'}")

    @property
    def runs(self) -> list:
        """Of the experiment of comparisons."""
        experiment = self.client.get_experiment_by_name("evernorm comparisons")
        return list(self.client.search_runs([experiment.experiment_id]))

    @property
    def lines(self) -> dict:
        """By name."""
        return {run.info.run_name: run for run in self.runs if run.data.tags["evernorm.kind"] == "line"}

    @property
    def parent(self):
        """The run of the comparison."""
        (run,) = [run for run in self.runs if run.data.tags["evernorm.kind"] == "comparison"]
        return run

    def summary(self, name: str) -> dict:
        """Of a line."""
        return json.loads((self.workspace / "comparison" / f"{name.replace('/', '-')}.json").read_text())


@pytest.fixture(scope="module")
def compared(learned, tmp_path_factory, evernorm, small) -> Compared:
    folder = tmp_path_factory.mktemp("compared")
    workspace = shutil.copytree(learned[0], folder / "workspace", symlinks=True)
    moved(workspace, str(learned[0]), str(workspace))
    own = (
        "--settings",
        "patchcore_cl/small: patchcore_cl.knowledge.budget=40 patchcore_cl.knowledge.score=max",
    )
    command = ("compare", "--data", learned[1], "--workspace", workspace, *small)
    command = (*command, "--methods", "patchcore_cl,finetune", *own)
    done = evernorm(*command)
    return Compared(workspace, command, done.stdout, done.stderr)


def test_the_table_has_a_line_a_method_and_one_for_other_settings(compared):
    """Printed and kept; what was learned before with the same parameters is not learned again."""
    table = (compared.workspace / "comparison/table.txt").read_text()
    assert table in compared.said
    means, classes = table.split("Image AUROC of each class")
    for part in (means, classes):
        lines = [line.strip() for line in part.splitlines()]
        assert [1, 1, 1] == [sum(line.startswith(f"{name}   ") for line in lines) for name in LINES]
    for column in (
        "image AUROC",
        "class told",
        "pooled",
        "forgetting",
        "routing",
        "bank MB",
        "learned in s",
        "ms an",
    ):
        assert column in means
    first = compared.progress.partition("finetune")[0]
    assert 2 == first.count("up to date")
    beside = 8 + 2 * 4  # of each class: images as a whole, and the grid
    assert (40 + 2 * beside) * 152 == compared.summary("patchcore_cl/small")["bank_bytes"]


def test_nothing_is_registered(compared):
    """The versions are those of before."""
    versions = compared.client.search_model_versions("name = 'continual-bank'")
    assert {"1", "2"} == {str(each.version) for each in versions}
    assert {None} == {compared.summary(name)["registered"] for name in LINES}


def test_lines_have_the_same_parameters_and_figures_by_experience(compared):
    """No column of the page is empty: what only one method has is in the artifacts."""
    lines = compared.lines
    assert sorted(LINES) == sorted(lines)
    keys = {frozenset(run.data.params) for run in lines.values()}
    assert 1 == len(keys)
    assert {*COMMON} <= next(iter(keys))
    assert ["method=finetune"] == [f"method={lines['finetune'].data.params['method']}"]
    told = "patchcore_cl.knowledge.budget=40 patchcore_cl.knowledge.score=max"
    assert ("as they are", told) == tuple(lines[name].data.params["settings"] for name in LINES[1:])
    figures = {
        frozenset(run.data.metrics) - {"routing_accuracy"} for run in lines.values()
    }  # finetune routes nothing
    assert 1 == len(figures)
    for name, run in lines.items():
        summary, matrix = compared.summary(name), compared.summary(name)["matrix"]["image_auroc"]
        history = compared.client.get_metric_history(run.info.run_id, "mean_image_auroc")
        assert [1, 2] == [each.step for each in history]
        assert [sum(row[: step + 1]) / (step + 1) for step, row in enumerate(matrix)] == pytest.approx(
            [each.value for each in history]
        )
        assert summary["bank_bytes"] == run.data.metrics["cost/bytes"]
        assert 0 < run.data.metrics["cost/milliseconds"] < 60_000
        took = compared.client.get_metric_history(run.info.run_id, "cost/seconds")
        assert 0 < took[0].value < took[1].value
        artifacts = {each.path for each in compared.client.list_artifacts(run.info.run_id)}
        assert {"params.json", f"{name.replace('/', '-')}.json"} == artifacts


def test_the_run_of_the_comparison_has_the_table_and_a_picture(compared):
    """And the runs of its lines below it."""
    note = compared.parent.data.tags["mlflow.note.content"]
    assert "| patchcore_cl/small | " in note
    assert "patchcore_cl, finetune, patchcore_cl/small" == compared.parent.info.run_name
    artifacts = compared.client.list_artifacts(compared.parent.info.run_id, "pictures")
    assert ["pictures/comparison.png"] == [each.path for each in artifacts]
    parents = {run.data.tags["mlflow.parentRunId"] for run in compared.lines.values()}
    assert {compared.parent.info.run_id} == parents


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")
def test_a_person_sees_them_in_mlflow(compared, tmp_path):
    """In a real browser: the list of runs, the comparison of two, the registered versions."""
    experiment, ids = (
        compared.parent.info.experiment_id,
        {n: r.info.run_id for n, r in compared.lines.items()},
    )
    figure = compared.lines["finetune"].data.metrics["pooled_image_auroc"]
    runs = f"sqlite:///{compared.workspace / 'mlflow.db'}"
    with running(MLflow(tmp_path, free_ports()[0], runs)) as server:
        url = server.url
        view = f"{url}/#/experiments/{experiment}/runs?workflowType=machine_learning"
        listed = words_of(f"{view}&viewStateShareKey=evernorm-comparisons", tmp_path / "chromium")
        chosen = quote(json.dumps([ids["patchcore_cl"], ids["finetune"]]))
        page = f"{url}/#/compare-runs?runs={chosen}&experiments={quote(json.dumps([experiment]))}"
        beside = words_of(page, tmp_path / "chromium")
        models = words_of(f"{url}/#/models/continual-bank", tmp_path / "chromium")
    assert "3 matching runs" in listed
    for word in (*LINES, "method", "settings", "mean_image_auroc", "pooled_image_auroc", str(figure)):
        assert word in listed
    assert "Comparing 2 Runs from 1 Experiment" in beside
    for word in (
        "Parallel Coordinates Plot",
        "patchcore_cl",
        "finetune",
        "pooled_image_auroc",
        "cost/milliseconds",
    ):
        assert word in beside
    for word in ("continual-bank", "Version 1", "Version 2", "champion"):
        assert word in models


def test_a_second_call_records_nothing_twice(compared, evernorm):
    """The same runs, the same figures, the same time an image."""
    table = (compared.workspace / "comparison/table.txt").read_bytes()
    before = {run.info.run_id for run in compared.runs}
    done = evernorm(*compared.command)
    assert 6 == done.stderr.count("up to date")
    assert table == (compared.workspace / "comparison/table.txt").read_bytes()
    assert before == {run.info.run_id for run in compared.runs}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--methods", "ucad,ucda"), ["--methods ucda: the methods are anomalib, diffcont, finetune"]),
        (
            ("--methods", "ucad", "--settings", "ucad", "--settings", "mtrmb: seed=1"),
            [
                "--settings 'ucad': expected METHOD: key=value key=value, or METHOD/NAME: … for a further line",
                "--settings 'mtrmb: seed=1': 'mtrmb' is none of ucad",
            ],
        ),
        (
            (
                "--settings",
                "ucad: ucad.prompts.epochs=0",
                "--settings",
                "uniad/wide: uniad.prompts.sizes.width=7",
            ),
            ["ucad: params: ucad.prompts.epochs is 0", "uniad/wide: params: uniad.prompts.sizes.width is 7"],
        ),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence_and_changes_nothing(options, said, tmp_path, evernorm):
    """All of them at once; no traceback, no workspace."""
    done = evernorm("compare", "--data", tmp_path, "--workspace", tmp_path / "w", *options, check=False)
    assert (1, "") == (done.returncode, done.stdout)
    for words in said:
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == list(tmp_path.iterdir())
