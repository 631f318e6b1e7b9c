"""Which methods there are: whoever carries `@learner` is known to parameters, stages, commands and tests."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from evernorm.methods.learner import Learner
from evernorm.params.groups import MethodParams, Params

PLUGINS = "evernorm.methods"
"""Entry points of this group name modules, of other distributions, that register methods."""

_learners: dict[str, type[Learner]] = {}


def learner(kind: type[Learner]) -> type[Learner]:
    """Register a method; used as a decorator, once a method.

    Raises:
        ValueError: Another class has that name.
    """
    if _learners.setdefault(kind.name, kind) is not kind:
        raise ValueError(f"two methods are called {kind.name!r}: {_learners[kind.name]} and {kind}")
    return kind


@cache
def learners() -> dict[str, type[Learner]]:
    """Every method by its name, sorted."""
    package = "evernorm.methods"
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], f"{package}."):
        import_module(module.name)
    for plugin in entry_points(group=PLUGINS):
        plugin.load()
    return dict(sorted(_learners.items()))


def groups() -> dict[str, type[MethodParams]]:
    """The parameters of every method by its name."""
    return {name: kind.group for name, kind in learners().items()}


def learner_of(params: Params) -> Learner:
    """The learner that params.yaml names."""
    return learners()[params.method](params)
