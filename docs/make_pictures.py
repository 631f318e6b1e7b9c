"""Make the README's pictures from the demo's MLflow run (`make demo` first).

python docs/make_pictures.py [demo/workspace]
"""

import sys
from pathlib import Path

from evernorm.files import read_arrays
from tasks.tracking.matrix import matrix_of
from tasks.tracking.pictures import accuracy_matrix, example_maps, score_histograms
from tasks.workspace.workspace import Workspace

DRAWN = ("textile", "machined_part")  # the photographs' licence is not this repository's
TARGET = Path(__file__).parent / "pictures"


def main() -> None:
    """Draw the newest experience's pictures into docs/pictures."""
    workspace = Workspace.open(Path(sys.argv[1] if len(sys.argv) > 1 else "demo/workspace"))
    order = workspace.params.order
    evaluation = workspace.paths.bank(order[-1], "evaluation")
    outcomes, thresholds = (
        read_arrays(evaluation / f"{name}.safetensors") for name in ("outcomes", "thresholds")
    )
    TARGET.mkdir(exist_ok=True)
    figures = {
        "accuracy_matrix": accuracy_matrix(matrix_of(workspace.paths, order[-1]), order),
        "scores": score_histograms(outcomes, dict(zip(order, order, strict=True)), thresholds),
    }
    for name in DRAWN:
        examples = read_arrays(workspace.paths.bank(name, "evaluation") / "examples.safetensors")
        figures[f"examples_{name}"] = example_maps(examples, name)
    for name, figure in figures.items():
        figure.savefig(TARGET / f"{name}.png", dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
