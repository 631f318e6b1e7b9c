"""The demo: four classes, two of real photographs and two drawn, learned one after another."""

from pathlib import Path

from rich.console import Console

from flows.commands.run import learn_folder

# Small, so that a laptop's two cores finish in minutes.
SETTINGS = ["knowledge.budget=4000"]


def run_demo(folder: Path) -> None:
    """Make the images, learn them, show the summary; what is there already is kept."""
    from tasks.demo_data import DEMO_STREAM, make_demo_data

    with Console(stderr=True).status("Drawing and collecting the demo's images …"):
        make_demo_data(folder / "photos")
    learn_folder(
        folder / "photos", folder / "workspace", list(DEMO_STREAM), SETTINGS, folder / "summary.json"
    )
