"""What Prometheus reads of a workspace, and what the dashboard shows of it."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from infra.services.ports import free_ports
from tests.helpers.warm import python

DASHBOARD = Path(__file__).parents[2] / "infra/grafana.json"


def readings(text: str) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def known(learned, evernorm):
    """The readings of the workspace that has learned two classes."""
    return readings(evernorm("metrics", "--once", "--workspace", learned[0]).stdout)


def test_readings_are_what_the_records_say(known, learned):
    """Of the bank after the last class, of both classes, of the registry."""
    summary = json.loads((learned[0].parent / "summary.json").read_text())
    assert 2 == known["evernorm_classes", "learned"]
    assert 0 == known["evernorm_classes", "set_aside"] == known[("evernorm_left_in_inbox",)]
    assert summary["bank_bytes"] == known[("evernorm_bank_bytes",)]
    for name, figures in summary["per_class"].items():
        for key in ("false_alarm_rate", "detection_rate", "image_auroc"):
            assert figures[key] == pytest.approx(known[f"evernorm_{key}", name])
    assert {"masks", "prompts", "knowledge", "weibull", "features", "evaluate"} == {
        key[2] for key in known if key[0] == "evernorm_stage_seconds"
    }
    assert 1 == known[("evernorm_registry_up",)]
    version = summary["registered"]
    if version["alias"] == "champion":
        assert int(version["version"]) == known[("evernorm_champion_version",)]


def test_the_dashboard_asks_for_nothing_else(known):
    """Each metric of its panels is one that there is, and each that there is has its panel."""
    asked = {
        name
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
        for name in re.findall(r"evernorm_\w+", target["expr"])
    }
    assert asked == {key[0] for key in known} - {"evernorm_versions_total"}


def test_what_the_registry_knows_is_left_out_where_it_does_not_answer(learned, evernorm, tmp_path):
    """All else is told."""
    away = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'other.db'}"}
    found = readings(evernorm("metrics", "--once", "--workspace", learned[0], env=away).stdout)
    assert 0 == found[("evernorm_registry_up",)]
    assert 2 == found["evernorm_classes", "learned"]
    assert ("evernorm_versions_total",) not in found


def test_they_are_served(learned, evernorm):
    """At an address, anew for whoever asks; an address in use is told."""
    (port,) = free_ports(1)
    command = [
        python(),
        "-m",
        "flows.commands.cli",
        "metrics",
        "--workspace",
        str(learned[0]),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert f"http://127.0.0.1:{port}/metrics" in process.stdout.readline()
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 2 == readings(text)["evernorm_classes", "learned"]
        done = evernorm("metrics", "--workspace", learned[0], "--port", str(port), check=False)
        assert 1 == done.returncode
        assert f"nothing can listen at 127.0.0.1:{port}" in done.stderr
    finally:
        process.kill()
        process.communicate()
