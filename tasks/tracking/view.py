"""How MLflow's page shows the runs: saved views with the columns by which streams, and methods, are compared.

MLflow keeps a saved view as a tag of the experiment, in a form of its own page: JSON around deflated JSON.
"""

import base64
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.tracking.figures import COMPARED, MILLISECONDS, SECONDS

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # otherwise the page shows what chat models need
_MADE = ("attributes.`User`", "attributes.`Source`")


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        key: In its address.
        name: On the page.
        columns: As MLflow calls them.
        sorted_by: The highest, or latest, comes first.
    """

    key: str
    name: str
    columns: tuple[str, ...]
    sorted_by: str = "attributes.start_time"


_FIGURES = tuple(f"metrics.`{name}`" for name in (*COMPARED, SECONDS))
STREAMS = View("evernorm-streams", "Compare streams", (*_FIGURES, *_MADE))
COMPARISONS = View(
    "evernorm-comparisons",
    "Compare methods",
    ("params.`method`", "params.`settings`", *_FIGURES, f"metrics.`{MILLISECONDS}`", *_MADE),
    "metrics.`mean_image_auroc`",
)

_STATE = {
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsHiddenMode": "FIRST_10_RUNS",
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}


def save_view(client: "MlflowClient", experiment: str, view: View, parent: str | None = None) -> None:
    """Let the experiment have the view, as it is in this version.

    Args:
        client: Of MLflow.
        experiment: Its id.
        view: The view.
        parent: The run whose children alone are shown.
    """
    known = client.get_experiment(experiment).tags
    for tag, value in {**_KIND, f"mlflow.sharedViewState.{view.key}": _stored(view, parent)}.items():
        if known.get(tag) != value:
            client.set_experiment_tag(experiment, tag, value)


def address(uri: str, experiment: str, view: View) -> str:
    """The page of an experiment with the view, on the server at `uri`."""
    page = f"{uri.rstrip('/')}/#/experiments/{experiment}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={view.key}"


def _stored(view: View, parent: str | None) -> str:
    columns = list(view.columns)
    widths = dict.fromkeys(columns, 160)
    chosen = {"selectedColumns": columns, "columnOrder": columns, "columnWidths": widths}
    shown = {
        "orderByKey": view.sorted_by,
        "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'" if parent else "",
    }
    state = {**_STATE, **chosen, **shown}
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    return json.dumps({"name": view.name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})
