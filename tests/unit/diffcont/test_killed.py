"""A training that is killed, by the signal that no program sees."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from evernorm.files import write_arrays
from evernorm.methods.lesson import Lesson
from tests.unit.diffcont.conftest import Pictures

TRAIN = """
import sys
from pathlib import Path
from evernorm.files import read_arrays
from evernorm.methods.lesson import Lesson
from tests.unit.diffcont.conftest import Pictures, built

folder = Path(sys.argv[1])
def progress(done, _):
    print(done, flush=True)
    if done == 2:
        sys.stdin.read()  # until it is killed

built("diffcont.prompts.epochs=5").train(
    Lesson(Pictures(1)), read_arrays(folder / "carry.safetensors"), checkpoint=folder / "state", progress=progress
)
"""


def test_it_goes_on_with_the_same_samples_and_the_same_bits(first, learner_with, tmp_path, monkeypatch):
    """Weights, moments, average and history are those of a training that was left alone; nothing is sampled anew."""
    write_arrays(tmp_path / "carry.safetensors", first.carry)
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stdout is not None
        reached = [int(next(child.stdout)) for _ in range(2)]
        child.send_signal(signal.SIGKILL)
    assert ([1, 2], -signal.SIGKILL) == (reached, child.returncode)

    lesson = Lesson(Pictures(1))
    learner = learner_with("diffcont.prompts.epochs=5")
    alone = learner.train(lesson, first.carry)
    monkeypatch.setattr("evernorm.methods.diffcont.diffcont.generate", None)
    seen: list[int] = []
    resumed = learner.train(
        lesson, first.carry, checkpoint=tmp_path / "state", progress=lambda each, _: seen.append(each)
    )
    assert [3, 4, 5] == seen
    assert alone.keys() == resumed.keys()
    for name, value in alone.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
