"""YAML is read as DVC reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError as RuamelError

from evernorm.params.yaml12 import YAMLError, load

ODD = "5e-4 1e3 5E+4 .5 1. -.inf .NaN on No y true FALSE null ~ 012 0o17 0x1F 0b11 1_000 +1 190:20:30 2026-01-01 a"


def dvc_reads(text: str):
    """By the reader and with the settings of DVC."""
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("scalar", ODD.split())
def test_a_scalar_is_what_dvc_takes_it_for(scalar):
    """Where YAML 1.1, which PyYAML reads, sees something else, as where it does not."""
    expected, found = dvc_reads(f"a: {scalar}"), load(f"a: {scalar}")
    assert (repr(expected), type(expected["a"])) == (repr(found), type(found["a"]))


@given(st.text(alphabet="0123456789.-+_eExobTtruefalsnN ", min_size=1, max_size=7))
def test_no_scalar_is_read_otherwise_than_by_dvc(scalar):
    """Numbers, and what is nearly one."""
    try:
        expected = dvc_reads(f"[{scalar}]")
    except (RuamelError, ValueError, AttributeError, IndexError, TypeError):
        return
    assert repr(expected) == repr(load(f"[{scalar}]"))


def test_a_key_that_stands_twice_is_refused():
    """As DVC does; PyYAML takes the last."""
    with pytest.raises(YAMLError, match=r"line 3: a\.b stands here again"):
        load("a:\n  b: 1\n  b: 2\n")
