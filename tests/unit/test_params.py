"""params.yaml: defaults, refusals with nearest keys, the stream as a chain."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evernorm.errors import ParamsError
from evernorm.methods.registry import groups
from evernorm.params.file import load_params, override, parse_params
from evernorm.params.groups import Group, Params, stream_of
from evernorm.params.model import default_params, params_model

ROOT = Path(__file__).parents[2]


def test_the_shipped_file_states_every_default():
    """params.yaml and the models agree on every key and every default."""
    assert load_params(ROOT / "params.yaml") == default_params()
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    shipped_by_repository = Params.model_fields.keys() | {
        name for name, kind in groups().items() if kind.__module__.startswith("evernorm.")
    }
    assert shipped.keys() == shipped_by_repository

    def agree(values, model):
        assert values.keys() == type(model).model_fields.keys()
        for key, value in values.items():
            if isinstance(each := getattr(model, key), Group):
                agree(value, each)

    for name in shipped.keys() - {"stream"}:
        if isinstance(group := getattr(default_params(), name), Group):
            agree(shipped[name], group)


def test_every_method_has_a_group_and_a_stage_a_group_in_it():
    """What a stage depends on in dvc.yaml is there for every method, so that another method's setting changes nothing."""
    for name in groups():
        group = getattr(default_params(), name)
        assert {"prompts", "knowledge", "evaluate"} == type(group).model_fields.keys()
        assert group == default_params().model_copy(update={"method": name}).own(type(group))
    assert params_model().model_fields.keys() == Params.model_fields.keys() | groups().keys()


def test_the_group_of_another_method_is_not_taken_for_the_chosen_ones():
    """A learner that is given parameters of another method says so."""
    with pytest.raises(ParamsError, match="method is 'patchcore_cl', whose parameters are no UcadParams"):
        default_params().own(groups()["ucad"])


def test_all_faults_are_listed_at_once_with_nearest_key_range_and_line(tmp_path):
    """One error tells every fault: the line, the nearest key, the allowed range."""
    path = tmp_path / "params.yaml"
    path.write_text(
        "methd: ucad\nreplay:\n  knowledge:\n    budgt: 3\n    budget: 1\nfeatures: {neighbourhood: 2}\n"
    )
    with pytest.raises(ParamsError) as caught:
        load_params(path)
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 4
    assert "line 1: unknown key methd; did you mean method?" in faults
    assert "line 4: unknown key replay.knowledge.budgt; did you mean replay.knowledge.budget?" in faults
    assert (
        "line 5: replay.knowledge.budget is 1: Input should be greater than or equal to 10 (default 10000)"
        in faults
    )
    assert "features.neighbourhood is 2: must be odd" in faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "line 2: seed stands here again (first in line 1)"),
        ("a: [", "is not YAML"),
        ("stream: {a: {after: b}}", "stream.a.after is 'b', no class of the stream"),
        ("knowledge: {rows: 3}", "unknown key knowledge; "),
        ("method: telepathy", "method is 'telepathy': Input should be 'anomalib', 'diffcont', 'finetune'"),
        ("separate: {evaluate: {routing: best}}", "separate.evaluate.routing is 'best'"),
        ("stream: {a: {after: start}, b: {after: start}}", "a, b all come after start"),
        ("stream: {a: {after: b}, b: {after: a}}", "only 0 of 2 classes are reached from start"),
        ("stream: {../x: {after: start}}", "no plain class name; use letters"),
        ("registry: {name: a/b}", "registry.name is 'a/b'"),
        ("registry: {name: bank-promotions}", "must not end with -promotions"),
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
def test_a_stream_is_read_back_in_its_order(names):
    """Whatever the order, `order` gives it back."""
    assert tuple(names) == parse_params({"stream": stream_of(names)}).order


def test_classes_need_one_another_only_where_states_are_linked():
    """Independent classes have no edge between them before they are evaluated."""
    names = ["a", "b", "c"]
    alone, linked = (
        [item.needs for item in parse_params({"stream": stream_of(names, linked=each)}).stream.values()]
        for each in (False, True)
    )
    assert (["start", "start", "start"], ["start", "a", "b"]) == (alone, linked)


def test_settings_are_applied_to_a_copy():
    """--set changes one value and leaves the given tree alone."""
    values = default_params().model_dump(mode="json")
    changed = override(values, ["joint.knowledge.budget=500", "separate.evaluate.routing=max"])
    assert (500, "max") == (
        changed["joint"]["knowledge"]["budget"],
        changed["separate"]["evaluate"]["routing"],
    )
    assert values == default_params().model_dump(mode="json")


def test_settings_that_cannot_be_read_are_all_named():
    """Each bad --set is a fault of its own."""
    with pytest.raises(ParamsError) as caught:
        override({"seed": 0}, ["seed", "seed.x=1", ".=2"])
    assert len(caught.value.faults) == 3
