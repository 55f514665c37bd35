"""Random generators that a traced function captures without having got them from `irgrad.numpy.random`.

Whoever holds such a generator may draw from it without the trace seeing it, so a program must not. It is replaced by an object that
draws the same numbers, follows its parameters as recorded draws do, and says that the traced function is impure: it keeps running
eagerly, and each call draws.
"""

from __future__ import annotations

import random
from types import BuiltinFunctionType, MethodType
from typing import Any

import numpy as np

from irgrad.frontend.context import current
from irgrad.frontend.draws import note_effect
from irgrad.frontend.handlers.random import OTHERS, PARAMETERS, call_method

_NUMPY = (np.random.RandomState, np.random.Generator)
_INSTEAD = "use a generator of irgrad.numpy.random, whose draws are compiled"


def is_foreign(value: Any) -> bool:
    """Is it a generator, or Python's module `random`, whose draws a trace does not see?"""
    if value is random:
        return True
    return isinstance(value, (*_NUMPY, random.Random)) and not hasattr(type(value), "__irgrad_make__") and type(value) is not Foreign


class Foreign:
    """Stands for a captured generator in a traced function."""

    def __init__(self, generator: Any, where: str) -> None:
        self._generator = generator
        self._where = where

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance holds as for the generator
        return type(self._generator)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._generator, name)
        trace = current()
        if trace is None or not callable(found):
            return found
        note_effect(trace, f"numbers are drawn from {self._where}", _INSTEAD)
        numpys = next((cls for cls in _NUMPY if isinstance(self._generator, cls)), None)
        if numpys is None or name not in PARAMETERS or name in OTHERS or getattr(type(self._generator), name) is not getattr(numpys, name):
            return found
        return lambda *args, **kwargs: call_method(self._generator, name, args, kwargs, found)

    def __repr__(self) -> str:
        return repr(self._generator)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._generator

    def __hash__(self) -> int:
        return hash(self._generator)


def stand_for(value: Any, where: str) -> Any:
    """What a captured generator is in a run; `where` it was found."""
    return Foreign(value, where)


def bound_to(method: Any) -> Any:
    """The generator of a bound method of one, or None."""
    owner = getattr(method, "__self__", None) if isinstance(method, (MethodType, BuiltinFunctionType)) else None
    return owner if owner is not None and is_foreign(owner) else None
