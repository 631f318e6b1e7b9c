"""What a stored result was made from: inputs, parameters, versions, seed.

The record is part of the result, so it holds only what determines the result. The Git commit is not in
it: a commit changes without the result changing, and a rerun would no longer be byte-identical. It is
kept with the MLflow run, which names both.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evernorm import __version__
from evernorm.files import sha256_file, sha256_json, write_json

SCHEMA = 2


def write_lineage(
    path: Path,
    *,
    stage: str,
    inputs: Sequence[Path],
    root: Path,
    params: Mapping[str, Any],
    packages: Sequence[str],
    revision: int,
    weights: str = "",
) -> None:
    """Write the record of one result.

    Args:
        path: Where to.
        stage: What made it.
        inputs: Files read; a manifest stands for the images it lists.
        root: Inputs are named relative to it.
        params: The parameters that determine the result, the seed among them.
        packages: Distributions whose versions determine the result.
        revision: Of the stage's algorithm (`Learner.revisions`).
        weights: Digest of the backbone's weights; empty where none had a part in it.
    """
    write_json(
        path,
        {
            "schema": SCHEMA,
            "stage": stage,
            "inputs": {str(file.relative_to(root)): sha256_file(file) for file in sorted(inputs)},
            "params": dict(params),
            "params_sha256": sha256_json(dict(params)),
            "weights": weights,
            "revision": revision,
            "versions": {"evernorm": __version__, **{name: version(name) for name in sorted(packages)}},
        },
    )
