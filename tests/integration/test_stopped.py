"""SIGTERM, as systemd, Kubernetes and `kill` send it: nothing that was started is left, and the command goes on."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from evernorm.data import synthetic

SAID = "evernorm: stopped; the same command goes on from the last finished stage"
# All that may stand on standard error, where it is no terminal: what was brought in, and how far it is.
OURS = re.compile(
    r"\d+ class(es)?, \d+ new or changed \(\d+ images\) → .*"
    r"|\[\d+/\d+\] \S+"
    r"| {6}((masks|prompts|knowledge|weibull|evaluate) \d.*|up to date)"
    r"| {6}continual-bank version \d+ (champion|candidate).*"
)


@pytest.fixture
def plain(tmp_path) -> Path:
    """A folder of one class: a few images, no tests, no masks."""
    import numpy as np

    (tmp_path / "photos/cloth").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(6):
        image, _ = synthetic.draw("textile", rng, None)
        Image.fromarray(image).save(tmp_path / f"photos/cloth/{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start ``evernorm …``; standard error goes into a file. What still runs when the test ends is killed."""
    begun = []

    def start(*arguments: object, log: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "flows.commands.cli", *map(str, arguments)]
        with log.open("wb") as stream:
            begun.append(subprocess.Popen(command, stderr=stream, stdout=subprocess.DEVNULL))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()


def stop_amid(process: subprocess.Popen, stage: str, log: Path) -> None:
    """Send SIGTERM to the command alone while a stage runs, and see that nothing it started outlives it."""

    def works() -> bool:
        return any(f"tasks.stages.{stage}" in each.cmdline() for each in children() if each.is_running())

    def children() -> list[psutil.Process]:
        return psutil.Process(process.pid).children(recursive=True)

    wait_for(lambda: _tried(works) or process.poll() is not None, 240)
    assert process.poll() is None, log.read_text()
    started = children()
    process.send_signal(signal.SIGTERM)
    assert 143 == process.wait(60), log.read_text()
    wait_for(lambda: not any(map(_lives, started)), 5)
    assert SAID in log.read_text()
    assert "Traceback" not in log.read_text()


def wait_for(what: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _tried(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except psutil.Error:  # it ended while it was looked at
        return False


def _lives(process: psutil.Process) -> bool:
    return _tried(lambda: process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def test_a_run_that_is_terminated_leaves_nothing_and_goes_on_without_a_foreign_word(
    plain, tmp_path, small, evernorm, begin, monkeypatch
):
    """With a Prefect server of its own, amid a stage; then a first `learn` of a plain folder, as a new user sees it.

    No server, no configuration: the command brings its own, with its state in the workspace.
    """
    monkeypatch.setenv("PREFECT_API_URL", "")
    arguments = ("learn", "--data", plain, "--workspace", tmp_path / "w", *small)
    log = tmp_path / "log"
    stop_amid(begin(*arguments, log=log), "knowledge", log)
    done = evernorm(*arguments)
    foreign = [line for line in done.stderr.splitlines() if not OURS.fullmatch(line)]
    assert [] == foreign
    assert "continual-bank version 1 (champion)" in done.stdout
    assert (tmp_path / "w/.prefect/prefect.db").is_file()


def test_a_watch_on_a_schedule_that_is_terminated_leaves_nothing_and_pauses(
    plain, tmp_path, small, evernorm, begin, prefect_server
):
    """Amid the run of another minute; the schedule waits for the next watch, which goes on."""
    (tmp_path / "inbox").mkdir()
    evernorm("pack", plain / "cloth", tmp_path / "inbox")
    log, arguments = tmp_path / "log", ("watch", "--workspace", tmp_path / "w", "--inbox", tmp_path / "inbox")
    watcher = begin(*arguments, "--set", "watch.cron=0 0 1 1 *", *small, log=log)
    wait_for(lambda: bool(deployments(prefect_server, tmp_path / "w")) or watcher.poll() is not None, 120)
    (deployment,) = deployments(prefect_server, tmp_path / "w")
    run = f"{prefect_server}/deployments/{deployment['id']}/create_flow_run"
    wait_for(
        lambda: httpx.post(run, json={}).is_success, 60
    )  # refused while another writes into its database
    stop_amid(watcher, "knowledge", log)
    (deployment,) = deployments(prefect_server, tmp_path / "w")
    assert deployment["paused"]
    assert "Learned cloth" in evernorm(*arguments, "--once").stdout


def deployments(server: str, workspace: Path) -> list[dict]:
    """What serves the workspace."""
    found = httpx.post(f"{server}/deployments/filter", json={}).raise_for_status().json()
    return [each for each in found if each["parameters"].get("root") == str(workspace.resolve())]
