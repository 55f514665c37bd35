"""autograd's `ArrayBox`: what ``isinstance(x, ArrayBox)`` asks of a traced array."""

from __future__ import annotations

from typing import Any

import numpy as np

from irgrad.spaces import Box, _BoxType

__all__ = ["ArrayBox"]


class _ArrayBoxType(_BoxType):
    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) and isinstance(instance, (np.ndarray, np.generic, float, complex, int))


class ArrayBox(Box, metaclass=_ArrayBoxType):
    """A traced array or number."""
