"""params.yaml: defaults, refusals with nearest keys, the stream as a chain."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.errors import ParamsError
from evernorm.params.file import load_params, override, parse_params
from evernorm.params.groups import Params, chain

ROOT = Path(__file__).parents[2]


def test_the_shipped_file_states_every_default():
    """params.yaml and the models agree on every key and every default."""
    assert load_params(ROOT / "params.yaml") == Params()
    import yaml

    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert shipped.keys() == Params.model_fields.keys()
    assert shipped["knowledge"].keys() == type(Params().knowledge).model_fields.keys()


def test_all_faults_are_listed_at_once_with_nearest_key_range_and_line(tmp_path):
    """One error tells every fault: the line, the nearest key, the allowed range."""
    path = tmp_path / "params.yaml"
    path.write_text("methd: ucad\nknowledge:\n  budgt: 3\n  budget: 1\nfeatures: {neighbourhood: 2}\n")
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 4
    assert "line 1: unknown key methd; did you mean method?" in faults
    assert "line 3: unknown key knowledge.budgt; did you mean knowledge.budget?" in faults
    assert (
        "line 4: knowledge.budget is 1: Input should be greater than or equal to 10 (default 10000)" in faults
    )
    assert "features.neighbourhood is 2: must be odd" in faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "line 2: seed stands here again (first in line 1)"),
        ("a: [", "is not YAML"),
        ("stream: {a: {after: b}}", "stream.a.after is 'b', no class of the stream"),
        ("stream: {a: {after: start}, b: {after: start}}", "a, b all come after start"),
        ("stream: {a: {after: b}, b: {after: a}}", "only 0 of 2 classes are reached from start"),
        ("stream: {../x: {after: start}}", "no plain class name; use letters"),
        ("stream: {start: {after: start}}", "stream.start: no plain class name"),
        ("stream: {a: {}}", "stream.a.after is missing"),
        ("- 1", "valid dictionary"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, said):
    """Each kind of fault is named."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"(?s).*") as caught:
        load_params(path)
    assert said in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    """No file, no traceback."""
    with pytest.raises(ParamsError, match="evernorm learn"):
        load_params(tmp_path / "params.yaml")


@given(
    st.lists(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda n: n != "start"), unique=True
    )
)
def test_a_chain_is_read_back_in_its_order(names):
    """Whatever the order, `order` gives it back."""
    assert tuple(names) == parse_params({"stream": chain(names)}).order


def test_settings_are_applied_to_a_copy():
    """--set changes one value and leaves the given tree alone."""
    values = Params().model_dump(mode="json")
    changed = override(values, ["knowledge.budget=500", "evaluate.routing=max"])
    assert (changed["knowledge"]["budget"], changed["evaluate"]["routing"]) == (500, "max")
    assert values == Params().model_dump(mode="json")


def test_settings_that_cannot_be_read_are_all_named():
    """Each bad --set is a fault of its own."""
    with pytest.raises(ParamsError) as caught:
        override({"seed": 0}, ["seed", "seed.x=1", ".=2"])
    assert len(caught.value.faults) == 3
