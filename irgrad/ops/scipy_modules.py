"""Extension modules of `scipy.linalg` without the package around them, whose import takes 0.15 s.

A module is loaded by itself and forgotten, so that a later import of `scipy.linalg` finds it its own way (it gets the same routines, at the
same addresses).
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any


@cache
def extension(name: str, attribute: str) -> Any:
    """The extension module ``scipy.linalg.<name>``, which has `attribute`."""
    whole = f"scipy.linalg.{name}"
    if "scipy.linalg" not in sys.modules:
        try:
            module = _alone(whole)
            if hasattr(module, attribute):
                return module
        except (ImportError, AttributeError, TypeError):  # a package of another shape
            pass
    return importlib.import_module(whole)


def _alone(name: str) -> Any:
    scipy = importlib.import_module("scipy")  # finds the libraries that the module needs
    spec = PathFinder.find_spec(name, [f"{path}/linalg" for path in scipy.__path__])
    if spec is None or spec.loader is None or not hasattr(spec.loader, "create_module"):
        raise ImportError(name)
    try:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        if "scipy.linalg" not in sys.modules:
            sys.modules.pop(name, None)
    return module
