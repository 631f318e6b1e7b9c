"""What a workspace looks like to Prometheus: read anew from workspace and registry whenever it is asked for."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from evernorm.errors import EvernormError
from evernorm.files import read_json
from tasks.fleet.news import left_in_inbox
from tasks.tracking.gate import REFUSED
from tasks.tracking.ownership import registry_of
from tasks.tracking.promotions import standing
from tasks.tracking.registry import champion_of, classes_of
from tasks.workspace.workspace import Workspace

_OF_A_CLASS = {
    "bytes": ("evernorm_class_bytes", "Bytes that a class adds to the bank."),
    "false_alarm_rate": (
        "evernorm_false_alarm_rate",
        "Share of a class's good test images that are alarms, 0 to 1.",
    ),
    "detection_rate": (
        "evernorm_detection_rate",
        "Share of a class's defective test images that are found, 0 to 1.",
    ),
    "image_auroc": ("evernorm_image_auroc", "Image AUROC of a class, after the class that was learned last."),
}


class WorkspaceCollector(Collector):
    """Metrics of one workspace.

    Everything is a reading of what is kept anyway, so the process that answers may be another one than those that learn,
    may be ended at any time, and counts nothing itself.

    Args:
        workspace: It is only read.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def collect(self) -> Iterator[Metric]:
        """All that is known; what only the registry knows is left out where MLflow is out of reach."""
        yield from self._bank()
        yield from self._stages()
        yield from self._registry()

    def _bank(self) -> Iterator[Metric]:
        workspace = self.workspace
        learned, aside = workspace.learned(), workspace.params.set_aside
        classes = GaugeMetricFamily("evernorm_classes", "Classes of the stream, by state.", labels=["state"])
        for state, count in {"learned": len(learned), "set_aside": len(aside)}.items():
            classes.add_metric([state], count)
        yield classes
        yield GaugeMetricFamily(
            "evernorm_left_in_inbox",
            "Deliveries and other things that the last look left in the inbox.",
            len(left_in_inbox(workspace)),
        )
        measured = [name for name in learned if workspace.paths.metrics(name).is_file()]
        if not measured:
            return
        figures: dict[str, Any] = read_json(workspace.paths.metrics(measured[-1]))
        yield GaugeMetricFamily("evernorm_bank_bytes", "Bytes of the bank.", figures["bank_bytes"])
        for key, (name, about) in _OF_A_CLASS.items():
            family = GaugeMetricFamily(name, about, labels=["class"])
            for each, known in figures["per_class"].items():
                if known[key] is not None:
                    family.add_metric([each], known[key])
            yield family

    def _stages(self) -> Iterator[Metric]:
        seconds = GaugeMetricFamily(
            "evernorm_stage_seconds",
            "What a stage took when it last ran, not restored.",
            labels=["stage", "class"],
        )
        for path in sorted((self.workspace.root / ".evernorm" / "seconds").glob("*@*.json")):
            stage, name = path.stem.split("@", 1)
            seconds.add_metric([stage, name], read_json(path)["seconds"])
        yield seconds

    def _registry(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("evernorm_registry_up", "1 where MLflow's registry answers, else 0.")
        try:
            with registry_of(self.workspace) as registry:
                champion, changes, versions = champion_of(registry), standing(registry), registry.versions()
        except EvernormError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        refused = sum(each.tags.get("gate") == REFUSED for each in versions)
        yield CounterMetricFamily("evernorm_refused_versions", "Versions that the gate refused.", refused)
        yield CounterMetricFamily("evernorm_versions", "Versions of the bank.", len(versions))
        if champion is not None and changes:
            yield GaugeMetricFamily(
                "evernorm_champion_version", "The champion's number.", int(champion.version)
            )
            yield GaugeMetricFamily(
                "evernorm_champion_classes", "Classes that the champion knows.", len(classes_of(champion))
            )
            yield GaugeMetricFamily(
                "evernorm_champion_since_seconds",
                "When it became champion, in seconds since 1970: its age is time() less this.",
                datetime.fromisoformat(changes[-1].at).timestamp(),
            )
