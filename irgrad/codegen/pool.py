"""Memory of large results, used again once nobody can see it.

The C library gives memory of megabytes back to the system when it is freed, and touching it anew costs more than most kernels: a
page fault for every 4 kB. A result of this size is therefore a view of a block that the pool keeps too. Only when the pool's is
the last reference to a block (every view of numpy holds one, and so does every buffer taken from it) does a later result get it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

LARGE = 1 << 20  # bytes from which a result comes from a pool
KEPT = 2  # blocks that a pool keeps for each result of a program
_ALIGNMENT = 64


def _alone() -> int:
    """What `getrefcount` says of an object that one local variable holds."""
    block = np.empty(1)
    return sys.getrefcount(block)


_ALONE = _alone()


class Pool:
    """Fresh arrays of one shape and dtype."""

    __slots__ = ("blocks", "dtype", "nbytes", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.blocks: list[np.ndarray[Any, Any]] = []

    def take(self) -> np.ndarray[Any, Any]:
        """An array whose memory no other living array sees; its elements are arbitrary."""
        blocks = self.blocks
        seen: list[np.ndarray[Any, Any]] = []
        while blocks:
            try:
                block = blocks.pop()  # another thread cannot look at it meanwhile; the last one may be in the cache still
            except IndexError:
                break
            if sys.getrefcount(block) == _ALONE:
                self.put_back(seen)
                return self.array(block)
            seen.append(block)
        self.put_back(seen)
        return self.array(np.empty(self.nbytes + _ALIGNMENT, np.uint8))

    def put_back(self, seen: list[np.ndarray[Any, Any]]) -> None:
        """Keep the newest of the blocks that are in use, and room for one more: others may never be given back."""
        for block in reversed(seen[: KEPT - 1]):
            if len(self.blocks) < KEPT:
                self.blocks.append(block)

    def array(self, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if len(self.blocks) < KEPT:
            self.blocks.append(block)
        return np.ndarray(self.shape, self.dtype, block, -block.ctypes.data % _ALIGNMENT)


def maker(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Callable[[], np.ndarray[Any, Any]]:
    """What makes the arrays of one result of a program."""
    nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if nbytes >= LARGE and not dtype.hasobject and sys.implementation.name == "cpython":
        return Pool(shape, dtype).take
    empty = np.empty
    return lambda: empty(shape, dtype)
