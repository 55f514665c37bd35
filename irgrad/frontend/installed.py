"""What the installed numpy and SciPy do where their versions differ: the functions themselves are asked, once.

Their own warnings are given at the user's line: `warned` for what numpy deprecates, `give` for a text.
"""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from irgrad.frontend.sites import code_info


def give(message: str, category: type[Warning] = DeprecationWarning) -> None:
    """A warning at the nearest frame of the user's."""
    level, frame = 1, sys._getframe()
    walk: FrameType | None = frame
    while walk is not None and code_info(walk.f_code).internal:
        walk, level = walk.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warned(function: Callable[..., Any], *examples: Any) -> None:
    """Give the warnings that a function of numpy gives for these plain values, or raise its error."""
    for message, category in _warnings(function, *examples):
        give(message, category)


@functools.cache
def _warnings(function: Callable[..., Any], *examples: Any) -> list[tuple[str, type[Warning]]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        function(*examples)
    return [(str(each.message), each.category) for each in said]


@functools.cache
def eigenvalues_are_complex() -> bool:
    """Are those of real matrices complex wherever they lie? From numpy 2.5 on; before, real ones were real."""
    return np.linalg.eigvals(np.ones((1, 1))).dtype.kind == "c"


@functools.cache
def cond_of_nan() -> bool:
    """Is a condition number by singular values nan for a matrix with nan? Before numpy 2.5 it was an error."""
    try:
        return bool(np.isnan(np.linalg.cond(np.full((2, 2), np.nan))))
    except np.linalg.LinAlgError:
        return False


@functools.cache
def sorts_descending() -> bool:
    """Does `np.sort` know `descending`? From numpy 2.5 on."""
    return "descending" in inspect.signature(np.sort).parameters


@functools.cache
def lstsq_fills() -> bool:
    """Does `scipy.linalg.lstsq` fill residuals of a matrix of lower rank with nan? From SciPy 1.18 on, which gives the rank as int64 and
    residuals as arrays in the dtype of the solution; before, there were none, an int, and real ones."""
    from scipy import linalg

    return type(linalg.lstsq(np.ones((2, 1)), np.ones(2))[2]) is not int


@functools.cache
def cho_factor_cleans() -> bool:
    """Is the other triangle of `scipy.linalg.cho_factor` zero? From SciPy 1.18 on; before, it was that of the matrix."""
    from scipy import linalg

    return not linalg.cho_factor(np.array([[2.0, 1.0], [1.0, 2.0]]))[0][1, 0]
