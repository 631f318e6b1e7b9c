"""What stands in for DVC's own YAML gives the same values and the same bytes."""

import os
from pathlib import Path

import pytest
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.utils import strictyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.workspace.dvc_yaml import quicken, stand_ins

_PIPELINE = """
stages:
  cut:
    foreach: {one: 1, "two words": 2, drei.ä: 3}
    do:
      cmd: python -c "open('${key}', 'w').write('${item}')"
      params: [size, method.prompts, "other.yaml": [deep.er]]
      outs: ["${key}"]
"""
_PARAMS = """
size: 5e-4
method: {prompts: {rate: 1.0e-05, words: ["on", no, '012', "a: b", "#x"], none: null, long: "%s"}}
""" % ("many words " * 20)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A pipeline of three stages, outside Git."""
    (tmp_path / "dvc.yaml").write_text(_PIPELINE)
    (tmp_path / "params.yaml").write_text(_PARAMS)
    (tmp_path / "other.yaml").write_text("deep: {er: [1, {x: 0o17}]}\n")
    monkeypatch.chdir(tmp_path)
    Repo.init(str(tmp_path), no_scm=True).close()
    return tmp_path


@pytest.fixture
def known(monkeypatch):
    """Calls that put DVC's own functions back, and the others."""
    quicken()
    quick = {(owner, name): getattr(owner, name) for owner, name, _ in stand_ins()}

    def put_back(own: bool) -> None:
        for (owner, name), function in quick.items():
            monkeypatch.setattr(owner, name, function.__wrapped__ if own else function)

    return put_back


def _reproduced(root: Path, known, own: bool, *changes: tuple[str, str]) -> list[str]:
    """What dvc.lock holds after each of the changes."""
    seen = []
    for before, after in (("", ""), *changes):
        (root / "params.yaml").write_text((root / "params.yaml").read_text().replace(before, after))
        known(own)
        with Repo(str(root)) as repo:
            for name in repo.stage.collect():
                repo.reproduce([name.addressing], single_item=True)
        seen.append((root / "dvc.lock").read_text())
    return seen


def test_the_lock_has_the_same_bytes(repository, known):
    """Stages that are new, changed and unchanged."""
    changes = (("5e-4", "7"), ("rate: 1.0e-05", "rate: [x, {y: 1}]"))
    quick = _reproduced(repository, known, False, *changes)
    for name in ("dvc.lock", ".dvc/tmp/rwlock"):
        (repository / name).unlink()
    (repository / "params.yaml").write_text(_PARAMS)
    assert quick == _reproduced(repository, known, True, *changes)
    assert len({*quick}) == 3


def test_a_lock_that_is_written_otherwise_is_dvcs_to_change(repository, known):
    """By hand, or by a version of DVC that lists datasets."""
    (text,) = _reproduced(repository, known, False)
    other = "# mine\n" + text.replace("'2.0'", '"2.0"')
    (repository / "dvc.lock").write_text(other)
    (quick,) = _reproduced(repository, known, False, ("5e-4", "8"))[1:]
    assert quick.startswith("# mine")
    assert "size: 8" in quick


def test_the_same_values_are_read(repository, known):
    """Those that are missing are left out; patterns and places in lists are DVC's."""
    known(True)
    with Repo(str(repository)) as repo:
        for path, names in (
            ("params.yaml", ["size", "method.prompts", "missing.too", "method.prompts.words"]),
            ("params.yaml", ["method.*", "size"]),
            ("params.yaml", ["method.prompts.words.1"]),
            ("other.yaml", ["deep.er"]),
            ("none.yaml", ["x"]),
            ("params.yaml", None),
        ):
            dependency = ParamsDependency(None, os.fspath(repository / path), names, repo)
            known(True)
            own = dependency.read_params()
            known(False)
            assert dependency.read_params() == own


def test_what_is_read_is_the_readers_own(repository, known):
    """Changed by one, it is unchanged for the next."""
    known(False)
    first = strictyaml.parse_yaml("a: {b: []}", "x")
    first["a"]["b"].append(1)
    assert strictyaml.parse_yaml("a: {b: []}", "x") == {"a": {"b": []}}


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2", "", "- 1\n", "\x00", "a: !!python/object:os.x {}"])
def test_faults_are_told_as_dvc_tells_them(text, known):
    """With its own words and class."""
    quicken()
    answers = []
    for parse in (strictyaml.parse_yaml, strictyaml.parse_yaml.__wrapped__):
        try:
            answers.append(parse(text, "params.yaml"))
        except Exception as error:
            answers.append((type(error), str(error)))
    assert answers[0] == answers[1]


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


_VALUES = st.recursive(_SCALARS, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=5)


@settings(max_examples=30)
@given(st.dictionaries(st.text(), _VALUES, max_size=3))
def test_what_dvc_writes_is_read_alike(values):
    """Whatever stands in a lock."""
    from dvc.utils.serialize import dumps_yaml

    quicken()
    text = dumps_yaml(values)
    assert strictyaml.parse_yaml(text, "x") == strictyaml.parse_yaml.__wrapped__(text, "x")
