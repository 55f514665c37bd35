"""autograd's `unbroadcast_f`, for rules of the user's: derivatives of an operation that broadcasts its operand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import irgrad.numpy as np

__all__ = ["unbroadcast", "unbroadcast_f"]


def unbroadcast(g: Any, target: Any) -> Any:
    """A cotangent summed over the axes along which `target` was broadcast; its real part for a real target."""
    shape = np.shape(target)
    extra = np.ndim(g) - len(shape)
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 and np.shape(g)[extra + i] != 1))
    if axes:
        g = np.reshape(np.sum(g, axis=axes), shape)
    return np.real(g) if np.iscomplexobj(g) and not np.iscomplexobj(target) else g


def unbroadcast_f(target: Any, g: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The rule `g` with its result brought to the shape of `target`."""
    return lambda cotangent: unbroadcast(g(cotangent), target)
