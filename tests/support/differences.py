"""Central differences, and numbers made of arrays to take them of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def differences(f: Callable[[Any], Any], x: Any, h: float = 1e-6) -> Any:
    """The Jacobian of `f` at an array of floats by central differences, of shape out + in."""
    columns = []
    for place in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[place] = h
        columns.append((np.asarray(f(x + step)) - np.asarray(f(x - step))) / (2 * h))
    return np.stack(columns, -1).reshape(columns[0].shape + x.shape)


def scalar_of(f: Callable[..., Any]) -> Callable[..., Any]:
    """The entries of what `f` gives, with weights of their own, as one number."""

    def scalar(x):
        out = f(x)
        return np.sum(out * np.sin(1.0 + np.arange(out.size).reshape(out.shape)))

    return scalar
