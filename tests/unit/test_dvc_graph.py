"""What depends on what: independent classes on nothing of one another before `evaluate`."""

import networkx
import pytest

from evernorm.methods.learner import StateKind
from evernorm.methods.registry import learners
from tasks.stages import STAGES
from tasks.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """A stream of three classes."""
    workspace = Workspace.open_or_create(tmp_path_factory.mktemp("graph") / "w")
    workspace.configure(order=["a", "b", "c"])
    return workspace


@pytest.mark.parametrize("method", ["patchcore_cl", "ucad", "separate", "finetune", "replay", "joint"])
def test_classes_are_linked_only_where_their_states_are(workspace, method):
    """Any number of workers can build independent classes; the others come one after another."""
    workspace.configure([f"method={method}"])
    with workspace.dvc.ask("the graph") as repo:
        graph = repo.index.graph
        stages = {stage.addressing: stage for stage in graph}
        before = {
            stage: {each.addressing for each in networkx.descendants(graph, stages[f"{stage}@b"])}
            for stage in STAGES
        }
    workspace.dvc.close()
    assert set(STAGES) == {name.partition("@")[0] for name in stages if name.endswith("@b")}
    linked = {stage: {name for name in names if name.endswith("@a")} for stage, names in before.items()}
    assert "evaluate@a" in linked.pop("evaluate")
    assert not linked.pop("masks")
    assert not linked.pop("features") or learners()[method].traits.state is not StateKind.INDEPENDENT
    independent = learners()[method].traits.state is StateKind.INDEPENDENT
    for stage, names in linked.items():
        assert (names == set()) == independent, (stage, names)
    assert not any(name.endswith("@c") for names in before.values() for name in names)
