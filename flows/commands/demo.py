"""The demo: four classes, two of real photographs and two drawn, learned one after another."""

from pathlib import Path

from rich.console import Console

from flows.commands.environment import mlflow_is_shared
from flows.commands.learn import learn_folder

# Small, so that a laptop's two cores finish in minutes.
SETTINGS = ["patchcore_cl.knowledge.budget=4000"]


def run_demo(folder: Path) -> None:
    """Make the images, learn them, show the summary; what is there already is kept.

    Its banks are registered in the demo's own database, and nowhere else: a server may hold a production's.
    """
    from tasks.demo_data import DEMO_STREAM, make_demo_data

    with Console(stderr=True).status("Drawing and collecting the demo's images …"):
        make_demo_data(folder / "photos")
    learn_folder(
        folder / "photos",
        folder / "workspace",
        list(DEMO_STREAM),
        SETTINGS,
        folder / "summary.json",
        published=not mlflow_is_shared(),
    )
