"""numpy's functions in terms of primitives. Importing this package fills the tables of `frontend.tracer`."""

from irgrad.frontend import quick as _quick  # noqa: F401  (quicker operators)
from irgrad.frontend.handlers import (
    arranging,
    callbacks,
    contraction,
    counting,
    creation,
    differences,
    einsum,
    elementwise,
    fft,
    folds,
    indexing,
    integers,
    joining,
    linalg,
    methods,
    nans,
    norms,
    ordering,
    padding,
    picking,
    places,
    polynomials,
    pymath,
    quantiles,
    random,
    reduction,
    sets,
    shaping,
    statistics,
    ufuncs,
    writing,
)  # fmt: skip
from irgrad.frontend.handlers.core import PUBLIC
from irgrad.frontend.handlers.pymath import MATH

__all__ = [
    "MATH", "PUBLIC", "arranging", "callbacks", "contraction", "counting", "creation", "differences",
    "einsum", "elementwise", "fft", "folds", "indexing", "integers", "joining", "linalg",
    "methods", "nans", "norms", "ordering", "padding", "picking", "places", "polynomials",
    "pymath", "quantiles", "random", "reduction", "sets", "shaping", "statistics", "ufuncs",
    "writing",
]  # fmt: skip
