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

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / each) for each in ("helpers", "integration")]

from backends import PrefectServer
from photos import draw_photos

# Small, so that the check takes seconds: the document's commands are run as they stand.
SMALL = (
    "features.image_size=64 knowledge.budget=200 prompts.epochs=1 "
    "gate.min_image_auroc=0 gate.min_routing_accuracy=0 gate.max_false_alarm_rate=1"
)
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"^\s*(make|pip|git|docker|mlflow|prefect)\b", re.MULTILINE)


def main() -> None:
    """Run every block of the documents named; exit with 1 if one fails."""
    failed = 0
    for name in sys.argv[1:]:
        text = Path(name).read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            draw_photos(Path(folder) / "photos")
            server = PrefectServer(Path(folder))  # or every command would start one of its own
            server.start()
            os.environ["PREFECT_API_URL"] = server.url
            for match in _BLOCK.finditer(text):
                line = text[: match.start()].count("\n") + 1
                if match[1] == "bash" and _ELSEWHERE.search(match[2]):
                    print(f"{name}:{line}: left to its own target")
                    continue
                failed += not run(match[1], match[2], Path(folder), f"{name}:{line}")
            server.stop()
    sys.exit(bool(failed))


def run(language: str, code: str, folder: Path, where: str) -> bool:
    """Run one block; print what it said if it failed."""
    bin_folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    if language == "bash":
        small = " ".join(f"--set {setting}" for setting in SMALL.split())
        code = re.sub(r"^(evernorm learn .*)$", rf"\1 {small}", code, flags=re.MULTILINE)
        # These learn the stream several times over: one class will do.
        code = re.sub(
            r"^(evernorm (?:compare|ablate) .*)$", rf"\1 --order cloth {small}", code, flags=re.MULTILINE
        )
        command = ["bash", "-euo", "pipefail", "-c", code]
    else:
        command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    print(f"{where}: {'ok' if done.returncode == 0 else 'FAILED'}")
    if done.returncode:
        print(code, done.stdout, done.stderr, sep="\n")
    return done.returncode == 0


if __name__ == "__main__":
    main()
