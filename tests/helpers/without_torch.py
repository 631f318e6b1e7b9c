"""Runs code where what trains cannot be imported: ``python without_torch.py CODE ARGUMENT…``."""

import sys

ABSENT = {"torch", "timm", "onnx", "torchvision", "transformers"}


class Without:
    """A finder that does not find some packages."""

    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(
            self._finder, name
        )  # distributions are known: of what is installed a version may be asked

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self._finder.find_spec(name, path, target)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
sys.path[0] = ""  # and not the helpers
code = sys.argv.pop(1)
exec(code)  # noqa: S102
