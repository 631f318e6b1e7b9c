"""How far a stage is reaches the log of the run that waits for it."""

import logging
import time

from tasks import logs
from tasks.logs import progress_told, run_log
from tasks.stages import stage
from tasks.workspace.paths import PROGRESS_FILE


def test_how_far_a_stage_is_reaches_the_log(tmp_path, monkeypatch, caplog):
    """As long as somebody waits; nothing is left, and nothing is written where nobody does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "_EVERY", 0.01)
    monkeypatch.setattr(stage, "_EVERY", 0.0)
    (tmp_path / ".evernorm").mkdir()
    file = tmp_path / PROGRESS_FILE
    with stage.progress_bar("alone") as progress:
        progress(1, 2)
    assert not file.exists()
    with (
        caplog.at_level(logging.INFO, "evernorm"),
        progress_told(file, run_log()),
        stage.progress_bar("cloth: rows") as progress,
    ):
        progress(40, 120)
        deadline = time.monotonic() + 10
        while "cloth: rows: 40 of 120" not in caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
    assert ["cloth: rows: 40 of 120"] == caplog.messages
    assert not file.exists()
