"""Run the code blocks of a document, so that what it says is true.

``bash`` blocks with `evernorm` commands and ``python`` blocks run one after the other in a folder that
holds `photos/`, two small drawn classes in the layout the document describes. Blocks with `make`,
`pip`, `git` or `docker` commands are left to the targets that they name. Anything that fails is shown.

    python docs/run_blocks.py README.md
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from evernorm.data import synthetic

CLASSES = {"cloth": "textile", "metal": "machined_part"}
# Small, so that the check takes seconds: the document's commands are run as they stand.
SMALL = "features.image_size=64 knowledge.budget=200"
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"^\s*(make|pip|git|docker|mlflow|PREFECT_HOME=\S+ prefect)\b", re.MULTILINE)


def main() -> None:
    """Run every block of the documents named; exit with 1 if one fails."""
    failed = 0
    for name in sys.argv[1:]:
        text = Path(name).read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            draw_photos(Path(folder) / "photos")
            for match in _BLOCK.finditer(text):
                line = text[: match.start()].count("\n") + 1
                if match[1] == "bash" and _ELSEWHERE.search(match[2]):
                    print(f"{name}:{line}: left to its own target")
                    continue
                failed += not run(match[1], match[2], Path(folder), f"{name}:{line}")
    sys.exit(bool(failed))


def run(language: str, code: str, folder: Path, where: str) -> bool:
    """Run one block; print what it said if it failed."""
    bin_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    if language == "bash":
        small = " ".join(f"--set {setting}" for setting in SMALL.split())
        code = re.sub(r"^(evernorm learn .*)$", rf"\1 {small}", code, flags=re.MULTILINE)
        command = ["bash", "-euo", "pipefail", "-c", code]
    else:
        command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    print(f"{where}: {'ok' if done.returncode == 0 else 'FAILED'}")
    if done.returncode:
        print(code, done.stdout, done.stderr, sep="\n")
    return done.returncode == 0


def draw_photos(root: Path) -> None:
    """Two classes: 10 training images, 3 good and 4 defective test images each."""
    for name, kind in CLASSES.items():
        rng = np.random.default_rng(len(name))
        flaw = synthetic.DEFECTS[kind][0]
        jobs = [("train/good", n, None) for n in range(10)] + [("test/good", n, None) for n in range(3)]
        for folder, number, defect in [*jobs, *((f"test/{flaw}", n, flaw) for n in range(4))]:
            path = root / name / folder / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(synthetic.draw(kind, rng, defect)[0]).save(path)


if __name__ == "__main__":
    main()
