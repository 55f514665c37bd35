"""A drop-in ``import irgrad.scipy``: modules of scipy whose functions record on traced arrays.

A submodule is imported when it is asked for; those without traced functions are scipy's own.
"""

from __future__ import annotations

import importlib
from typing import Any

import scipy as _scipy

_TRACED = frozenset({"special", "linalg", "integrate", "stats", "signal", "interpolate", "optimize"})


def __getattr__(name: str) -> Any:
    if name in _TRACED:
        return importlib.import_module(f"irgrad.scipy.{name}")
    return getattr(_scipy, name)


def __dir__() -> list[str]:
    return sorted({*_TRACED, *dir(_scipy)})
