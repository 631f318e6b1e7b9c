"""The same masks twice, on a GPU too."""

from contextlib import AbstractContextManager


def deterministic() -> AbstractContextManager[None]:
    """No convolution is chosen by how fast it happened to be."""
    from torch.backends import cudnn

    return cudnn.flags(enabled=True, benchmark=False, deterministic=True)
