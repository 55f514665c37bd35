"""Builders: what a derivative rule writes to.

A builder has one method per primitive (``b.mul(x, y)``, ``b.reduce_sum(x, axes=(0,))``). `EvalBuilder` computes at once on
numpy values; tracers and graphs bring builders of their own that record. All answer the same questions about a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.ir.primitive import REGISTRY, Primitive


class Builder:
    """Base: attribute access finds a primitive by name and caches the bound call."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            op = REGISTRY[name]
        except KeyError:
            raise AttributeError(f"no primitive {name!r}") from None
        call = self.bind(op)
        setattr(self, name, call)
        return call

    def bind(self, op: Primitive) -> Callable[..., Any]:
        """The function that applies `op` through this builder."""
        raise NotImplementedError

    def shape(self, x: Any) -> tuple[int, ...]:
        """Shape of any operand of a rule."""
        raise NotImplementedError

    def dtype(self, x: Any) -> np.dtype[Any]:
        """Dtype of any operand of a rule; Python numbers have their default dtype."""
        raise NotImplementedError

    def number(self, value: Any) -> Any:
        """A number that depends on shapes: data to a kernel, not text."""
        raise NotImplementedError

    def zeros_like(self, x: Any) -> Any:
        """A fresh buffer of zeros with shape and dtype of `x`."""
        raise NotImplementedError


class EvalBuilder(Builder):
    """Applies primitives to numpy values at once."""

    def bind(self, op: Primitive) -> Callable[..., Any]:
        return op.evaluate

    def shape(self, x: Any) -> tuple[int, ...]:
        return x.shape if isinstance(x, (np.ndarray, np.generic)) else np.shape(x)

    def dtype(self, x: Any) -> np.dtype[Any]:
        return x.dtype if isinstance(x, (np.ndarray, np.generic)) else np.result_type(x)

    def number(self, value: Any) -> Any:
        return value

    def zeros_like(self, x: Any) -> Any:
        return np.zeros(self.shape(x), self.dtype(x))


EVAL = EvalBuilder()
