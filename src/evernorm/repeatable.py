"""The same bytes twice, on a GPU too."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


def fixed_kernels() -> AbstractContextManager[None]:
    """No convolution is chosen by how fast it happened to be: enough where nothing is summed over gradients."""
    from torch.backends import cudnn

    return cudnn.flags(enabled=True, benchmark=False, deterministic=True)


@contextmanager
def deterministic() -> Iterator[None]:
    """And on CUDA no sum is in the order in which threads end, which takes memory and time: for training.

    A computation that cannot do without is an error of torch's that names it.
    """
    import torch

    if not torch.cuda.is_available():
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with fixed_kernels():
            yield
    finally:
        torch.use_deterministic_algorithms(before)


def prepare() -> None:
    """What cuBLAS reads when it starts, so to be called before anything runs on CUDA (`deterministic` asks for it)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
