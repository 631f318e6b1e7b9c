"""How long an image takes: one at a time, with the bank that a workspace has learned."""

import time
from itertools import chain, islice, zip_longest
from statistics import median

from evernorm.data.experience import Experience
from evernorm.data.manifest import Manifest
from evernorm.methods.bank import load_bank
from tasks.workspace.workspace import Workspace

_IMAGES = 16
_TIMES = 3  # each; the quickest counts: what else the machine does is nobody's cost


def milliseconds_of(workspace: Workspace) -> float:
    """Median over some training images of all classes, decoded before."""
    order, paths = workspace.params.order, workspace.paths
    classes = [Experience.of(Manifest.load(paths.manifest(name)), paths.data(name)) for name in order]
    turns = zip_longest(
        *(islice(each.images(), _IMAGES) for each in classes)
    )  # one of each class, then the next
    images = list(islice((image for image in chain.from_iterable(turns) if image is not None), _IMAGES))
    bank = load_bank(paths.model(order[-1]))
    bank.predict(images[:1])  # what is built with the first image
    took = []
    for image in images:
        quickest = float("inf")
        for _ in range(_TIMES):
            started = time.perf_counter()
            bank.predict([image])
            quickest = min(quickest, time.perf_counter() - started)
        took.append(quickest)
    return round(1000 * median(took), 2)
