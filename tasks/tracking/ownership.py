"""The registered model of a workspace: it belongs to that workspace, and nobody else's run touches it.

Many workspaces may use one MLflow server. The registered model, and the log of who was its champion beside it, bear
the id of the workspace that they belong to; every other one is refused, before it has learned anything.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefect import task

from evernorm.errors import RegistryError
from evernorm.params.groups import PROMOTIONS
from tasks.faults import without_secrets
from tasks.retries import RETRIED
from tasks.tracking.runs import workspace_of
from tasks.tracking.server import connected, remember
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

OWNER = "evernorm.workspace"  # tag: `Workspace.identity`


class ForeignError(RegistryError):
    """The registered model belongs to another workspace."""


@dataclass(frozen=True)
class Registry:
    """A registered model in MLflow.

    Attributes:
        client: Of the server.
        name: The model's; each version is a bank.
    """

    client: "MlflowClient"
    name: str

    @property
    def log(self) -> str:
        """Name of the registered model whose versions are the changes of the champion."""
        return f"{self.name}{PROMOTIONS}"

    def version(self, number: str) -> "ModelVersion":
        """The version of a number."""
        return self.client.get_model_version(self.name, number)

    def named(self, alias: str) -> "ModelVersion":
        """The version of an alias."""
        return self.client.get_model_version_by_alias(self.name, alias)

    def versions(self, run: str | None = None) -> "list[ModelVersion]":
        """The versions that nobody has deleted, in order; with `run`, those of that run."""
        of_run = f" and run_id = '{run}'" if run is not None else ""
        found = self.client.search_model_versions(f"name = '{self.name}'{of_run}")
        return sorted(found, key=lambda each: int(each.version))

    def set_alias(self, alias: str, number: str) -> None:
        """Let an alias name a version."""
        self.client.set_registered_model_alias(self.name, alias, number)

    def describe(self, version: "ModelVersion", text: str) -> None:
        """Let MLflow's page say this of a version."""
        if version.description != text:
            self.client.update_model_version(self.name, version.version, text)

    def set_tags(self, version: "ModelVersion", tags: Mapping[str, str]) -> None:
        """Set those tags of a version that are not so yet."""
        for tag, value in tags.items():
            if version.tags.get(tag, "") != value:
                self.client.set_model_version_tag(self.name, version.version, tag, value)


@contextmanager
def registry_of(workspace: Workspace, name: str | None = None, *, moving: bool = False) -> Iterator[Registry]:
    """The registered model of a workspace, which may not exist yet; MLflow's faults are told as evernorm's.

    Args:
        workspace: The workspace.
        name: The model's, where params.yaml is not to be read for it.
        moving: Whether it may be on another server than the one that is noted.

    Raises:
        ForeignError: It belongs to another workspace.
        PassingError: MLflow is out of reach.
        PipelineError: The history is on another server, or the workspace was moved.
        RegistryError: MLflow refuses.
    """
    with connected(workspace, moving=moving) as client:
        registry = Registry(client, name or workspace.params.registry.name)
        model = _found(client, registry.name)
        # One without an owner may be read as before there were owners; whoever writes has claimed it.
        if model is not None and OWNER in model.tags:
            _refuse_foreign(client, model, workspace.identity)
        yield registry


@task(task_run_name="claim the registered model", **RETRIED)
def claim(workspace: Workspace) -> None:
    """Make the registered model and its log this workspace's, before anything is learned for them.

    One without an owner, from before there were any, is adopted if all its versions come from this workspace.

    Raises:
        ForeignError: One of them belongs to another workspace.
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with registry_of(workspace) as registry:
        remember(workspace)
        client, identity = registry.client, workspace.identity
        purposes = {
            registry.name: "Detects defects in every class learned so far.",
            registry.log: "Every change of the champion: who, what, why, when, from which version to which.",
        }
        for name in purposes:  # both, before either is made or marked
            if (model := _found(client, name)) is not None:
                _refuse_foreign(client, model, identity)
        for name, purpose in purposes.items():
            model = _found(client, name) or _made(client, name, purpose, identity)
            _refuse_foreign(client, model, identity)  # another process may have been faster
            if OWNER not in model.tags:
                client.set_registered_model_tag(name, OWNER, identity)


_CURE = (
    "Set registry.name in params.yaml to another name (`--set registry.name=NAME`), or use another server "
    "(MLFLOW_TRACKING_URI)"
)


def _refuse_foreign(client: "MlflowClient", model: "RegisteredModel", identity: str) -> None:
    """Refuse what is another's; without an owner, what holds a version that is not of this workspace's runs."""
    what = f"the registered model {model.name} of {without_secrets(client.tracking_uri)}"
    owner = model.tags.get(OWNER)
    if owner is not None and owner != identity:
        raise ForeignError(
            f"{what} belongs to another workspace ({OWNER} {owner}, this one is {identity}), so nothing was done. {_CURE}"
        )
    versions = Registry(client, model.name).versions() if owner is None else []
    if strange := [each.version for each in versions if workspace_of(client, each.run_id) != identity]:
        raise ForeignError(
            f"{what} bears the mark of no workspace, and its versions {', '.join(map(str, strange))} do not come from "
            f"this one, so nothing was done. {_CURE}. If it is this workspace's all the same, give it the tag {OWNER} "
            f"with the value {identity} on MLflow's page"
        )


def _found(client: "MlflowClient", name: str) -> "RegisteredModel | None":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _made(client: "MlflowClient", name: str, purpose: str, identity: str) -> "RegisteredModel":
    """A new registered model; if another process was faster, its."""
    from mlflow.exceptions import MlflowException

    try:
        return client.create_registered_model(name, tags={OWNER: identity}, description=purpose)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return client.get_registered_model(name)
