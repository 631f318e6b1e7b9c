"""The accuracy matrix, put together from the rows that the experiences left."""

from evernorm.files import read_json
from tasks.workspace.paths import Paths


def matrix_of(paths: Paths, name: str, metric: str = "image_auroc") -> list[list[float | None]]:
    """R[i, j] after the experience `name`: row i with the i + 1 classes that were known then."""
    classes: list[str] = read_json(paths.metrics(name))["classes"]
    rows = [read_json(paths.metrics(each))["row"][metric] for each in classes]
    return [[row[each] for each in classes[: number + 1]] for number, row in enumerate(rows)]
