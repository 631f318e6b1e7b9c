"""Whether there is a GPU, without importing what would use it."""

import ctypes
from functools import cache


@cache
def has_cuda() -> bool:
    """Whether CUDA's driver finds a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
