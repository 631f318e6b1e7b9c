"""How MLflow's page shows the runs: a saved view with the columns by which streams are compared.

MLflow keeps a saved view as a tag of the experiment, in a form of its own page: JSON around deflated JSON.
"""

import base64
import json
import zlib
from typing import TYPE_CHECKING

from tasks.tracking.figures import COMPARED, SECONDS

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KEY = "evernorm-streams"
_TAG = f"mlflow.sharedViewState.{_KEY}"
_KIND = {
    "mlflow.experimentKind": "custom_model_development"
}  # otherwise the page shows what chat models need
_COLUMNS = [
    *(f"metrics.`{name}`" for name in (*COMPARED, SECONDS)),
    "attributes.`User`",
    "attributes.`Source`",
]
_STATE = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": _COLUMNS,
    "columnOrder": _COLUMNS,
    "columnWidths": dict.fromkeys(_COLUMNS, 160),
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


def save_view(client: "MlflowClient", experiment: str) -> None:
    """Let the experiment have the view, as it is in this version."""
    known = client.get_experiment(experiment).tags
    for tag, value in {**_KIND, _TAG: _view()}.items():
        if known.get(tag) != value:
            client.set_experiment_tag(experiment, tag, value)


def address(uri: str, experiment: str) -> str:
    """The page of an experiment with the view, on the server at `uri`."""
    page = f"{uri.rstrip('/')}/#/experiments/{experiment}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={_KEY}"


def _view() -> str:
    state = zlib.compress(json.dumps(_STATE).encode(), 9)
    return json.dumps(
        {
            "name": "Compare streams",
            "createdAt": 0,
            "updatedAt": 0,
            "state": f"deflate;{base64.b64encode(state).decode()}",
        }
    )
