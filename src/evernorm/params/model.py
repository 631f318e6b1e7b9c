"""Params with one group a method: what methods there are is asked of their registry."""

from functools import cache
from importlib import import_module
from typing import Literal

from pydantic import create_model

from evernorm.params.groups import MethodParams, Params


@cache
def params_model() -> type[Params]:
    """`Params` and the group of each registered method under its name.

    The registry is above this room and is looked up by name, as a plugin is.
    """
    groups: dict[str, type[MethodParams]] = import_module("evernorm.methods.registry").groups()
    method = Literal[tuple(groups)]  # type: ignore[valid-type]
    fields = {name: (kind, kind()) for name, kind in groups.items()}
    return create_model("Params", __base__=Params, method=(method, Params().method), **fields)  # type: ignore[call-overload,no-any-return]


def default_params() -> Params:
    """Every parameter at its default."""
    return params_model()()
