"""numpy's settings for floating-point errors: compiled code raises none."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np


def raises_on_float_errors() -> bool:
    """Is numpy to raise floating-point errors?"""
    return "raise" in np.geterr().values()


def _error_state() -> tuple[Callable[[], Any], Any]:
    """A cheap look at numpy's floating-point error settings, and what it sees in the usual state.

    numpy keeps them in a context variable that has no value until they are changed; where that private name is missing, they are read.
    """
    variable = getattr(getattr(getattr(np, "_core", None), "umath", None), "_extobj_contextvar", None)
    if isinstance(variable, ContextVar):
        with np.errstate(all="ignore"):
            changed = variable.get()
        if variable.get() is not changed:
            return variable.get, variable.get()
    return raises_on_float_errors, False


error_state, USUAL_ERRORS = _error_state()
