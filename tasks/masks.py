"""Stage `masks`: where the parts of the training images are (none for the methods that do not ask)."""

from evernorm.methods.parts import PARTS
from evernorm.params import Params
from tasks.stage import Paths, main, record_choice


def masks(name: str, params: Params, paths: Paths) -> None:
    """Record the choice of structure."""
    record_choice(paths.masks(name), "structure", PARTS[params.method].structure)


if __name__ == "__main__":
    main(masks)
