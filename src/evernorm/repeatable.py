"""The same bytes twice, on a GPU too."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deterministic() -> Iterator[None]:
    """On CUDA: no kernel is chosen by how fast it happened to be, and no sum is in the order in which threads end.

    A computation that cannot do without is an error of torch's that names it.
    """
    import torch
    from torch.backends import cudnn

    if not torch.cuda.is_available():
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts; torch asks for it
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
