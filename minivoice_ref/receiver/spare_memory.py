"""Gives memory back to the system that the C library would keep.

A stream needs buffers of many sizes, and they come and go among those of the others. What is free
between blocks that are still in use the C library keeps for later, and it becomes more: with ninety
streams at a time, half of what was in use within four minutes. glibc gives back each free page when
it is asked to, which takes a millisecond for each 70 MB that the process has; others are not known
to need it.

This module knows nothing of streams. Read next: `shared.py`.
"""

from __future__ import annotations

import ctypes

__all__ = ["give_back_memory"]

try:
    _trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
except OSError:  # an interpreter that nothing can be loaded into
    _trim = None


def give_back_memory() -> None:
    """Have the C library return its free pages, where it can. Blocks for a moment."""
    if _trim is not None:
        _trim(0)
