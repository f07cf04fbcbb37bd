"""Freed memory is kept for the next step.

glibc gives large freed blocks back to the system, and a step that works on them again waits for fresh pages: a
sixth of the time of a training step.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Let blocks up to 32 MB come from the heap, and let the heap keep up to 1 GB that is free."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return
    mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
    mallopt(_M_TRIM_THRESHOLD, 2**30)
