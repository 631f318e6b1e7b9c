"""The stages, function by function, for every method: the same as learning in memory, and served without the pipeline."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import requires
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from evernorm.files import read_arrays, read_json
from evernorm.methods.bank import load_bank, save_bank
from evernorm.methods.registry import learners
from evernorm.params.groups import Device
from tasks.workspace.paths import Paths
from tests.conformance.conftest import params_of
from tests.conformance.drawn import CLASSES, draw
from tests.helpers.processes import without_torch

# Answers for bank after bank: a line with the folders of a bank and of images, a line with answers. Each is answered by a
# child that has imported nothing for another.
_ALONE = """
import json, os, sys
import faiss, numpy as np, pydantic, safetensors.numpy, scipy.stats, timm, torch, yaml
from evernorm import load_bank
from evernorm.params.groups import Device
for line in sys.stdin:
    if os.fork():
        if os.wait()[1]:
            sys.exit("a bank could not be asked")
        continue
    bank, images = json.loads(line)
    bank = load_bank(bank, Device.CPU)
    answers = [[p.routed_class, round(p.score, 4), p.anomalous] for p in bank.predict(list(np.load(images)))]
    loaded = {name.partition(".")[0] for name in sys.modules}
    pipeline = {"prefect", "dvc", "mlflow", "boto3", "pandas", "matplotlib", "tasks", "flows"}
    print(json.dumps([answers, sorted(loaded & pipeline)]), flush=True)
    os._exit(0)
"""


_STAGES = """
import json
from pathlib import Path
from shutil import rmtree
from evernorm.params.file import parse_params
from tasks.stages import evaluate, features, knowledge, weibull
from tasks.workspace.paths import Paths
paths, params, name = Paths(Path(sys.argv[1])), parse_params(json.loads(sys.argv[2])), sys.argv[3]
for folder in (*(paths.bank(name, part) for part in ("knowledge", "weibull", "evaluation")), paths.features(name)):
    rmtree(folder)
for stage in (knowledge, weibull, features, evaluate):
    getattr(stage, stage.__name__.rpartition(".")[2])(name, params, paths)
"""


@pytest.fixture(scope="session")
def alone() -> Iterator[Callable[[Path, Path], tuple[list, list]]]:
    """An interpreter that has the library alone: bank and images → answers, and what else it loaded."""
    command = [sys.executable, "-c", _ALONE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(bank: Path, images: Path) -> tuple[list, list]:
            process.stdin.write(json.dumps([str(bank), str(images)]) + "\n")
            process.stdin.flush()
            answers, loaded = json.loads(process.stdout.readline())
            return answers, loaded

        yield ask
        process.stdin.close()


def test_the_stages_make_the_bank_that_is_learned_in_memory(method, staged, detector, tmp_path):
    """The same bytes, file by file."""
    save_bank(detector, tmp_path)
    made = staged.model(CLASSES[-1])
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    for file in files:
        if file.name == "bank.json":
            assert read_json(tmp_path / file)["weights"] == read_json(made / file)["weights"]
            continue
        one, other = (tmp_path / file).read_bytes(), (made / file).read_bytes()
        assert one == other, file


def test_every_stage_leaves_what_it_was_made_from_or_a_record(method, staged):
    """Lineage beside every result, a line where a method lacks the part."""
    for name in CLASSES:
        for part in ("prompts", "knowledge", "weibull", "evaluation"):
            folder = staged.bank(name, part)
            record = folder / "lineage.json"
            if not record.is_file():
                assert ["choice.json"] == [path.name for path in folder.iterdir()]
                continue
            lineage = read_json(record)
            assert lineage["revision"] >= 1
            if part in {"knowledge", "evaluation"}:
                assert lineage["weights"] == load_bank(staged.model(name), Device.CPU).learner.weights


def test_only_what_trains_asks_for_torch(method, staged, tmp_path):
    """Where a bank is served without it, the stages after `prompts` give the same bytes without it, too."""
    if learners()[method].extra:
        pytest.skip(f"{method} has networks of its own")
    again = Paths(copytree(staged.root, tmp_path / "again"))
    others = {each for each in learners() if each != method}
    params = params_of(method).model_dump_json(exclude=others)
    said = without_torch(_STAGES, again.root, params, CLASSES[-1], cwd=again.root)
    assert 0 == said.returncode, said.stderr
    for part in ("knowledge", "weibull", "evaluation"):
        files = sorted(path.name for path in staged.bank(CLASSES[-1], part).iterdir())
        for file in files:
            one, other = (paths.bank(CLASSES[-1], part) / file for paths in (staged, again))
            assert one.read_bytes() == other.read_bytes(), (part, file)


def test_metrics_hold_a_row_and_its_figures(method, staged, detector):
    """R[t, ·] for the classes so far; nothing that grows faster than they do."""
    for place, name in enumerate(CLASSES):
        metrics = read_json(staged.metrics(name))
        known = list(CLASSES[: place + 1])
        assert known == metrics["classes"] == list(metrics["row"]["image_auroc"])
        assert known == list(metrics["per_class"])
        assert (metrics["routing_accuracy"] is not None) == detector.traits.routes
    outcomes = read_arrays(staged.bank(CLASSES[-1], "evaluation") / "outcomes.safetensors")
    for name in CLASSES:
        assert len(outcomes[f"{name}/scores"]) == 5
        assert np.isfinite(outcomes[f"{name}/scores"]).all()


def test_a_bank_is_served_without_the_pipeline(method, staged, detector, tmp_path, alone):
    """Nothing of orchestration, tables or plotting is imported to answer, but what a package of the method asks for."""
    images = draw(CLASSES[0], 2, seed=3)
    np.save(tmp_path / "images.npy", np.stack(images))
    answers, loaded = alone(staged.model(CLASSES[-1]), tmp_path / "images.npy")
    asked = [line for each in learners()[method].packages for line in requires(each) or ()]
    assert {*loaded} <= {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in asked if "extra ==" not in line}
    expected = [[p.routed_class, round(p.score, 4), p.anomalous] for p in detector.predict(images)]
    for (name, score, decision), (other, other_score, other_decision) in zip(expected, answers, strict=True):
        assert (name, decision) == (other, other_decision)
        np.testing.assert_allclose(score, other_score, atol=1e-3)
